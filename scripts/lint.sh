#!/usr/bin/env bash
# Checks style, trio pitfalls and types; runs all checks, and fails if one of them failed.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${TRIO_ASR_VENV:-.venv}/bin

failed=()
check() {
    printf -- '-- %s\n' "$*"
    "$bin/$1" "${@:2}" || failed+=("$1")
}

check ruff check .
check ruff format --check .
# ASYNC9xx demand a checkpoint on every path of every async function: trio's own rule, too strict for an
# application. ASYNC114 demands that each function with a task_status is listed by name in .flake8.
check flake8 --select ASYNC --extend-ignore ASYNC9,ASYNC114 src tests
check mypy
check pyright --pythonpath "$bin/python"
check just --list --unsorted >/dev/null

if ((${#failed[@]})); then
    echo "lint: failed: ${failed[*]}" >&2
    exit 1
fi

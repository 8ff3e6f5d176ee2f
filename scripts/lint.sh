#!/usr/bin/env bash
# Checks style, trio pitfalls and types; runs all checks side by side, and fails if one of them failed.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${TRIO_ASR_VENV:-.venv}/bin
said=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$said"' EXIT

names=() jobs=()
check() {
    {
        printf -- '-- %s\n' "$*"
        "$bin/$1" "${@:2}"
    } >"$said/${#jobs[@]}" 2>&1 &
    names+=("$1") jobs+=($!)
}

# Those that take longest begin first.
check mypy
check pyright --pythonpath "$bin/python"
# ASYNC9xx demand a checkpoint on every path of every async function: trio's own rule, too strict for an
# application. ASYNC114 demands that each function with a task_status is listed by name in .flake8.
check flake8 --select ASYNC --extend-ignore ASYNC9,ASYNC114 src tests
check ruff check .
check ruff format --check .
check just --summary

failed=()
for i in "${!jobs[@]}"; do
    wait "${jobs[i]}" || failed+=("${names[i]}")
    cat "$said/$i"
done
if ((${#failed[@]})); then
    echo "lint: failed: ${failed[*]}" >&2
    exit 1
fi

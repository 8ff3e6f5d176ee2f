#!/usr/bin/env bash
# The second command: sets up what is missing, then runs the tests, side by side, since most of them wait.
# Arguments go to pytest, but for the first if it is --soak: then those run that take long, and only those.
#
#     scripts/test.sh [--soak] [ARGS]       e.g. scripts/test.sh tests/core, scripts/test.sh -n 0 -x --pdb
#
# TRIO_ASR_TEST_WORKERS says how many run at once (0: none beside the first).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test

cores=$(getconf _NPROCESSORS_ONLN)
if [[ ${1:-} == --soak ]]; then
    shift
    # These do not wait: they reckon, on a clock that jumps.
    set -- -m soak -n "${TRIO_ASR_TEST_WORKERS:-$cores}" "$@"
else
    set -- -n "${TRIO_ASR_TEST_WORKERS:-$((cores < 3 ? 3 * cores : 2 * cores))}" "$@"
fi
exec "${TRIO_ASR_VENV:-.venv}/bin/python" -m pytest --dist worksteal "$@"

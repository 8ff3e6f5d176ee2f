#!/usr/bin/env bash
# The second command to run: sets up what is missing, then runs the tests in parallel, since most of them wait.
# Arguments go to pytest. With --soak first, only the long tests run.
#
#     scripts/test.sh [--soak] [ARGS]       e.g. scripts/test.sh tests/core, scripts/test.sh -n 0 -x --pdb
#
# TRIO_ASR_TEST_WORKERS sets the number of worker processes (0: none, run in this process).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test

# The tests start some hundred daemons, and each process of theirs reads all tests: where Python may not keep what it
# has compiled, that is half of the time.
unset PYTHONDONTWRITEBYTECODE
python=${TRIO_ASR_VENV:-.venv}/bin/python
cores=$(getconf _NPROCESSORS_ONLN)
# In a new checkout the tests are compiled once, for all workers. What cannot be is reported by the run itself.
if [[ ! -d tests/__pycache__ ]]; then
    files=(tests/*/test_*.py tests/*/*/test_*.py tests/test_*.py)
    printf '%s\n' "${files[@]}" | xargs -P "$cores" -n $(((${#files[@]} + cores - 1) / cores)) \
        "$python" -m pytest --collect-only -q >/dev/null 2>&1 || true
fi

if [[ ${1:-} == --soak ]]; then
    shift
    # Most of these compute, on a clock that jumps: few are waiting at any moment.
    set -- -m soak -n "${TRIO_ASR_TEST_WORKERS:-$((cores + 1))}" "$@"
else
    set -- -n "${TRIO_ASR_TEST_WORKERS:-$((cores < 3 ? 4 * cores : 2 * cores))}" "$@"
fi
# One test at a time to whoever has nothing to do.
exec "$python" -m pytest --dist load --maxschedchunk 1 "$@"

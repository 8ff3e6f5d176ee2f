#!/usr/bin/env bash
# The second command: sets up what is missing, then runs the tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test
exec "${TRIO_ASR_VENV:-.venv}/bin/python" -m pytest "$@"

#!/usr/bin/env bash
# The first command to run: sets up what is missing, then shows the daemon at work on recorded calls.
# Arguments go to `trio-asr demo`, e.g. the names of your own recordings.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
"$here/scripts/setup.sh" demo
exec "${TRIO_ASR_VENV:-$here/.venv}/bin/trio-asr" demo "$@"

#!/usr/bin/env bash
# Try a running deployment with one call: ASR_WORKER_URL, REDIS_URL, and INGEST_URL if it is to begin at an ingest.
# Arguments go to `trio-asr smoke`; ends non-zero if a step failed.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
exec "${TRIO_ASR_VENV:-$here/.venv}/bin/python" -m trio_asr smoke "$@"

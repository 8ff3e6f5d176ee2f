#!/usr/bin/env bash
# Starts the daemon in the environment that the old worker used without an account: ASR_PROVIDER=mock and
# PUBSUB_ADAPTER=in_memory. Checks its health and its metrics, then stops it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${TRIO_ASR_VENV:-.venv}/bin

work=$(mktemp -d)
export ASR_PROVIDER=mock PUBSUB_ADAPTER=in_memory
PORT=$("$bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PORT
"$bin/trio-asr" serve >"$work/log" 2>&1 &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true; rm -rf "$work"' EXIT

fail() { echo "check_mock: $*" >&2; tail -n 20 "$work/log" >&2; exit 1; }
ask() { curl --silent --fail --max-time 5 "http://127.0.0.1:$PORT$1"; }

for ((tries = 0; ; tries++)); do
    if ask /ready >/dev/null; then break; fi
    kill -0 "$daemon" 2>/dev/null || fail "it ended by itself"
    ((tries < 100)) || fail "it did not become ready"
    sleep 0.2
done
ask /health >"$work/health"
grep -q '"status":"ok"' "$work/health" || fail "/health says $(<"$work/health")"
grep -q '"activeConnections":"N/A"' "$work/health" || fail "a mock has no connections: $(<"$work/health")"
ask /metrics >"$work/metrics"
for prefix in asr_ deepgram_; do
    grep -q "^$prefix" "$work/metrics" || fail "/metrics has no $prefix"
done
kill "$daemon"
wait "$daemon" || fail "it did not stop in order"
echo "The daemon is well with ASR_PROVIDER=mock and PUBSUB_ADAPTER=in_memory."

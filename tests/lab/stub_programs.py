"""Stand-ins for the demo's two programs, for what goes wrong with them: `stub_programs.py ROLE MODE ...`.

The daemon answers /ready and, per call, opens a connection, publishes an interim and a final, and ends it.
"""

from __future__ import annotations

import http.server
import json
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import redis


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in {"/ready", "/metrics"} else 404)
        self.end_headers()
        if self.path == "/metrics":
            self.wfile.write(b"deepgram_audio_chunks_sent_total 7.0\n")


def simulator(mode: str) -> None:
    if mode == "dies":
        sys.exit("no such model")
    sys.stdout.write("Listening on ws://127.0.0.1:9/v1/listen\n")
    sys.stdout.flush()


def daemon(mode: str, config: str) -> None:
    settings = tomllib.loads(Path(config).read_text())
    server = http.server.HTTPServer(("127.0.0.1", settings["http"]["port"]), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client: Any = redis.Redis.from_url(settings["redis"]["url"])
    last, seen, position = "0", set(), "0"

    def publish(stream: str, **document: Any) -> None:
        client.xadd(stream, {"data": json.dumps(document)})

    while True:
        if mode == "dies":
            sys.exit("lost its mind")
        for _, entries in client.xread({"audio_stream": position}, block=50) or []:
            position = entries[-1][0]
            for _, fields in entries:
                call = json.loads(fields[b"data"])["interaction_id"]
                if call not in seen:
                    seen.add(call)
                    publish("asr_events", event="connection_opened", interaction_id=call)
                    if mode == "twice":
                        publish("asr_events", event="connection_opened", interaction_id=call)
        for _, entries in client.xread({"call_end": last}, block=50) or []:
            last = entries[-1][0]
            for _, fields in entries:
                call = json.loads(fields[b"data"])["interaction_id"]
                said = {"interaction_id": call, "start_ms": 0, "end_ms": 300}
                publish(f"transcript.{call}", type="partial", text="good mor", **said)
                publish(f"transcript.{call}", type="final", text="Good morning.", **said)
                publish("asr_events", event="ended", interaction_id=call, connections=1)


def main() -> None:
    role, mode, *rest = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if role == "simulate":
        simulator(mode)
    else:
        daemon(mode, rest[-1])
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()

"""Stand-ins for the demo's programs, for what goes wrong with them: `stub_programs.py ROLE MODE ...`.

The daemon answers /ready and, per call, opens a connection, publishes an interim and a final, and ends it.
Of a call of two people it publishes these for each, the second one's first.
"""

from __future__ import annotations

import http.server
import json
import signal
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import redis


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in {"/ready", "/metrics"} else 404)
        self.end_headers()
        if self.path == "/metrics":
            self.wfile.write(b"deepgram_audio_chunks_sent_total 7.0\n")

    def log_message(self, *_: object) -> None:
        """Say nothing: a request that is answered last must not stand among the last words."""


def simulator(mode: str) -> None:
    if mode == "dies":
        sys.exit("no such model")
    sys.stdout.write("Listening on ws://127.0.0.1:9/v1/listen\n")
    sys.stdout.flush()


def document(fields: dict[bytes, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = (
        msgspec.msgpack.decode(fields[b"m"]) if b"m" in fields else json.loads(fields[b"data"])
    )
    return found


def say(publish: Callable[..., None], call: str, roles: list[str]) -> None:
    people: list[dict[str, Any]] = [{"channel": at, "role": role} for at, role in enumerate(roles)]
    for who in reversed(people or [{}]):
        said = {"interaction_id": call, "start_ms": 0, "end_ms": 300} | who
        publish(f"transcript.{call}", type="partial", text="good mor", **said)
        publish(f"transcript.{call}", type="final", text="Good morning.", **said)


def daemon(mode: str, config: str) -> None:
    settings = tomllib.loads(Path(config).read_text())
    server = http.server.HTTPServer(("127.0.0.1", settings["http"]["port"]), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client: Any = redis.Redis.from_url(settings["redis"]["url"])
    last, seen, position = "0", dict[str, list[str]](), "0"

    def publish(stream: str, **document: Any) -> None:
        client.xadd(stream, {"data": json.dumps(document)})

    while True:
        if mode == "dies":
            sys.exit("lost its mind")
        # In one answer: whatever came before an end is in it, too.
        read = dict(client.xread({"audio_stream": position, "call_end": last}, block=50) or [])
        for entry, fields in read.get(b"audio_stream", []):
            position = entry
            frame = document(fields)
            call = frame["interaction_id"]
            if call not in seen:
                seen[call] = frame.get("roles", [])
                publish("asr_events", event="connection_opened", interaction_id=call)
                if mode == "twice":
                    publish("asr_events", event="connection_opened", interaction_id=call)
        for entry, fields in read.get(b"call_end", []):
            last = entry
            call = json.loads(fields[b"data"])["interaction_id"]
            say(publish, call, seen[call])
            publish("asr_events", event="ended", interaction_id=call, connections=1)


def main() -> None:
    role, mode, *rest = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if role == "simulate":
        simulator(mode)
    elif role == "ingest":
        sys.exit("no route leads here")
    else:
        daemon(mode, rest[-1])
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()

"""What an ingest costs: CPU milliseconds per call-second and memory per call, for each kind of caller.

    python bench/ingest.py --calls 200 --seconds 20 [--only twilio2,generic]

Each turn is a fresh gateway on a core of its own, with a Valkey; the calls are played by this process, from
messages that were made beforehand. Redis' own work is not counted, the gateway's Redis client is.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from websockets.frames import Frame, Opcode

from trio_asr.client.http import get
from trio_asr.client.redis import connect
from trio_asr.lab.load.measure import cpu_s, pin, rss_bytes
from trio_asr.lab.rig.page import Page
from trio_asr.lab.rig.processes import START_S
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.valkey import EmbeddedValkey

TICK_S = 0.02
ROUTES = "".join(
    f'[[ingest.route]]\npath = "/{platform}"\nplatform = "{platform}"\nauth = "none"\ntenant = "bench"\n'
    for platform in ("twilio", "exotel", "generic", "genesys", "jambonz")
)


def text(document: object) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(document, separators=(",", ":")).encode()).serialize(mask=True)


def binary(data: bytes) -> bytes:
    return Frame(Opcode.BINARY, data).serialize(mask=True)


def twilio(call: str, tracks: tuple[str, ...], ticks: int) -> Iterator[bytes]:
    start = {
        "accountSid": "AC1", "streamSid": "MZ1", "callSid": call, "tracks": tracks,
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }  # fmt: skip
    yield text({"event": "connected", "protocol": "Call", "version": "1.0.0"}) + text(
        {"event": "start", "sequenceNumber": "1", "start": start, "streamSid": "MZ1"}
    )
    payload, number = base64.b64encode(os.urandom(160)).decode(), 1
    for tick in range(ticks):
        sent = b""
        for track in tracks:
            number += 1
            media = {"track": track, "chunk": str(tick + 1), "timestamp": str(tick * 20), "payload": payload}
            sent += text(
                {"event": "media", "sequenceNumber": str(number), "media": media, "streamSid": "MZ1"}
            )
        yield sent
    yield text({"event": "stop", "sequenceNumber": "9", "streamSid": "MZ1", "stop": {"callSid": call}})


def exotel(call: str, ticks: int) -> Iterator[bytes]:
    start = {
        "stream_sid": call, "call_sid": call, "account_sid": "a",
        "media_format": {"encoding": "raw/slin", "sample_rate": "8000"},
    }  # fmt: skip
    yield text({"event": "connected"}) + text({"event": "start", "stream_sid": call, "start": start})
    payload = base64.b64encode(os.urandom(1600)).decode()
    for tick in range(ticks):
        if tick % 5 == 4:
            media = {"chunk": str(tick // 5 + 1), "timestamp": str((tick - 4) * 20), "payload": payload}
            yield text({"event": "media", "sequence_number": str(tick), "stream_sid": call, "media": media})
        else:
            yield b""
    yield text({"event": "stop", "stream_sid": call, "stop": {"call_sid": call, "reason": "callended"}})


def generic(call: str, ticks: int) -> Iterator[bytes]:
    yield text(
        {
            "event": "start",
            "interaction_id": call,
            "tenant_id": "bench",
            "sample_rate": 8000,
            "encoding": "pcm16",
        }
    )
    frame = binary(os.urandom(320))
    for _ in range(ticks):
        yield frame
    yield text({"event": "stop"})


def jambonz(call: str, ticks: int) -> Iterator[bytes]:
    yield text({"callSid": call, "sampleRate": 8000, "mixType": "stereo", "direction": "inbound"})
    frame = binary(os.urandom(640))
    for _ in range(ticks):
        yield frame
    yield Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)


class Kind(NamedTuple):
    """A kind of caller."""

    path: str
    play: Callable[[str, int], Iterator[bytes]]
    subprotocol: str = ""


KINDS = {
    "twilio2": Kind("/twilio", lambda call, ticks: twilio(call, ("inbound", "outbound"), ticks)),
    "twilio1": Kind("/twilio", lambda call, ticks: twilio(call, ("inbound",), ticks)),
    "exotel": Kind("/exotel", exotel),
    "generic": Kind("/generic", generic),
    "jambonz": Kind("/jambonz", jambonz, "audio.jambonz.org"),
}


async def play(kind: Kind, port: int, number: int, ticks: int, begin: float) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    offer = f"Sec-WebSocket-Protocol: {kind.subprotocol}\r\n" if kind.subprotocol else ""
    await stream.send_all(
        f"GET {kind.path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{offer}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await stream.receive_some()
        assert piece, answer
        answer += piece
    assert answer.startswith(b"HTTP/1.1 101"), answer
    messages = [*kind.play(f"bench-{number}", ticks)]
    for tick, message in enumerate(messages):
        await trio.sleep_until(begin + number * 0.0007 + tick * TICK_S)
        if message:
            os.write(stream.socket.fileno(), message)
    with trio.move_on_after(3):
        while await stream.receive_some():
            pass
    await stream.aclose()


class Figures(NamedTuple):
    """What a turn measured."""

    ms: float  # of CPU, for each second of a call
    kb: float  # of memory, for each call
    p99_s: float
    calls: int  # that ended as they should


async def turn(name: str, calls: int, seconds: float, work: Path) -> Figures:
    """Play calls of one kind to a fresh gateway."""
    kind, ticks = KINDS[name], round(seconds / TICK_S)
    with EmbeddedValkey() as valkey:
        config = work / f"{name}.toml"
        config.write_text(f'[redis]\nurl = "{valkey.url}"\n[ingest]\nport = 0\npages_port = 0\n{ROUTES}')
        command = [sys.executable, "-m", "trio_asr", "ingest", "--config", str(config)]
        gateway = Program("gateway", command, os.environ, work / f"{name}.log")
        await gateway.start()
        await gateway.said("Ready for calls", within=START_S)
        (line,) = (one for one in gateway.output().splitlines() if "Ready for calls" in one)
        ready = json.loads(line)
        pin(gateway.pid, {0})
        os.sched_setaffinity(0, {1})
        empty = rss_bytes(gateway.pid)
        begin = trio.current_time() + 1 + calls * 0.01
        async with trio.open_nursery() as nursery:
            for number in range(calls):
                nursery.start_soon(play, kind, ready["port"], number, ticks, begin)
            await trio.sleep_until(begin + seconds * 0.25)
            before, at = cpu_s(gateway.pid), trio.current_time()
            await trio.sleep_until(begin + seconds * 0.9)
            used, took = cpu_s(gateway.pid) - before, trio.current_time() - at
            kb = (rss_bytes(gateway.pid) - empty) / calls / 1024
        _, page = await get(ready["pages_port"], "/metrics")
        p99_s = Page(page).histogram("ingest_delay_seconds").quantile(0.99)
        await gateway.stop()
        ends = connect(valkey.url).xlen("call_end")
        assert isinstance(ends, int)
        return Figures(used * 1000 / (took * calls), kb, p99_s or 0.0, ends)


@click.command()
@click.option("--calls", default=200, show_default=True)
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--only", default=",".join(KINDS), show_default=True, help="Kinds of callers.")
def main(calls: int, seconds: float, only: str) -> None:
    """Measure what an ingest costs."""
    table = Table(box=SIMPLE_HEAD)
    for head in ("caller", "ms/call-s", "calls/core", "KB/call", "p99 to Redis, ms", "calls ended"):
        table.add_column(head, justify="left" if head == "caller" else "right")
    with tempfile.TemporaryDirectory(prefix="trio-asr-bench-") as work:
        for name in only.split(","):
            found = trio.run(turn, name, calls, seconds, Path(work))
            figures = (found.ms, 1000 / found.ms, found.kb, found.p99_s * 1000, found.calls)
            table.add_row(name, *(f"{one:.{2 if one < 10 else 0}f}" for one in figures))
    Console().print(table)


if __name__ == "__main__":
    main()

"""What an ingest costs: CPU milliseconds per call-second and memory per call, for each kind of caller.

    python bench/ingest.py --calls 200 --seconds 20 [--only twilio2,generic]

Each turn is a fresh gateway on a core of its own, with a Valkey; the calls are played by this process, from
messages that were made beforehand. Redis' own work is not counted, the gateway's Redis client is.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from websockets.frames import Frame, Opcode

from trio_asr.client.audio import Recording
from trio_asr.client.http import get
from trio_asr.client.redis import connect
from trio_asr.lab.dial.frames import frames
from trio_asr.lab.dial.platform import Message
from trio_asr.lab.dial.platforms import PLATFORMS
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.load.measure import cpu_s, pin, rss_bytes
from trio_asr.lab.rig.page import Page
from trio_asr.lab.rig.processes import START_S
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.valkey import EmbeddedValkey
from trio_asr.wire.audio_format import Format, audio_format

TICK_S = 0.02


def framed(message: Message, tcp: bool) -> bytes:
    if tcp:
        assert isinstance(message, bytes)
        return message
    if isinstance(message, str):
        return Frame(Opcode.TEXT, message.encode()).serialize(mask=True)
    return Frame(Opcode.BINARY, message).serialize(mask=True)


class Kind(NamedTuple):
    """A kind of caller: a platform of `trio-asr dial`, and the audio that it plays."""

    platform: str
    format: Format

    def play(self, call: str, ticks: int) -> Iterator[bytes]:
        """Yield the frames of each tick."""
        traits = PLATFORMS[self.platform].TRAITS
        samples = round(ticks * TICK_S * self.format.rate)
        recording = Recording(os.urandom(samples * self.format.width), self.format)
        dial = Dial(
            self.platform, "tcp://gateway/" if traits.tcp else "ws://gateway/", call, recording, "bench"
        )
        one = PLATFORMS[self.platform](dial)
        one.headers(time.time(), "")
        sent: list[list[Message]] = [[] for _ in range(ticks + 2)]
        sent[0] += one.hello(0)
        for frame in frames(recording, traits.chunk_ms, dial.faults, separate=bool(traits.legs)):
            sent[math.ceil(frame.due / TICK_S - 1e-6)] += one.media(frame)
        sent[-1] += one.stop(0)
        for messages in sent:
            yield b"".join(framed(message, traits.tcp) for message in messages)
        if not sent[-1]:
            yield Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)


MULAW, BOTH = audio_format(8000, "mulaw"), audio_format(8000, "mulaw", 2)
LINEAR, LINEAR_BOTH = audio_format(8000), audio_format(8000, channels=2)
KINDS = {
    "twilio2": Kind("twilio", BOTH),
    "twilio1": Kind("twilio", MULAW),
    "telnyx2": Kind("telnyx", BOTH),
    "plivo2": Kind("plivo", BOTH),
    "smartflo": Kind("smartflo", MULAW),
    "exotel": Kind("exotel", LINEAR),
    "ozonetel": Kind("ozonetel", LINEAR),
    "generic": Kind("generic", LINEAR),
    "jambonz": Kind("jambonz", LINEAR_BOTH),
    "vonage": Kind("vonage", audio_format(16_000)),
    "knowlarity": Kind("knowlarity", audio_format(16_000)),
    "asterisk": Kind("asterisk", MULAW),
    "audiosocket": Kind("audiosocket", LINEAR),
}
ROUTES = "".join(
    f'[[ingest.route]]\npath = "/{platform}"\nplatform = "{platform}"\nauth = "none"\ntenant = "bench"\n'
    + ("port = 0\n" if PLATFORMS[platform].TRAITS.tcp else "")
    for platform in dict.fromkeys(kind.platform for kind in KINDS.values())
)


async def play(kind: Kind, port: int, number: int, ticks: int, begin: float) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    if not PLATFORMS[kind.platform].TRAITS.tcp:
        await shake_hands(kind, stream)
    messages = [*kind.play(f"bench-{number}", ticks)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, stream)
        for tick, message in enumerate(messages):
            await trio.sleep_until(begin + number * 0.0007 + tick * TICK_S)
            if message:
                os.write(stream.socket.fileno(), message)
        nursery.cancel_scope.deadline = trio.current_time() + 3
    await stream.aclose()


async def drain(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


async def shake_hands(kind: Kind, stream: trio.SocketStream) -> None:
    subprotocols = PLATFORMS[kind.platform].TRAITS.subprotocols
    offer = f"Sec-WebSocket-Protocol: {subprotocols[0]}\r\n" if subprotocols else ""
    await stream.send_all(
        f"GET /{kind.platform} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{offer}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await stream.receive_some()
        assert piece, answer
        answer += piece
    assert answer.startswith(b"HTTP/1.1 101"), answer


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
        tcp = PLATFORMS[kind.platform].TRAITS.tcp
        (port,) = ready["audiosocket_ports"] if tcp else (ready["port"],)
        pin(gateway.pid, {0})
        os.sched_setaffinity(0, {1})
        empty = rss_bytes(gateway.pid)
        begin = trio.current_time() + 1 + calls * 0.01
        async with trio.open_nursery() as nursery:
            for number in range(calls):
                nursery.start_soon(play, kind, port, number, ticks, begin)
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

"""A whole worker with its pages, on the memory bus, with a provider that recites given lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
import trio
from tests.worker_harness import ChannelLink, Producer

from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.config import Config, HttpConfig, Secret
from trio_asr.daemon import Daemon
from trio_asr.deepgram.provider import Link
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier
from trio_asr.wire import messages
from trio_asr.wire.audio_format import Format
from trio_asr.wire.messages import Alternative, Channel, Metadata, Results

TOKEN = "correct-horse-battery"
SEGMENT_S = 1.0
ROLES = ("customer", "agent")


class _Link(ChannelLink):
    """A connection that says one line per second of audio, and the interim of the next one.

    Of several channels, each says one line in turn, and all say their interims, unless they are `mute`.
    """

    request_id = "request-1"

    def __init__(self, fmt: Format, lines: Sequence[str], interim: str, mute: int | None) -> None:
        self._format, self._lines, self._interim, self._mute = fmt, lines, interim, mute
        self._at = self._said_until = 0.0
        self._number = 0
        super().__init__()

    async def send_audio(self, pcm: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._at += self._format.ms(len(pcm)) / 1000
        while self._at >= self._said_until + SEGMENT_S:
            for channel in range(self._format.channels):
                speaks = channel == self._number % self._format.channels
                text = self._lines[self._number % len(self._lines)] if speaks else ""
                self._say(text, SEGMENT_S, channel, final=True)
            self._number += 1
            self._said_until += SEGMENT_S
        if self._interim and self._at > self._said_until:
            for channel in range(self._format.channels):
                self._say(self._interim, self._at - self._said_until, channel, final=False)

    def _say(self, text: str, seconds: float, channel: int, *, final: bool) -> None:
        if channel == self._mute:
            return
        said = Channel([Alternative(text, 0.9, [])])
        index = [channel, self._format.channels]
        self._send.send_nowait(Results(self._said_until, seconds, said, final, final, channel_index=index))

    async def send_control(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        if text == messages.CLOSE_STREAM:
            for channel in range(self._format.channels):
                self._say("", self._at - self._said_until, channel, final=True)
            self._send.send_nowait(Metadata(duration=self._at))
            self._send.close()


class ScriptedProvider:
    """A provider that recites given lines."""

    name = "deepgram"
    has_sockets = True

    def __init__(self, lines: Sequence[str], interim: str = "", mute: int | None = None) -> None:
        self.lines, self.interim, self.mute = lines, interim, mute

    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        await trio.lowlevel.checkpoint()
        yield _Link(fmt, self.lines, self.interim, self.mute)


@dataclass
class WebHarness:
    daemon: Daemon
    store: MemoryStore
    done: trio.Event = field(default_factory=trio.Event)

    @property
    def port(self) -> int:
        return self.daemon.port

    async def speak(self, interaction_id: str, seconds: float = 1.5) -> None:
        """Begin a call, and wait until its first line is committed."""
        Producer(self.store, interaction_id, 1).speak(seconds)
        await self._heard(interaction_id)

    async def speak_as_two(self, interaction_id: str, seconds: float, roles: Sequence[str] = ROLES) -> None:
        """Begin a call of two people in mu-law, and wait until its first line is committed."""
        entry = {
            "interaction_id": interaction_id, "tenant_id": "tenant", "encoding": "mulaw", "sample_rate": 8000,
            "channels": 2, "position": 0, "audio": b"\x80" * round(2 * 8000 * seconds),
            **({"roles": roles} if roles else {}),
        }  # fmt: skip
        self.store.add("audio_stream", None, m=msgspec.msgpack.encode(entry))
        await self._heard(interaction_id)

    async def _heard(self, interaction_id: str) -> None:
        with trio.fail_after(60):
            while not (  # noqa: ASYNC110 (what is asked has no event for it)
                (slot := self.daemon.interactions.get(interaction_id))
                and max(slot.call.outbox.confirmed.place.cursors)
            ):
                await trio.sleep(0.02)

    async def get(self, path: str, token: str | None = TOKEN) -> tuple[int, Any]:
        """Request a page over a real socket; the path goes out unquoted, as it is."""
        status, _, body = await request(self.port, path, token)
        return status, json.loads(body)

    async def call(self, interaction_id: str) -> tuple[int, Any]:
        return await self.get(f"/interactions/{quote(interaction_id, safe='')}")


async def request(
    port: int, path: str, token: str | None = None, method: str = "GET", *, more: str = ""
) -> tuple[int, bytes, bytes]:
    """Return the status, the head and the body of a response that ends."""
    authorization = "" if token is None else f"Authorization: Bearer {token}\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}{more}Connection: close\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(head.encode())
        with trio.fail_after(60):
            answer = b"".join([chunk async for chunk in stream])
    first, _, body = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), first.lower(), body


@asynccontextmanager
async def run_web(
    lines: Sequence[str] = ("Hello.",),
    interim: str = "",
    token: str | None = TOKEN,
    port: int = 0,
    *,
    mute: int | None = None,
) -> AsyncIterator[WebHarness]:
    """Run a worker for the block, then stop it in order; it must end by itself."""
    store = MemoryStore()
    config = Config(http=HttpConfig(port=port, token=None if token is None else Secret(token)))
    bus = MemoryBus(store, audio_stream="audio_stream", end_stream="call_end")
    one = WebHarness(
        Daemon(config, bus, ScriptedProvider(lines, interim, mute), Metrics(), Notifier({})), store
    )

    async def run() -> None:
        await one.daemon.run()
        one.done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)  # noqa: ASYNC113 (awaited below)
        with trio.fail_after(60):
            while one.daemon.role != "active":  # noqa: ASYNC110 (it says so in its log only)
                await trio.sleep(0.01)
        yield one
        one.daemon.stop()
        with trio.move_on_after(60):
            await one.done.wait()
        assert one.done.is_set(), "it did not stop"

"""A gateway without network and processes: its sockets and its store are in memory."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from trio.testing import memory_stream_pair
from websockets.uri import WebSocketURI

from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.calls import Add, Claim, Reply
from trio_asr.bus.memory import MemoryStore
from trio_asr.bus.memory_calls import MemoryCallStore
from trio_asr.client.audio import Recording
from trio_asr.config import Config, IngestConfig, Route
from trio_asr.gateway import Gateway
from trio_asr.lab.dial.caller import place
from trio_asr.lab.dial.report import Report
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.dial.socket import ClientSocket, parsed
from trio_asr.telemetry.systemd import Notifier
from trio_asr.wire.audio_format import Format

AUDIO, ENDS = "audio_stream", "call_end"


class FlakyStore(MemoryCallStore):
    """A store in memory that may be away, or lose its answers.

    Some calls may be at places of their own, which may be away or frozen.
    """

    away = False
    lose_answers = 0

    def __init__(self, store: MemoryStore, *, audio_stream: str, end_stream: str) -> None:
        super().__init__(store, audio_stream=audio_stream, end_stream=end_stream)
        self.places: dict[str, str] = {}  # by call
        self.away_places: set[str] = set()
        self.frozen_places: set[str] = set()

    def place(self, call: str) -> Hashable:
        return self.places.get(call)

    async def take(self, steps: Sequence[Claim | Add]) -> list[Reply]:
        places = {self.places.get(step.call, "") for step in steps}
        assert len(places) == 1, "a round has steps of one place"
        await self._answer(*places)
        replies = await super().take(steps)
        if self.lose_answers:
            self.lose_answers -= 1
            raise BusUnavailable("an answer was lost")
        return replies

    async def look(self, call: str) -> None:
        await self._answer(self.places.get(call, ""))

    async def _answer(self, place: str) -> None:
        if place in self.frozen_places:
            await trio.sleep(5)
            raise BusUnavailable("frozen")
        if self.away or place in self.away_places:
            await trio.lowlevel.checkpoint()
            raise BusUnavailable("away")


class GatewayHarness:
    """One gateway; several may share a store."""

    def __init__(
        self,
        config: IngestConfig,
        store: MemoryStore,
        calls: FlakyStore,
        nursery: trio.Nursery,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.store, self.calls = store, calls
        self.gateway = Gateway(Config(ingest=config), calls, Notifier({}), tls=tls)
        self._nursery = nursery
        nursery.start_soon(self.gateway.adder.run)
        nursery.start_soon(self.gateway.adder.keep_time)
        nursery.start_soon(self.gateway.server.ticks.run)

    async def reach(self, url: WebSocketURI) -> trio.abc.Stream:
        """Open a stream to the gateway, by its port if that is a route's own."""
        await trio.lowlevel.checkpoint()
        ours, its = memory_stream_pair()
        own = {one.route.port: one.handle for one in self.gateway.audiosockets}
        self._nursery.start_soon(own.get(url.port, self.gateway.server.handle), its)
        return ours

    async def place(self, dial: Dial) -> Report:
        """Place a call."""
        return await place(dial, self.reach, lambda: 1_790_000_000.0)

    def entries(self, call: str) -> list[dict[str, Any]]:
        """The entries of a call on the stream."""
        found = [msgspec.msgpack.decode(fields[1]) for _, fields in self.store.streams.get(AUDIO, [])]
        return [entry for entry in found if entry["interaction_id"] == call]

    def audio(self, call: str, silence: bytes = b"\xff") -> bytes:
        """The audio of a call as a worker would have it; holes are `silence`, one sample of all channels."""
        audio = b""
        for entry in self.entries(call):
            at = entry["position"] * len(silence)
            assert at >= len(audio), "an entry goes back"
            audio += silence * ((at - len(audio)) // len(silence)) + entry["audio"]
        return audio

    def ends(self, call: str) -> list[str]:
        """The reasons of the ends of a call."""
        found = [msgspec.json.decode(data) for data in self.store.messages(ENDS)]
        return [end["reason"] for end in found if end["interaction_id"] == call]

    def count(self, name: str, **labels: str) -> float:
        """The value of a series of the gateway's metrics."""
        value = self.gateway.metrics.registry.get_sample_value(name, labels)
        return 0.0 if value is None else value


@asynccontextmanager
async def run_gateway(
    *routes: Route, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[GatewayHarness]:
    """Run a gateway with these routes and settings of `[ingest]`."""
    store = MemoryStore()
    calls = FlakyStore(store, audio_stream=AUDIO, end_stream=ENDS)
    async with trio.open_nursery() as nursery:
        yield GatewayHarness(IngestConfig(route=routes, **settings), store, calls, nursery, tls)
        nursery.cancel_scope.cancel()


def recording(seconds: float, fmt: Format) -> Recording:
    """A recording whose bytes tell where they are; none is silence."""
    size = round(seconds * fmt.rate) * fmt.width
    return Recording(bytes((n // fmt.width * 7 + n % fmt.width * 31) % 251 + 1 for n in range(size)), fmt)


class Peer:
    """A platform's end of one socket, by hand."""

    def __init__(self, on: GatewayHarness, socket: ClientSocket) -> None:
        self._on, self.socket = on, socket
        self.said: list[Any] = []
        self.closed_at: float | None = None

    async def say(self, *documents: dict[str, Any] | bytes | str) -> None:
        """Send messages at once: objects as JSON, the rest as it is; and let the gateway take them."""
        await self.socket.send(
            [one if isinstance(one, bytes | str) else json.dumps(one) for one in documents]
        )
        await trio.sleep(0.05)

    async def listen(self) -> None:
        """Take what the gateway says, until it closes."""
        while (message := await self.socket.receive()) is not None:
            self.said.append(json.loads(message))
        self.closed_at = trio.current_time()

    @property
    def close(self) -> tuple[int, str]:
        """How the gateway closed."""
        return self.socket.code, self.socket.reason


@asynccontextmanager
async def peer(on: GatewayHarness, route: Route, **headers: str) -> AsyncIterator[Peer]:
    """Open a socket to a route; it is cut at the end, without a word."""
    url = parsed(f"ws://gateway{route.path}")
    stream = await on.reach(url)
    async with trio.open_nursery() as nursery:
        one = Peer(on, await ClientSocket.open(stream, url, headers))
        nursery.start_soon(one.listen)
        yield one
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)

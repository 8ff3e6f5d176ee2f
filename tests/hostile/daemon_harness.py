"""A whole worker in this process, three healthy calls, and whatever else a test adds.

The daemon is the real one, from the bus to the pages; its provider speaks the real protocol over memory
streams with the simulator, or with a peer of the test's own for calls of `PEER_RATE`. There are two buses:
the one in memory, on a clock that jumps, and a real Valkey on the real clock. Tests know both by what
producers and consumers know: names of streams and keys, and the bytes in them.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import msgspec
import redis
import trio
from trio.testing import memory_stream_pair

from trio_asr.bus.base import Bus
from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.commands.serve import make_bus
from trio_asr.config import (
    BusConfig,
    Config,
    DeepgramConfig,
    HttpConfig,
    InteractionConfig,
    RedisConfig,
    Secret,
)
from trio_asr.daemon import Daemon
from trio_asr.deepgram.websocket import DeepgramProvider
from trio_asr.lab.rig.spans import Span, repeated, size, union
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.server import SimulatorSettings, handle
from trio_asr.simulator.stamps import stamp
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier

RATE = 8000
PEER_RATE = 16_000
AUDIO, ENDS, EVENTS, DEAD = "audio_stream", "call_end", "asr_events", "asr_dead_letter"
PREFIX = "trio_asr:{asr-worker}:"
GOOD = 3
FRAME_S = 0.1
WITHIN_S = 30.0  # from the last frame to the end of a healthy call, whatever goes on beside it
# No step of a task may take more than so many times the reference work below, which takes about 5 ms where
# the promise of 100 ms is measured; twice that, since a step may be held up by the machine.
MOST_WORK = 40

Document = dict[str, Any]
Peer = Callable[[trio.abc.Stream, bytes], Awaitable[None]]


class Backend(Protocol):
    """A bus and its server, as producers and consumers see them."""

    url: str

    def add(self, stream: str, data: bytes | None, **fields: bytes) -> str: ...

    def documents(self, stream: str) -> list[Document]: ...

    def bus(self, config: Config) -> Bus: ...


class MemoryBackend:
    """The memory bus."""

    url = "redis://127.0.0.1:6379"

    def __init__(self) -> None:
        self.store = MemoryStore()

    def add(self, stream: str, data: bytes | None, **fields: bytes) -> str:
        return self.store.add(stream, data, 0, **fields)

    def documents(self, stream: str) -> list[Document]:
        return [msgspec.json.decode(message) for message in self.store.messages(stream)]

    def bus(self, config: Config) -> Bus:
        return MemoryBus(self.store, audio_stream=AUDIO, end_stream=ENDS)


class RedisBackend:
    """A real server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = redis.Redis.from_url(url)

    def add(self, stream: str, data: bytes | None, **fields: bytes) -> str:
        entry = fields if data is None else {"data": data, **fields}
        return cast("bytes", self.client.xadd(stream, cast("Any", entry))).decode()

    def documents(self, stream: str) -> list[Document]:
        found = cast("list[tuple[bytes, dict[bytes, bytes]]]", self.client.xrange(stream))
        return [msgspec.json.decode(fields[b"data"]) for _, fields in found]

    def bus(self, config: Config) -> Bus:
        return make_bus(config)


@dataclass
class Producer:
    """One call of stamped audio."""

    backend: Backend
    id: str
    number: int
    rate: int = RATE
    tenant: str = "tenant"
    samples: int = 0
    _seq: int = 0

    def speak(self, seconds: float) -> str:
        """Add one frame."""
        count = round(seconds * self.rate)
        pcm = stamp(self.number, self.samples, count)
        self._seq += 1
        document = {
            "tenant_id": self.tenant,
            "interaction_id": self.id,
            "seq": self._seq,
            "timestamp_ms": round(self.samples / self.rate * 1000),
            "sample_rate": self.rate,
            "encoding": "pcm16",
            "audio": base64.b64encode(pcm).decode(),
        }
        self.samples += count
        return self.backend.add(AUDIO, msgspec.json.encode(document))

    async def talk(self, seconds: float) -> None:
        """Add frames in real time."""
        began = trio.current_time()
        for i in range(round(seconds / FRAME_S)):
            await trio.sleep_until(began + i * FRAME_S)
            self.speak(FRAME_S)

    def end(self) -> None:
        """End the call."""
        document = {"interaction_id": self.id, "reason": "stopped", "timestamp_ms": 1}
        self.backend.add(ENDS, msgspec.json.encode(document))


class Steps(trio.abc.Instrument):
    """The longest step of any of the daemon's tasks, in CPU seconds of this thread."""

    def __init__(self) -> None:
        self.longest, self.whose = 0.0, ""
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.thread_time() - self._began
        if took > self.longest and "trio_asr." in task.name and "trio_asr.simulator" not in task.name:
            self.longest, self.whose = took, task.name


def reference_s() -> float:
    """Return the CPU seconds of some typical work of the daemon: the least of a few tries."""
    document = b"[" + b'{"a":"b","c":[1,2,3]},' * 2000 + b"0]"

    def once() -> float:
        began = time.thread_time()
        for _ in range(3):
            msgspec.json.decode(document)
        sum(range(100_000))
        return time.thread_time() - began

    return min(once() for _ in range(5))


@dataclass
class DaemonHarness:
    """The worker, with what tests ask of it."""

    backend: Backend
    daemon: Daemon
    metrics: Metrics
    simulator: SimulatorSettings
    dials: list[float] = field(default_factory=list[float])

    def producer(self, number: int, name: str = "", rate: int = RATE) -> Producer:
        return Producer(self.backend, name or f"good-{number}", number, rate)

    def finals(self, interaction_id: str) -> list[Document]:
        return [m for m in self.backend.documents(f"transcript.{interaction_id}") if m["type"] == "final"]

    def events(self, name: str) -> list[Document]:
        return [event for event in self.backend.documents(EVENTS) if event["event"] == name]

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def ended(self, *producers: Producer, within: float = WITHIN_S) -> None:
        """Wait until these calls are over."""
        missing = {producer.id for producer in producers}
        with trio.move_on_after(within):
            while missing:
                missing -= {event["interaction_id"] for event in self.events("ended")}
                await trio.sleep(0.1)
        assert not missing, f"not ended within {within} s: {sorted(missing)}"

    def fault_of(self, producer: Producer) -> str:
        """Return what is wrong with a call of which everything was accepted; "" if nothing is."""
        finals = self.finals(producer.id)
        spans = [span for final in finals for span in _spans(final, producer.number)]
        seqs = [m["seq"] for m in self.backend.documents(f"transcript.{producer.id}")]
        if size(union(spans)) != producer.samples or repeated(spans):
            return f"{size(union(spans))} of {producer.samples} samples, {repeated(spans)} twice"
        if any(later <= earlier for earlier, later in itertools.pairwise(seqs)):
            return f"seq {seqs}"
        for final in finals:
            for number, first, _ in _words(final["text"]):
                at_ms = first * 1000 / producer.rate
                if number == producer.number and not final["start_ms"] - 30 <= at_ms <= final["end_ms"] + 30:
                    return f"sample {first} within {final['start_ms']}..{final['end_ms']} ms"
        return ""

    def is_whole(self, *producers: Producer) -> None:
        """Check that every sample of these calls is inside exactly one final, at its time."""
        faults = {p.id: fault for p in producers if (fault := self.fault_of(p))}
        assert not faults, faults

    async def three_good_calls(
        self, beside: Callable[[], Awaitable[None]] | None = None, seconds: float = 3.0
    ) -> None:
        """Feed three healthy calls while something else happens; they must be whole."""
        good = [self.producer(number) for number in range(1, GOOD + 1)]
        async with trio.open_nursery() as nursery:
            for producer in good:
                nursery.start_soon(producer.talk, seconds)
            if beside is not None:
                nursery.start_soon(beside)
        for producer in good:
            producer.end()
        await self.ended(*good)
        self.is_whole(*good)


def _words(text: str) -> list[tuple[int, int, int]]:
    out = []
    for word in text.split():
        with contextlib.suppress(ValueError):
            call, _, span = word.partition(":")
            first, _, last = span.partition("-")
            out.append((int(call.removeprefix("c")), int(first), int(last)))
    return out


def _spans(final: Document, number: int) -> list[Span]:
    return [(first, last) for call, first, last in _words(final["text"]) if call == number]


def settings(backend: Backend, **interaction: Any) -> Config:
    """Return the usual configuration, with the keys of `interaction` that this version knows."""
    known = {
        name: value for name, value in interaction.items() if name in InteractionConfig.__struct_fields__
    }
    return Config(
        bus=BusConfig(adapter="memory" if isinstance(backend, MemoryBackend) else "redis"),
        redis=RedisConfig(url=backend.url),
        http=HttpConfig(port=0),
        deepgram=DeepgramConfig(url="ws://deepgram.test/v1/listen"),
        interaction=InteractionConfig(**known),
    )


@asynccontextmanager
async def run_daemon(
    backend: Backend, config: Config | None = None, *, peer: Peer | None = None, most_work: float = MOST_WORK
) -> AsyncIterator[DaemonHarness]:
    """Run the worker for a block, then stop it in order: it must have stayed up, and end by itself.

    No step of its tasks may take longer than `most_work` times the reference.
    """
    config, metrics = config or settings(backend), Metrics()
    simulator = SimulatorSettings(engine=EchoEngine(segment_ms=1000))
    steps, unit, dials = Steps(), reference_s(), list[float]()
    async with trio.open_nursery() as nursery:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            dials.append(trio.current_time())
            ours, theirs = memory_stream_pair()
            nursery.start_soon(_serve, theirs, simulator, peer)
            return ours

        provider = DeepgramProvider(config.deepgram, Secret("secret-key"), dial)
        daemon = Daemon(config, backend.bus(config), provider, metrics, Notifier({}))
        one, done = DaemonHarness(backend, daemon, metrics, simulator, dials), trio.Event()

        async def run() -> None:
            await daemon.run()
            done.set()

        trio.lowlevel.add_instrument(steps)
        gc.disable()  # a collection walks the whole test process, whoever's step it falls into
        nursery.start_soon(run)  # noqa: ASYNC113 (the role is what is waited for)
        try:
            with trio.fail_after(60):
                while daemon.role != "active":  # noqa: ASYNC110 (no event says so)
                    await trio.sleep(0.01)
            yield one
            daemon.stop()
            with trio.move_on_after(60):
                await done.wait()
            assert done.is_set(), "it did not stop"
        finally:
            gc.enable()
            trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    assert steps.longest <= most_work * unit, f"{steps.whose} took {steps.longest / unit:.0f} of {most_work}"


async def _serve(stream: trio.abc.Stream, simulator: SimulatorSettings, peer: Peer | None) -> None:
    """Serve a connection: those of `PEER_RATE` by the peer, if there is one."""
    head = b""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while b"\r\n\r\n" not in head and (data := await stream.receive_some()):
            head += bytes(data)
        if peer is not None and f"sample_rate={PEER_RATE}".encode() in head:
            await peer(stream, head)
            await trio.aclose_forcefully(stream)
        else:
            await handle(_Begun(stream, head), simulator)


class _Begun(trio.abc.Stream):
    """A stream whose beginning has been read already."""

    def __init__(self, stream: trio.abc.Stream, begin: bytes) -> None:
        self._stream, self._begin = stream, begin

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._begin:
            await trio.lowlevel.checkpoint()
            begin, self._begin = self._begin, b""
            return begin
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

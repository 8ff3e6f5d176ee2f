"""A harness for single calls: the real tasks, the real WebSocket protocol over memory, the memory bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from trio.testing import memory_stream_pair

from trio_asr.bus.lease import Lease
from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.config import Config, DeepgramConfig, InteractionConfig, Secret
from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.outbox import Outbox
from trio_asr.deepgram.provider import Link, Provider
from trio_asr.deepgram.websocket import DeepgramProvider
from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.services import Services
from trio_asr.simulator.ledger import ConnectionRecord
from trio_asr.simulator.server import SimulatorSettings, handle
from trio_asr.simulator.stamps import stamp
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.codes import EndReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.transcripts import Topics
from trio_asr.worker.office import Office
from trio_asr.worker.tenure import build_services

RATE = 8000
Roles = tuple[str, ...] | None


class CallHarness:
    """The services that calls share, and what Redis and the simulator saw."""

    def __init__(
        self, settings: SimulatorSettings, store: MemoryStore, services: Services, problems: Problems
    ) -> None:
        self.simulator = settings
        self.problems = problems
        self.store = store
        self.services = services
        self.metrics = services.metrics

    @property
    def connections(self) -> list[ConnectionRecord]:
        return list(self.simulator.ledger.connections)

    def sent(self, connection: int = 0, kind: str = "audio") -> list[float]:
        """Return when the simulator got the messages of a kind, to the microsecond."""
        return [round(at, 6) for at, what, _ in self.connections[connection].received if what == kind]

    def transcripts(self, call: str = "call") -> list[dict[str, Any]]:
        return [msgspec.json.decode(m) for m in self.store.messages(f"transcript.{call}")]

    def finals(self, call: str = "call") -> list[dict[str, Any]]:
        return [t for t in self.transcripts(call) if t["type"] == "final"]

    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(m) for m in self.store.messages("asr_events")]


class CallFeed:
    """The input of one call in the harness."""

    def __init__(self, harness: CallHarness, interaction: Interaction) -> None:
        self.harness, self.call, self.interaction = harness, interaction.call, interaction
        self.done = trio.Event()
        self._seq = 0
        self._at = 0

    def say(
        self,
        pcm: bytes,
        rate: int = RATE,
        *,
        channels: int = 1,
        roles: Roles = None,
        position: int | None = None,
    ) -> None:
        """Hand over one frame, as the dispatcher does."""
        self._seq += 1
        frame = Frame(self.call.id, pcm, rate, self._seq, self._seq * 20, "tenant", roles=roles)
        frame.format, frame.position = audio_format(rate, channels=channels), position
        frame.entry, frame.digest = f"{self._seq}-0", self._seq
        self.interaction.inbox.add(frame)
        assert self.interaction.release()

    def speak(self, seconds: float, rate: int = RATE, number: int = 1) -> None:
        """Hand over position-stamped audio as one frame."""
        samples = round(seconds * rate)
        self.say(stamp(number, self._at, samples), rate)
        self._at += samples

    async def talk(self, seconds: float, frame_s: float = 0.02) -> None:
        """Hand over stamped audio in real time."""
        for _ in range(round(seconds / frame_s)):
            self.speak(frame_s)
            await trio.sleep(frame_s)

    def hang_up(self) -> None:
        self.interaction.close()


def config(**deepgram: Any) -> Config:
    interaction = deepgram.pop("interaction", {})
    settings = {"url": "ws://deepgram.test/v1/listen", **deepgram}
    return Config(deepgram=DeepgramConfig(**settings), interaction=InteractionConfig(**interaction))


@asynccontextmanager
async def call_harness(
    simulator: SimulatorSettings | None = None,
    settings: Config | None = None,
    provider: Provider | None = None,
) -> AsyncIterator[tuple[CallHarness, trio.Nursery]]:
    """Run the committer; connections go to the simulator over memory streams."""
    simulator, settings = simulator or SimulatorSettings(), settings or config()
    store, metrics = MemoryStore(), Metrics()
    bus = MemoryBus(store, audio_stream="audio_stream", end_stream="call_end")
    lease = Lease(bus, 3_600_000)
    await lease.acquire()
    async with trio.open_nursery() as nursery:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            nursery.start_soon(handle, theirs, simulator)
            return ours

        chosen = provider or DeepgramProvider(settings.deepgram, Secret("secret-key"), dial)
        office = Office(settings, chosen, metrics, InternalErrors(metrics))
        services = build_services(office, bus, lease, on_stale=lambda _: None)
        nursery.start_soon(services.committer.run)  # noqa: ASYNC113 (it runs when there is something to commit)
        yield CallHarness(simulator, store, services, office.problems), nursery
        nursery.cancel_scope.cancel()


async def start_call(
    on: CallHarness,
    nursery: trio.Nursery,
    interaction_id: str = "call",
    on_error: Callable[[Exception], None] | None = None,
) -> CallFeed:
    """Start a call; its exception goes to `on_error`, if one is given."""
    topics = Topics(f"transcript.{interaction_id}", "asr_events", 1000)
    stored = (await MemoryBus(on.store, audio_stream="", end_stream="").load([interaction_id]))[0]
    limits = on.services.config.interaction
    bounds = Bounds(limits.gap_fill_ms, limits.max_unfinalized_s, limits.reorder_ms)
    call = Call(Outbox(interaction_id, topics, stored), bounds)
    interaction = Interaction(call, on.services)
    interaction.end = "9999999999999-0", EndReason.CLOSED
    line = CallFeed(on, interaction)

    async def run() -> None:
        try:
            await interaction.run()
        except Exception as error:
            if on_error is None:
                raise
            on_error(error)
            return
        line.done.set()

    nursery.start_soon(run)
    return line


def said(transcripts: Sequence[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """Return (call, first sample, last sample) of every word of stamped audio, in order."""
    words = [word for transcript in transcripts for word in transcript["text"].split()]
    return [
        (int(call[1:]), int(span.split("-")[0]), int(span.split("-")[1]))
        for call, _, span in (word.partition(":") for word in words)
    ]


def whole(transcripts: Sequence[dict[str, Any]], samples: int, number: int = 1) -> bool:
    """Say whether the words cover `0..samples` of a call, each sample once and in order."""
    at = 0
    for call, start, end in said(transcripts):
        if call != number or start != at:
            return False
        at = end
    return at == samples


async def sent(link: Link, pcm: bytes) -> None:
    """Send audio to the last byte."""
    if (rest := link.send_audio(pcm)) is not None:
        await rest

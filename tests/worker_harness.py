"""A worker without its web pages: the real tasks of all calls, the memory bus, a provider that echoes."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from trio_asr.bus.base import Answer, Batch, Bus, BusUnavailable, Tenure
from trio_asr.bus.committer import Committer
from trio_asr.bus.lease import Lease
from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.config import Config, InteractionConfig
from trio_asr.core.reader_state import ReaderOutbox
from trio_asr.deepgram.provider import ConnectFailed, Link, LinkClosed
from trio_asr.lab.rig.legs import ROLES, stamped
from trio_asr.simulator.audio import Splitter
from trio_asr.simulator.echo import EchoEar, EchoEngine
from trio_asr.simulator.engines import SegmentEnds
from trio_asr.simulator.query import check
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.wire import messages
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.ids import EntryId
from trio_asr.wire.messages import Alternative, Channel, Message, Metadata, Results
from trio_asr.wire.messages import Word as Said
from trio_asr.wire.records import Checkpoint, Commit, Outcome, Stored, decode_checkpoint
from trio_asr.worker.calls import Calls
from trio_asr.worker.dispatcher import Dispatcher
from trio_asr.worker.housekeeping import Housekeeping
from trio_asr.worker.office import Office
from trio_asr.worker.tenure import build_tenure

RATE = 8000
AUDIO, ENDS, DEAD_LETTERS = "audio_stream", "call_end", "asr_dead_letter"
QUERY = {"encoding": ("linear16",), "model": ("nova-2",)}


# -- the bus -------------------------------------------------------------------------------------------------


class RoughBus(MemoryBus):
    """A worker's memory bus that fails in the way a test sets."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, audio_stream=AUDIO, end_stream=ENDS)
        self.away = False  # no request arrives
        self.deaf = 0  # this many commits arrive and their replies do not
        self.refused: set[str] = set()  # owners whose commits are refused
        self.failed: set[str] = set()  # owners whose commits fail
        self.batches: list[tuple[Commit, ...]] = []  # the arguments of `commit`

    async def _arrive(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise BusUnavailable("away")

    async def acquire(self, ttl_ms: int, *, patient: bool = False) -> Tenure:
        await self._arrive()
        return await super().acquire(ttl_ms, patient=patient)

    async def renew(self, ttl_ms: int) -> Tenure:
        await self._arrive()
        return await super().renew(ttl_ms)

    async def release(self) -> None:
        await self._arrive()
        await super().release()

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        await self._arrive()
        return await super().load(owners)

    async def live_calls(self) -> list[bytes]:
        await self._arrive()
        return await super().live_calls()

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        await self._arrive()
        batch = await super().read(audio_after, ends_after)
        await self._arrive()
        return batch

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        self.batches.append(tuple(commits))
        await self._arrive()
        taken = [commit for commit in commits if commit.owner not in self.refused | self.failed]
        answers = iter(await super().commit(taken))
        if self.deaf:
            self.deaf -= 1
            raise BusUnavailable("the answer is lost")
        return [next(answers) if commit in taken else self._not_taken(commit) for commit in commits]

    def _not_taken(self, commit: Commit) -> Answer:
        outcome = Outcome.FAILED if commit.owner in self.failed else Outcome.REFUSED
        return Answer(outcome, "so the test says")


# -- the provider --------------------------------------------------------------------------------------------


class ChannelLink:
    """A connection without a socket: messages put into `_send` are received, up to its close."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Message](1000)

    async def receive(self) -> Message:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise LinkClosed(1000, "") from None

    def close(self) -> None:
        self._send.close()
        self._receive.close()


class EchoLink(ChannelLink):
    """A connection that answers each segment of stamped audio, of each channel, at once with its content."""

    def __init__(self, provider: EchoProvider, number: int, fmt: Format) -> None:
        self.request_id = f"echo-{number}"
        self.rate = rate = fmt.rate
        self.audio_bytes = 0
        self.texts: list[str] = []
        self.closed = False
        self._provider = provider
        query, engine = check({**QUERY, "sample_rate": (str(rate),)}), EchoEngine(provider.segment_ms)
        self._splitter = Splitter("linear16", fmt.channels)
        self._ears = [EchoEar(engine, query) for _ in range(fmt.channels)]
        self._begin = [0] * fmt.channels
        self._end = 0
        super().__init__()

    async def send_audio(self, pcm: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.audio_bytes += len(pcm)
        legs = self._splitter.feed(pcm)
        self._end += len(legs[0]) // 2
        for channel, leg in enumerate(legs):
            for mark in self._ears[channel].hear(leg):
                if isinstance(mark, SegmentEnds):
                    self._say(channel, mark.at)
        self._provider.inspect(self, pcm)

    async def send_control(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.texts.append(text)
        for channel, ear in enumerate(self._ears):
            asks = (messages.FINALIZE, messages.FINALIZE_CHANNEL[channel], messages.CLOSE_STREAM)
            if text in asks and self._end > self._begin[channel]:
                self._say(channel, self._end)
                ear.cut(self._end)
        if text == messages.CLOSE_STREAM and not self._provider.mute:
            self._send.send_nowait(Metadata(duration=self._end / self.rate))
            self._send.close()

    def close(self) -> None:
        self.closed = True
        super().close()

    def _say(self, channel: int, end: int) -> None:
        begin, self._begin[channel] = self._begin[channel], end
        heard = self._ears[channel].words(begin, end, final=True)
        words = [Said(word.text, word.start / self.rate, word.end / self.rate, 0.9) for word in heard]
        best = Alternative(" ".join(word.word for word in words), 0.9, words)
        if not self._provider.mute and channel not in self._provider.mute_channels:
            start, duration = begin / self.rate, (end - begin) / self.rate
            index = [channel, len(self._ears)]
            self._send.send_nowait(Results(start, duration, Channel([best]), True, True, channel_index=index))


class EchoProvider:
    """A provider of such connections, unless `refuse` is set; `inspect` may raise while audio is taken."""

    name = "echo"
    has_sockets = True

    def __init__(self, segment_ms: int = 1000) -> None:
        self.segment_ms = segment_ms
        self.links: list[EchoLink] = []
        self.mute = False
        self.mute_channels: set[int] = set()
        self.refuse = False
        self.status: int | None = None  # of the refusals
        self.inspect: Callable[[EchoLink, bytes], None] = lambda link, pcm: None

    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        await trio.lowlevel.checkpoint()
        if self.refuse or self.status is not None:
            raise ConnectFailed("so the test says", status=self.status)
        link = EchoLink(self, len(self.links) + 1, fmt)
        self.links.append(link)
        try:
            yield link
        finally:
            link.close()


# -- producers -----------------------------------------------------------------------------------------------


class Producer:
    """The ingest of one call: it adds stamped frames to the audio stream, of one or two channels."""

    def __init__(
        self, store: MemoryStore, interaction_id: str, number: int, channels: int = 1, prefix: str = ""
    ) -> None:
        self.id, self.number, self.channels = interaction_id, number, channels
        self.audio, self.ends = prefix + AUDIO, prefix + ENDS
        self.samples = 0  # added so far
        self._store = store
        self._seq = 0

    def envelope(self, seconds: float, rate: int = RATE) -> bytes:
        """Make the next frame."""
        samples = round(seconds * rate)
        fmt = audio_format(rate, channels=self.channels)
        envelope = self._wrap(stamped(fmt, self.number, self.samples, samples), rate)
        self.samples += samples
        return envelope

    def _wrap(self, pcm: bytes, rate: int) -> bytes:
        self._seq += 1
        document = {
            "tenant_id": "tenant",
            "interaction_id": self.id,
            "seq": self._seq,
            "timestamp_ms": round(self.samples / rate * 1000),
            "sample_rate": rate,
            "encoding": "pcm16",
            "audio": base64.b64encode(pcm).decode(),
        }
        if self.channels > 1:
            document |= {"channels": self.channels, "roles": ROLES}
        return msgspec.json.encode(document)

    def publish(self, pcm: bytes, rate: int = RATE) -> EntryId:
        """Add exactly these bytes as one frame."""
        return self._store.add(self.audio, self._wrap(pcm, rate))

    def speak(self, seconds: float, rate: int = RATE) -> EntryId:
        """Add one frame."""
        return self._store.add(self.audio, self.envelope(seconds, rate))

    async def talk(self, seconds: float, frame_s: float = 0.1) -> None:
        """Add frames in real time."""
        for _ in range(round(seconds / frame_s)):
            self.speak(frame_s)
            await trio.sleep(frame_s)

    def end(self) -> EntryId:
        """End the call."""
        document = {"interaction_id": self.id, "reason": "stopped", "timestamp_ms": 1}
        return self._store.add(self.ends, msgspec.json.encode(document))


# -- the worker ----------------------------------------------------------------------------------------------


@dataclasses.dataclass
class WorkerHarness:
    """One worker at work, with what tests ask of it."""

    store: MemoryStore
    bus: RoughBus
    provider: EchoProvider
    lease: Lease
    committer: Committer
    metrics: Metrics
    problems: Problems
    calls: Calls
    dispatcher: Dispatcher
    housekeeping: Housekeeping
    reader_outbox: ReaderOutbox

    def producer(self, number: int = 1, interaction_id: str = "", *, channels: int = 1) -> Producer:
        return Producer(self.store, interaction_id or f"call-{number}", number, channels)

    def finals(self, producer: Producer) -> list[dict[str, Any]]:
        return [t for t in read(self.store, f"transcript.{producer.id}") if t["type"] == "final"]

    def events(self, producer: Producer) -> list[dict[str, Any]]:
        return [e for e in read(self.store, "asr_events") if e["interaction_id"] == producer.id]

    def happened(self, producer: Producer) -> list[str]:
        """Return the names of the events of a call, in order, without those of connections."""
        names = [event["event"] for event in self.events(producer)]
        return [name for name in names if not name.startswith("connection_")]

    def dead_letters(self) -> list[dict[str, Any]]:
        return read(self.store, DEAD_LETTERS)

    def checkpoint(self, producer: Producer) -> Checkpoint:
        return decode_checkpoint(self.store.states.get(producer.id, Stored()).state)

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def finish(self, *producers: Producer) -> None:
        """End the calls, and wait until they are over."""
        for producer in producers:
            producer.end()
        await self.over(*producers)

    async def over(self, *producers: Producer) -> None:
        """Wait until the calls are over."""
        with trio.fail_after(600):
            await trio.sleep(0.05)  # what was just added is read first
            for producer in producers:
                while producer.id in self.calls.interactions:  # noqa: ASYNC110 (the clock jumps)
                    await trio.sleep(0.05)


def read(store: MemoryStore, stream: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(message) for message in store.messages(stream)]


def settings(**interaction: Any) -> Config:
    return Config(interaction=InteractionConfig(**interaction))


@asynccontextmanager
async def run_worker(
    config: Config | None = None,
    *,
    store: MemoryStore | None = None,
    provider: EchoProvider | None = None,
    bus: RoughBus | None = None,
) -> AsyncIterator[WorkerHarness]:
    """Run a worker; leaving the block is its `kill -9`."""
    config, store = config or Config(), store or MemoryStore()
    provider, bus = provider or EchoProvider(), bus or RoughBus(store)
    metrics = Metrics()
    office = Office(config, provider, metrics, InternalErrors(metrics))
    lease = Lease(bus, 3_600_000)
    store.lease = None  # the lease of a killed worker would have to expire first
    assert await lease.acquire()
    async with trio.open_nursery() as nursery:
        tenure = await build_tenure(nursery, office, bus, lease)
        nursery.start_soon(office.run)  # noqa: ASYNC113 (it runs once a second)
        nursery.start_soon(tenure.services.committer.run)  # noqa: ASYNC113 (it waits for commits)
        nursery.start_soon(tenure.run)  # noqa: ASYNC113 (tests wait for what it does)
        yield WorkerHarness(
            store, bus, provider, lease, tenure.services.committer, metrics, office.problems, tenure.calls,
            tenure.dispatcher, tenure.housekeeping, tenure.reader_outbox,
        )  # fmt: skip
        nursery.cancel_scope.cancel()


_conforms: type[Bus] = RoughBus

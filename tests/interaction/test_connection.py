"""The sender's side of one connection, where the moments of two things coincide."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from trio_asr.bus.lease import Lease
from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.config import Config
from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.channel_results import Publishing
from trio_asr.core.outbox import Outbox
from trio_asr.core.results import ResultHandler
from trio_asr.core.timeline import Chunk
from trio_asr.core.verdict import Judge
from trio_asr.deepgram.mock import MockProvider
from trio_asr.deepgram.provider import LinkClosed
from trio_asr.interaction.connection import LiveConnection
from trio_asr.interaction.ending import Ending, Why
from trio_asr.interaction.feed import Flow
from trio_asr.interaction.report import Report
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.wire import messages
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.messages import Message
from trio_asr.wire.records import Stored
from trio_asr.wire.transcripts import Topics
from trio_asr.worker.office import Office
from trio_asr.worker.tenure import build_services

CHUNK = 1600


class QuietLink:
    """Takes everything, says nothing; sending takes as long as a test says."""

    request_id = "quiet"

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.send_s = 0.0
        self.closed = trio.Event()

    async def send_audio(self, pcm: bytes) -> None:
        await trio.sleep(self.send_s)
        self.sent.append(len(pcm))

    async def send_control(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(text)

    async def receive(self) -> Message:
        await self.closed.wait()
        raise LinkClosed(1006, "")


async def services(lease_ms: int = 3_600_000) -> Services:
    """Return what a connection needs of its worker, of which no task runs."""
    bus, metrics = MemoryBus(MemoryStore(), audio_stream="audio_stream", end_stream="call_end"), Metrics()
    office = Office(Config(), MockProvider(), metrics, InternalErrors(metrics))
    lease = Lease(bus, lease_ms)
    assert await lease.acquire()
    return build_services(office, bus, lease, on_stale=lambda _: None)


class ConnectionHarness:
    """A connection that stays quiet, fed by hand."""

    def __init__(self, shared: Services) -> None:
        self.link = QuietLink()
        self.ending: Ending | None = None
        outbox = Outbox("call", Topics("transcript.call", "asr_events", 100), Stored())
        call = Call(outbox, Bounds(1000, 120))
        self._timeline = call.timeline
        self._timeline.append("1-0", bytes(2 * 100 * CHUNK), audio_format(8000))
        handler = ResultHandler(self._timeline, outbox, Publishing(1, "quiet"))
        report = Report(call, shared, logs.get("test"))
        self._connection = LiveConnection(
            self.link, handler, shared, report=report, flow=Flow(), judge=Judge()
        )
        self._feed, self._chunks = trio.open_memory_channel[Chunk](1)

    def feed(self) -> None:
        chunk = self._timeline.take(CHUNK)
        assert chunk is not None
        self._feed.send_nowait(chunk)

    async def run(self) -> None:
        self.ending = await self._connection.run(self._chunks)


async def test_a_chunk_that_comes_as_the_timer_goes_off_is_sent(mock_clock: MockClock) -> None:
    """Requirements 3: nothing is late here, and the connection is of use as before."""
    harness = ConnectionHarness(await services())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(harness.run)
        await trio.testing.wait_all_tasks_blocked()
        for jump in (4, 2, 4, 60):  # KeepAlive's moment, the pause's, long past both
            harness.feed()
            mock_clock.jump(jump)
            await trio.testing.wait_all_tasks_blocked()
        assert harness.ending is None
        assert harness.link.sent.count(2 * CHUNK) == 4
        nursery.cancel_scope.cancel()


async def test_a_slow_send_within_its_limit_is_in_time(mock_clock: MockClock) -> None:
    harness = ConnectionHarness(await services())
    harness.link.send_s = 5.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(harness.run)
        await trio.testing.wait_all_tasks_blocked()
        harness.feed()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(4.999)
        await trio.testing.wait_all_tasks_blocked()
        assert harness.ending is None
        nursery.cancel_scope.cancel()


async def test_a_send_that_takes_too_long_ends_the_conversation(autojump_clock: MockClock) -> None:
    harness = ConnectionHarness(await services())
    harness.link.send_s = 6.0
    harness.feed()
    await harness.run()
    assert harness.ending is not None
    assert harness.ending.why is Why.STALLED
    assert trio.current_time() == 5
    assert harness.link.sent == []


async def test_silence_is_kept_alive(autojump_clock: MockClock) -> None:
    harness = ConnectionHarness(await services())
    harness.feed()
    with trio.move_on_after(14):
        await harness.run()
    assert harness.link.sent == [2 * CHUNK, messages.FINALIZE, *[messages.KEEP_ALIVE] * 2]


async def test_what_was_due_before_a_freeze_is_not_sent_after_the_lease(mock_clock: MockClock) -> None:
    """The call may be another worker's by then, which sends this audio itself."""
    shared = await services(lease_ms=10_000)
    harness = ConnectionHarness(shared)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(harness.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(7.9)
        harness.feed()
        await trio.testing.wait_all_tasks_blocked()
        assert harness.link.sent.count(2 * CHUNK) == 1
        harness.feed()  # and before the sender's turn the process stands still
        mock_clock.jump(2.1)
        await trio.testing.wait_all_tasks_blocked()
        assert harness.link.sent.count(2 * CHUNK) == 1
        await shared.lease.renew()  # nobody has taken over
        await trio.testing.wait_all_tasks_blocked()
        assert harness.link.sent.count(2 * CHUNK) == 2
        nursery.cancel_scope.cancel()


async def test_a_lease_that_is_not_held_again_in_time_ends_the_connection(mock_clock: MockClock) -> None:
    shared = await services(lease_ms=10_000)
    harness = ConnectionHarness(shared)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(harness.run)
        mock_clock.jump(10)
        harness.feed()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(5)
        await trio.testing.wait_all_tasks_blocked()
        assert harness.ending is not None
        assert 2 * CHUNK not in harness.link.sent

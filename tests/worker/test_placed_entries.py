"""Entries with positions, at work: out of order, with holes of any length. On the autojump clock."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
import trio
from tests.call_harness import said
from tests.worker_harness import AUDIO, RATE, EchoProvider, Producer, WorkerHarness, run_worker
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.simulator.stamps import stamp

FRAME = RATE // 50
CALL = "call-1"


class PlacedProducer(Producer):
    """A producer that numbers nothing: its entries say where they belong."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, CALL, 1)

    def put(self, at: int, **more: object) -> None:
        """Add a frame of the stamped audio from sample `at` on."""
        audio = base64.b64encode(stamp(1, at, FRAME)).decode()
        document = {"interaction_id": CALL, "sample_rate": RATE, "audio": audio, "position": at}
        self._store.add(AUDIO, msgspec.json.encode(document | more))

    async def tell(self, frames: Iterable[int]) -> None:
        """Add frames of these numbers, one every 20 ms."""
        for n in frames:
            self.put(n * FRAME)
            await trio.sleep(0.02)


def spans(on: WorkerHarness, call: Producer) -> list[tuple[int, int]]:
    """What was said of a call, as stretches of samples without a break."""
    found = list[tuple[int, int]]()
    for number, start, end in said(on.finals(call)):
        assert number == 1
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found


def gaps(on: WorkerHarness, call: Producer) -> list[tuple[Any, ...]]:
    return [
        (event["reason"], event["start_ms"], event["end_ms"], event["samples"])
        for event in on.events(call)
        if event["event"] == "gap"
    ]


def check_times(on: WorkerHarness, call: Producer) -> None:
    """Check that each final has the times of the samples that it is of."""
    for final in on.finals(call):
        words = said([final])
        assert final["start_ms"] <= words[0][1] * 1000 / RATE
        assert words[-1][2] * 1000 / RATE <= final["end_ms"]
        assert final["end_ms"] - final["start_ms"] <= 2000


SHUFFLED = [0, 3, 1, 2, *range(12, 30), *range(4, 12), *range(36, 60), *range(30, 36), *range(60, 150)]


@pytest.mark.parametrize("pause_s", [0, 10, 30])
async def test_out_of_order_and_thirty_seconds_that_never_came(
    pause_s: int, autojump_clock: MockClock
) -> None:
    """Whether the entries paused for as long, or went on at once while there was audio without a final."""
    async with run_worker(provider=EchoProvider(segment_ms=2000)) as on:
        call = PlacedProducer(on.store)
        await call.tell(SHUFFLED)
        await trio.sleep(pause_s)
        await call.tell(range(1650, 1700))
        await on.finish(call)
        assert spans(on, call) == [(0, 3 * RATE), (33 * RATE, 34 * RATE)]
        assert gaps(on, call) == [("source", 3000, 33_000, 30 * RATE)]
        check_times(on, call)
        assert on.finals(call)[-1]["end_ms"] == 34_000
        assert on.happened(call) == ["started", "gap", "ended"]
        assert on.events(call)[-1]["duration_ms"] == 34_000
        # What is finalized needs no connection of its own behind the gap.
        assert len(on.provider.links) == (1 if pause_s else 2)
        assert sum(link.audio_bytes for link in on.provider.links) == 2 * 4 * RATE
        assert on.counted("asr_holes_filled_seconds_total") == on.counted("asr_audio_late_seconds_total") == 0
        assert on.counted("asr_duplicates_dropped_total") == 0


async def test_a_gap_is_told_of_when_the_wait_is_over(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        call = PlacedProducer(on.store)
        await call.tell(range(100))
        await trio.sleep(3)
        for n in (1600, 200, 1602):
            call.put(n * FRAME)
        await trio.sleep(0.59)
        assert gaps(on, call) == []
        await trio.sleep(0.02)
        found = [("source", 2000, 4000, 2 * RATE), ("source", 4020, 32_000, 27_980 * RATE // 1000)]
        assert gaps(on, call) == found
        call.put(1601 * FRAME)  # too late, and so is what belongs in the gap
        call.put(1000 * FRAME)
        await on.finish(call)
        assert gaps(on, call) == found
        assert spans(on, call)[1] == (4 * RATE, 4 * RATE + FRAME)
        assert on.counted("asr_audio_late_seconds_total") == pytest.approx(0.04)
        assert on.counted("asr_duplicates_dropped_total") == 2
        assert on.counted("asr_holes_filled_seconds_total") == pytest.approx(0.02)


@pytest.mark.parametrize("first", [10, 500])
async def test_a_call_that_begins_with_a_hole_killed_at_any_moment(
    first: int, autojump_clock: MockClock
) -> None:
    for instant in (0.0, 0.01, 0.3, 0.59, 0.61, 0.7, 1.2, 2.0, 3.5):
        store, provider = MemoryStore(), EchoProvider()
        call = PlacedProducer(store)
        async with run_worker(store=store, provider=provider) as on:
            await trio.sleep(0.75)  # floors are noted at 1 s, while the first entries wait
            with trio.move_on_after(instant):
                await call.tell(range(first, first + 50))
        told = len(store.messages(AUDIO))
        async with run_worker(store=store, provider=provider) as on:
            await trio.sleep(0.3)  # what was told before is read, and nothing else
            await call.tell(range(first + told, first + 100))
            await on.finish(call)
            assert spans(on, call) == [(first * FRAME, (first + 100) * FRAME)]
            assert gaps(on, call) == ([("source", 0, 10_000, 10 * RATE)] if first == 500 else [])
            check_times(on, call)


async def test_a_void_killed_at_any_moment(autojump_clock: MockClock) -> None:
    for instant in (0.0, 0.05, 0.3, 0.58, 0.6, 0.62, 0.65, 0.8, 1.0, 1.5, 3.0):
        store, provider = MemoryStore(), EchoProvider()
        call = PlacedProducer(store)
        async with run_worker(store=store, provider=provider) as on:
            await call.tell(SHUFFLED)
            with trio.move_on_after(instant):
                await call.tell(range(1650, 1800))
        told = len(store.messages(AUDIO)) - 150
        async with run_worker(store=store, provider=provider) as on:
            await call.tell(range(1650 + told, 1800))
            await on.finish(call)
            assert spans(on, call) == [(0, 3 * RATE), (33 * RATE, 36 * RATE)]
            assert gaps(on, call) == [("source", 3000, 33_000, 30 * RATE)]
            check_times(on, call)


async def test_a_finished_call_whose_entries_come_again_says_nothing(autojump_clock: MockClock) -> None:
    """They have no numbers to tell them by. In the same process, and after a restart; then it goes on."""
    store = MemoryStore()
    call = PlacedProducer(store)
    async with run_worker(store=store) as on:
        await call.tell(range(100))
        await on.finish(call)
        await call.tell(range(100))
        await trio.sleep(70)
        assert on.happened(call) == ["started", "ended"]
        assert on.calls.interactions == {}
    async with run_worker(store=store) as on:
        await call.tell(range(50, 100))
        await trio.sleep(70)
        assert on.happened(call) == ["started", "ended"]
        await call.tell(range(90, 150))
        await on.finish(call)
        assert on.happened(call) == ["started", "ended", "resumed", "ended"]
        assert spans(on, call) == [(0, 150 * FRAME)]
        check_times(on, call)


async def test_positions_that_cannot_be_meant_are_counted_and_cost_no_audio(
    autojump_clock: MockClock,
) -> None:
    async with run_worker() as on:
        call = PlacedProducer(on.store)
        for n in range(100):
            wrong = {"position": -1 if n % 4 else 10**12} if n % 2 else {}
            call.put(n * FRAME, seq=n, timestamp_ms=n * 20, **wrong)
            await trio.sleep(0.02)
        await on.finish(call)
        assert spans(on, call) == [(0, 100 * FRAME)]
        assert on.counted("asr_positions_ignored_total") == 50


async def test_little_audio_behind_a_void_needs_no_answer(autojump_clock: MockClock) -> None:
    """It goes on the connection that there was. Before: the void counted as audio, and that as a stall."""
    async with run_worker() as on:
        call = PlacedProducer(on.store)
        await call.tell(range(100))
        await trio.sleep(3)
        on.provider.mute = True
        await call.tell(range(1600, 1650))
        await trio.sleep(12)
        assert [link.closed for link in on.provider.links] == [False]
        assert on.provider.links[0].audio_bytes == 2 * 3 * RATE
        on.provider.mute = False
        await on.finish(call)
        assert spans(on, call) == [(0, 2 * RATE), (32 * RATE, 33 * RATE)]

"""Floors, bounds and admission, on the autojump clock."""

from __future__ import annotations

import itertools

import pytest
import trio
from tests.worker.test_dispatcher import complete
from tests.worker_harness import AUDIO, EchoProvider, Producer, run_worker, settings
from trio.testing import MockClock

from trio_asr.bus import memory
from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.memory import MemoryStore
from trio_asr.config import Config, RedisConfig
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Stored, decode_reader
from trio_asr.worker import shares


def floors(store: MemoryStore) -> tuple[str, str]:
    state = decode_reader(store.states.get("", Stored()).state)
    return state.audio_floor, state.end_floor


async def test_the_floor_follows_what_is_finalized(autojump_clock: MockClock) -> None:
    """It stays at the first entry that some call still needs, and moves on with the slowest of them."""
    async with run_worker() as on:
        slow, quick = on.producer(1), on.producer(2)
        slow.speak(1.0)
        first = slow.speak(0.5)  # half a segment: its final comes with the end of the call
        await quick.talk(1.2)
        assert floors(on.store)[0] == first
        await on.finish(slow, quick)
        last = on.store.streams[AUDIO][-1][0].decode()
        await trio.sleep(1.1)
        assert floors(on.store)[0] == last
        assert on.bus.floors == floors(on.store), "operators see it, too"


async def test_what_is_idle_is_not_trimmed_each_second(autojump_clock: MockClock) -> None:
    """Where the floor stands still now and then, and at once after a failure."""
    async with run_worker(Config(redis=RedisConfig(trim=True))) as on:
        trims: list[tuple[int, bool]] = []
        trim, fails = on.bus.trim, False

        async def noted(floor: EntryId) -> None:
            trims.append((round(trio.current_time() - began), fails))
            if fails:
                raise BusUnavailable("so the test says")
            await trim(floor)

        on.bus.trim = noted  # type: ignore[method-assign]
        call = on.producer()
        await call.talk(3)
        await on.finish(call)
        await trio.sleep(5)
        trims.clear()
        began = trio.current_time()
        await trio.sleep(59.5)
        assert [after - before for (before, _), (after, _) in itertools.pairwise(trims)] == [10] * 5
        fails = True
        await trio.sleep(15)
        fails = False
        trims = trims[6:]
        await trio.sleep(15)
        failed = [at for at, why in trims if why]
        assert failed == list(range(failed[0], failed[-1] + 1))  # each second, until it succeeds
        assert [at - failed[-1] for at, why in trims if not why] == [1, 11]
        began, trims = trio.current_time(), []
        other = on.producer(2)
        await other.talk(5)
        assert [at for at, _ in trims[-4:]] == [2, 3, 4, 5]  # the floor moves


async def test_the_floor_of_ends_waits_for_the_end_of_the_call(autojump_clock: MockClock) -> None:
    """A kill before the end of the call was committed reads its end again."""
    provider = EchoProvider()
    store = MemoryStore()
    async with run_worker(store=store, provider=provider) as on:
        call = on.producer()
        call.speak(0.5)
        provider.mute = True
        end = call.end()
        await trio.sleep(3)
        assert floors(store)[1] == end
    async with run_worker(store=store) as on:
        await on.over(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        await trio.sleep(1.1)
        assert floors(store)[1] == end


async def test_no_floor_passes_an_end_that_waits(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind by a lot of audio, killed, started again: the end of the call is not forgotten."""
    monkeypatch.setattr(memory, "READ_COUNT", 3)
    monkeypatch.setattr(shares, "HOLD_SHARE", 0.1)
    store = MemoryStore()
    call = Producer(store, "call-1", 1)
    for _ in range(60):
        call.speak(1.0)
    call.end()
    for _ in range(4):
        async with run_worker(settings(max_unfinalized_s=60), store=store):
            await trio.sleep(9)
    async with run_worker(settings(max_unfinalized_s=60), store=store) as on:
        await on.over(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        assert on.events(call)[-1]["reason"] == "call_end"


async def test_reading_pauses_while_calls_have_enough_to_do(autojump_clock: MockClock) -> None:
    """Catching up, what is not read yet stays in the stream, and nothing is given up for want of room.

    Not even where one read brings more of a call than the call may hold.
    """
    store = MemoryStore()
    calls = [Producer(store, f"call-{i}", i) for i in (1, 2)]
    for _ in range(1500):  # 300 s of each call, more than it may hold
        for call in calls:
            call.speak(0.2)
    for call in calls:
        call.end()
    held = 0.0
    async with run_worker(settings(max_unfinalized_s=60), store=store) as on:
        while on.calls.interactions or not held:
            await trio.sleep(0.1)
            held = max([held, *(slot.call.timeline.unfinalized_s for slot in on.calls.interactions.values())])
        assert 20 < held <= 60
        assert all(complete(on, call) for call in calls)
        assert all(on.happened(call) == ["started", "ended"] for call in calls)


async def test_a_stuck_call_holds_up_no_other(autojump_clock: MockClock) -> None:
    """It fills up to its own bound and gives up its oldest audio there; the others are read on."""
    provider = EchoProvider()
    async with run_worker(settings(max_unfinalized_s=30), provider=provider) as on:
        stuck, other = on.producer(1), on.producer(2)
        provider.refuse = True
        stuck.speak(0.5)
        await trio.sleep(1)
        stuck_sender = on.calls.interactions[stuck.id].sender
        stuck_sender._services.admission.provider.refuse = True  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stuck.talk, 100, 1.0)
            nursery.start_soon(other.talk, 100, 1.0)
            await trio.sleep(99)
            for call in (stuck, other):
                assert on.calls.interactions[call.id].call.timeline.unfinalized_s <= 30
        assert on.counted("asr_gap_seconds_total", reason="retention") >= 130
        provider.refuse = False
        await on.finish(stuck, other)
        for call in (stuck, other):
            gaps = [event for event in on.events(call) if event["event"] == "gap"]
            covered = [(gap["start_ms"], gap["end_ms"]) for gap in gaps]
            covered += [(final["start_ms"], final["end_ms"]) for final in on.finals(call)]
            assert sorted(covered) == covered, "in order"
            assert covered[0][0] == 0
            assert covered[-1][1] == round(call.samples / 8)
            assert all(a[1] == b[0] for a, b in itertools.pairwise(covered))
            assert all(gap["reason"] == "retention" for gap in gaps)


async def test_the_memory_of_all_calls_is_bounded(autojump_clock: MockClock) -> None:
    """Above it the largest give up their oldest audio, as committed gaps. 1 MB is 62.5 s at 8 kHz."""
    provider = EchoProvider()
    provider.refuse = True
    async with run_worker(
        settings(max_unfinalized_total_mb=1, max_unfinalized_s=600), provider=provider
    ) as on:
        large, small = on.producer(1), on.producer(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(large.talk, 100, 1.0)
            nursery.start_soon(small.talk, 10, 1.0)
        await trio.sleep(1.1)
        held = {name: slot.call.timeline.held_bytes for name, slot in on.calls.interactions.items()}
        assert sum(held.values()) <= 1_000_000
        assert held[small.id] == 2 * small.samples, "the small one gave up nothing"
        provider.refuse = False
        await on.finish(large, small)
        assert complete(on, small)
        gaps = [event for event in on.events(large) if event["event"] == "gap"]
        assert {gap["reason"] for gap in gaps} == {"memory"}
        lost_ms = sum(gap["end_ms"] - gap["start_ms"] for gap in gaps)
        assert lost_ms == on.finals(large)[0]["start_ms"]
        assert on.finals(large)[-1]["end_ms"] == 100_000
        assert on.counted("asr_gap_seconds_total", reason="memory") == pytest.approx(lost_ms / 1000)
        assert lost_ms >= 47_000


async def test_what_a_failed_call_held_is_not_taken_from_others(autojump_clock: MockClock) -> None:
    """While it waits to restart it holds nothing: it reads its audio again."""
    async with run_worker(settings(max_unfinalized_total_mb=1, max_unfinalized_s=600)) as on:
        failed, other = on.producer(1), on.producer(2)
        on.provider.refuse = True
        await failed.talk(50, 1.0)
        on.calls.restart(failed.id, "so the test says")
        assert on.counted("asr_gap_seconds_total", reason="memory") == 0
        on.provider.refuse = False
        other.speak(0.5)
        await trio.sleep(5)
        await on.finish(failed, other)
        assert complete(on, failed)
        assert complete(on, other)


async def test_what_is_counted(autojump_clock: MockClock) -> None:
    provider = EchoProvider()
    provider.refuse = True
    async with run_worker(provider=provider) as on:
        call = on.producer()
        call.speak(2.0)
        await trio.sleep(1.1)
        assert on.counted("asr_calls") == 1
        assert on.counted("asr_unfinalized_seconds") == 2.0
        assert on.counted("asr_unfinalized_bytes") == 32_000
        provider.refuse = False
        await on.finish(call)
        await trio.sleep(1.1)
        assert on.counted("asr_calls") == on.counted("asr_unfinalized_seconds") == 0

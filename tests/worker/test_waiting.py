"""Calls beyond `max_calls`: what waits, who begins first, who is refused. On the autojump clock."""

from __future__ import annotations

import pytest
import trio
from tests.worker.test_catchup import TenantsProducer, burst, until
from tests.worker.test_dispatcher import complete
from tests.worker_harness import EchoProvider, Producer, run_worker, settings
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.core import waiting
from trio_asr.core.waiting import FLOWING_S, Waiting
from trio_asr.wire.frames import Frame
from trio_asr.wire.records import Stored, decode_reader


def frame(name: str, entry: str, size: int = 320) -> Frame:
    one = Frame(name, bytes(size), 8000, 1, 0, "tenant")
    one.entry = entry
    return one


def filled(*names: str) -> Waiting:
    calls = Waiting()
    for i, name in enumerate(names, 1):
        assert calls.add(name, frame(name, f"{i}-5"), float(i)) == 0
    return calls


# -- the list ------------------------------------------------------------------------------------------------


def test_who_has_brought_most_lately_is_first() -> None:
    calls = filled("a", "b", "c")
    assert calls.note(frame("b", "9-0"), 3.5)
    assert not calls.note(frame("nobody", "9-1"), 3.5)
    assert calls.best(3.5) == "b"
    assert calls.note(frame("a", "9-2", 10_000), 3.5)
    assert calls.best(3.5) == "a"
    assert calls.note(frame("c", "9-3"), 3.5 + FLOWING_S + 0.1)
    assert calls.best(3.5 + FLOWING_S + 0.1) == "c", "the others are silent"
    assert calls.best(100.0) == "a", "all are"
    assert Waiting().best(0.0) is None


def test_who_is_silent_longest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 3)
    calls = filled("a", "b", "c")
    calls.note(frame("a", "9-0"), 5.0)
    assert calls.add("d", frame("d", "9-1"), 6.0) == 1
    assert calls.take("b") is None
    assert len(calls) == 3
    assert calls.take("a") is not None


def test_a_call_begins_with_its_first_frame_and_has_its_end() -> None:
    calls = filled("a")
    calls.note(frame("a", "9-0"), 5.0)
    calls.end("a", "9-1")
    calls.end("nobody", "9-2")
    waiter = calls.take("a")
    assert waiter is not None
    assert (waiter.after, waiter.size, waiter.at, waiter.tenant, waiter.end) == (
        "1-4",
        640,
        5.0,
        "tenant",
        "9-1",
    )
    assert calls.take("a") is None


def test_floors_and_a_stream_that_begins_again() -> None:
    calls = filled("a", "b")
    calls.end("b", "3-0")
    assert calls.floors("7-0", "8-0") == ("1-4", "3-0")
    assert calls.floors("0-1", "2-0") == ("0-1", "2-0")
    assert Waiting().floors("7-0", "8-0") == ("7-0", "8-0")
    calls.forget_above("1-7")
    assert [calls.take(name).after for name in "ab"] == ["1-4", "1-7"]  # type: ignore[union-attr]


# -- at work -------------------------------------------------------------------------------------------------


async def test_a_call_beyond_the_bound_waits_and_loses_nothing(autojump_clock: MockClock) -> None:
    async with run_worker(settings(max_calls=2)) as on:
        calls = [on.producer(i) for i in (1, 2, 3)]
        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(call.talk, 10)
            await trio.sleep(5)
            assert len(on.calls.interactions) == 2
            begun = [call for call in calls if call.id in on.calls.interactions]
            assert on.counted("asr_calls_waiting") == 1
            assert on.counted("asr_calls_deferred_total") == 1
            assert on.counted("asr_calls_refused_total") == 0
            assert on.problems.ages(trio.current_time())
        begun[0].end()
        await on.over(begun[0])
        await trio.sleep(1)
        for call in calls:
            call.end()
        await trio.sleep(1)
        await on.over(*calls)
        for call in calls:
            assert complete(on, call)
            assert on.happened(call) == ["started", "ended"]
        await trio.sleep(1.1)
        assert on.counted("asr_calls_waiting") == 0
        assert not on.problems.ages(trio.current_time())


async def test_an_end_that_comes_while_a_call_waits(autojump_clock: MockClock) -> None:
    async with run_worker(settings(max_calls=1)) as on:
        first, second = on.producer(1), on.producer(2)
        second_frames = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.talk, 5)
            await trio.sleep(0.3)
            burst(second, 2)
            second_frames = second.samples
            second.end()
        assert second.id not in on.calls.interactions
        await on.finish(first)
        await trio.sleep(0.2)
        await on.over(second)
        assert second.samples == second_frames
        assert complete(on, first)
        assert complete(on, second)
        assert on.happened(second) == ["started", "ended"]
        assert on.events(second)[-1]["reason"] == "call_end"


async def test_ids_used_once_keep_no_genuine_call_out(autojump_clock: MockClock) -> None:
    """They have all places; the genuine one has its first final within 5 s."""
    async with run_worker(settings(max_calls=10)) as on:
        call = on.producer(1)

        async def flood() -> None:
            for i in range(600):
                for part in range(4):
                    on.producer(2, f"once-{i}-{part}").speak(0.02)
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await trio.sleep(3)
            assert len(on.calls.interactions) == 10
            assert call.id not in on.calls.interactions
            began = trio.current_time()
            nursery.start_soon(call.talk, 8)
            await until(lambda: bool(on.finals(call)))
            assert trio.current_time() - began < 5
        call.end()
        await trio.sleep(1)
        await on.over(call)
        assert complete(on, call)


async def test_a_call_in_which_nobody_speaks_makes_room_and_goes_on(autojump_clock: MockClock) -> None:
    async with run_worker(settings(max_calls=1)) as on:
        still, other = on.producer(1), on.producer(2)
        await still.talk(3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.talk, 10)
            await trio.sleep(6)
            assert list(on.calls.interactions) == [other.id]
            assert on.events(still)[-1]["reason"] == "idle"
            await still.talk(2)
        other.end()
        still.end()
        await trio.sleep(1)
        await on.over(still, other)
        await trio.sleep(5)
        assert complete(on, still)
        assert complete(on, other)
        assert on.happened(still)[:3] == ["started", "ended", "resumed"]


async def test_a_kill_while_calls_wait(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with run_worker(settings(max_calls=1), store=store) as on:
        calls = [on.producer(i) for i in (1, 2, 3)]
        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(call.talk, 3)
        calls[2].end()
        await trio.sleep(2.5)
        floor = decode_reader(store.states.get("", Stored()).state).audio_floor
        assert floor <= store.streams["audio_stream"][1][0].decode()
    async with run_worker(store=store) as on:
        for call in calls[:2]:
            call.end()
        await trio.sleep(1)
        await on.over(*calls)
        assert all(complete(on, call) for call in calls)


async def test_a_call_that_was_in_progress_waits_from_its_checkpoint(autojump_clock: MockClock) -> None:
    """Somebody has taken it out of the live ones; it goes on in the middle of a frame."""
    store = MemoryStore()
    async with run_worker(store=store) as on:
        call, other = on.producer(1), on.producer(2)
        other.speak(0.5)
        await call.talk(3.5, 0.35)
        assert on.checkpoint(call).place.offset == 3200, "3 s are in the ninth frame"
    store.live.remove(call.id)
    async with run_worker(settings(max_calls=1), store=store) as on:
        await call.talk(0.9, 0.3)
        assert len(on.calls.waiting) == 1
        await on.finish(other)
        await trio.sleep(1)
        await on.finish(call)
        assert complete(on, other)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]


async def test_another_tenant_while_an_id_waits(autojump_clock: MockClock) -> None:
    async with run_worker(settings(max_calls=1)) as on:
        first = on.producer(9)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.talk, 4)
            await trio.sleep(0.5)
            parts = [TenantsProducer(on.store, "same", i, name) for i, name in ((1, "a"), (2, "b"))]
            for part in parts:
                burst(part, 1.5)
            parts[-1].end()
        await on.finish(first)
        await trio.sleep(0.3)
        await on.over(parts[0])
        finals = on.finals(parts[0])
        assert [(final["tenant_id"], final["start_ms"], final["end_ms"]) for final in finals] == [
            ("a", 0, 1000), ("a", 1000, 1500), ("b", 0, 1000), ("b", 1000, 1500),
        ]  # fmt: skip


async def test_places_come_back_where_the_provider_is_away(autojump_clock: MockClock) -> None:
    """Who cannot be transcribed gives its place up after its patience, not sooner; who waits then begins."""
    provider = EchoProvider()
    provider.refuse = True
    async with run_worker(settings(max_calls=1, max_unfinalized_s=30), provider=provider) as on:
        stuck, waits = on.producer(1), on.producer(2)
        stuck.speak(1)
        stuck.end()
        await trio.sleep(1)
        waits.speak(1.0)
        await trio.sleep(40)
        provider.refuse = False
        await trio.sleep(15)
        waits.end()
        await trio.sleep(1)
        await on.over(waits)
        assert complete(on, waits)


async def test_a_thousand_that_wait_are_all_served(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    calls = [Producer(store, f"call-{i}", i) for i in range(60)]
    for call in calls:
        call.speak(0.5)
        call.end()
    async with run_worker(settings(max_calls=3), store=store) as on:
        await until(lambda: all(on.finals(call) for call in calls))
        await trio.sleep(5)
        assert all(complete(on, call) for call in calls)
        assert on.calls.interactions == {}
        assert not on.calls.waiting

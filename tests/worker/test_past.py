"""What comes of a call that is over: repeats begin nothing, halves of samples meet. On the autojump clock."""

from __future__ import annotations

import itertools

import pytest
import trio
from tests.worker.test_catchup import TenantsProducer, burst, check_tenants
from tests.worker.test_dispatcher import complete
from tests.worker_harness import AUDIO, EchoProvider, Producer, WorkerHarness, run_worker, settings
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.core import past as past_module
from trio_asr.core.past import PastCalls
from trio_asr.simulator.stamps import stamp
from trio_asr.wire import ids
from trio_asr.wire.frames import Frame
from trio_asr.wire.resume_point import ResumePoint


def frames(*numbers: int) -> list[Frame]:
    found = []
    for number in numbers:
        one = Frame("call", b"pcm", 8000, number, 0, "tenant")
        one.entry, one.digest = f"{number}-0", number
        found.append(one)
    return found


# -- the memory ----------------------------------------------------------------------------------------------


def test_what_was_dealt_with_is_no_news() -> None:
    past = PastCalls()
    assert past.has_news("call", frames(1)), "nothing is known of it"
    past.learn("call", ids.key("5-0"), frames(1, 2, 5, 7), ResumePoint())
    assert not past.has_news("call", frames(3, 5))
    assert past.has_news("call", frames(5, 6))
    assert past.has_news("other", frames(5))


def test_repeats_after_the_end_are_no_news_and_move_it() -> None:
    past = PastCalls()
    past.learn("call", ids.key("5-0"), frames(1, 2, 3, 4), ResumePoint())
    again = frames(2, 4)
    for i, one in enumerate(again):
        one.entry = f"{8 + i}-0"
    assert not past.has_news("call", again)
    new = frames(2)
    new[0].entry, new[0].digest = "10-0", 99 << 40
    assert past.has_news("call", new), "the same seq, and other audio"
    kept = past.recall("call")
    assert kept is not None
    assert kept.until == ids.key("9-0")
    assert past.recall("call") is None


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_module, "MAX_PAST", 5)
    monkeypatch.setattr(past_module, "MAX_TAUGHT", 2)
    past = PastCalls()
    for i in range(9):
        past.learn(f"call-{i}", ids.key("5-0"), frames(1), ResumePoint())
    assert [i for i in range(9) if past.has_news(f"call-{i}", frames(4)) is False] == [4, 5, 6, 7, 8]
    late = frames(1)
    late[0].entry = "9-0"
    assert [i for i in range(4, 9) if not past.has_news(f"call-{i}", late)] == [7, 8]


def test_a_stream_that_begins_again() -> None:
    past = PastCalls()
    past.learn("call", ids.key("9-0"), [], ResumePoint())
    past.forget_above("5-0")
    assert not past.has_news("call", frames(5))
    assert past.has_news("call", frames(6))


# -- at work -------------------------------------------------------------------------------------------------


def own(store: MemoryStore, call: Producer) -> list[bytes]:
    """Return the frames of a call, as they were added."""
    return [message for message in store.messages(AUDIO) if call.id.encode() in message]


async def settle(on: WorkerHarness, call: Producer) -> None:
    call.end()
    await trio.sleep(1)
    await on.over(call)


@pytest.mark.parametrize("again", [1, 3, 20])
async def test_repeats_after_the_end_make_no_phantom(autojump_clock: MockClock, again: int) -> None:
    """In the same process, and after a restart: also where only the repeats are read again."""
    store = MemoryStore()
    other = Producer(store, "call-2", 2)
    async with run_worker(store=store) as on:
        call = on.producer(1)
        await call.talk(2)
        await settle(on, call)
        for message in own(store, call)[-again:]:
            store.add(AUDIO, message)
        await trio.sleep(3)
        assert on.happened(call) == ["started", "ended"]
        assert on.calls.interactions == {}
    for _ in range(2):
        async with run_worker(store=store) as on:
            await trio.sleep(3)
            for message in own(store, call)[-again:]:
                store.add(AUDIO, message)
            other.speak(0.02)  # else the repeat is the last entry
            await trio.sleep(65)
            assert on.happened(call) == ["started", "ended"]
            assert call.id not in on.calls.interactions


async def test_a_restart_whose_last_entry_is_a_repeat(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with run_worker(store=store) as on:
        call = on.producer(1)
        await call.talk(2)
        store.add(AUDIO, store.messages(AUDIO)[-1])
        await settle(on, call)
    for _ in range(3):
        async with run_worker(store=store) as on:
            await trio.sleep(70)
            assert on.happened(call) == ["started", "ended"]
            assert not on.provider.links


HALVES = (577, 577, 577, 8001, 577)


def publish(call: Producer, pcm: bytes, sizes: tuple[int, ...], at: int = 0) -> int:
    for size in sizes:
        call.publish(pcm[at : at + size])
        at += size
    return at


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("idle", [False, True])
async def test_an_end_in_mid_sample_and_a_series_that_goes_on(
    autojump_clock: MockClock, restart: bool, late: bool, idle: bool
) -> None:
    """The other half comes first in what follows, also across a restart of the process."""
    store, provider = MemoryStore(), EchoProvider()
    call = Producer(store, "call-1", 1)
    pcm = stamp(1, 0, 20_000)
    config = settings(idle_timeout_ms=2000)
    async with run_worker(config, store=store, provider=provider) as on:
        at = publish(call, pcm, HALVES)
        assert at % 2
        if not idle:
            call.end()
        if late:
            await trio.sleep(0.45)
            publish(call, pcm, (16_001,), at)
            at += 16_001
        await trio.sleep(4)
        assert on.calls.interactions == {}
        if not restart:
            publish(call, pcm[:40_000], (40_000 - at,), at)
            call.samples = 20_000
            await settle(on, call)
            assert complete(on, call)
    if restart:
        async with run_worker(config, store=store) as on:
            await trio.sleep(0.5)
            publish(call, pcm[:40_000], (40_000 - at,), at)
            call.samples = 20_000
            await settle(on, call)
            assert complete(on, call)


@pytest.mark.parametrize("restart", [False, True])
async def test_an_end_in_mid_sample_and_a_series_that_begins_anew(
    autojump_clock: MockClock, restart: bool
) -> None:
    """The half is completed; every sample after it is what it was."""
    store = MemoryStore()
    first, second = Producer(store, "same", 1), Producer(store, "same", 2)
    pcm = stamp(1, 0, 8000)
    async with run_worker(store=store) as on:
        first.publish(pcm[:7001])
        await settle(on, first)
        if not restart:
            burst(second, 1.5)
            await settle(on, second)
    if restart:
        async with run_worker(store=store) as on:
            burst(second, 1.5)
            await settle(on, second)
    words = " ".join(final["text"] for final in on.finals(second)).split()
    own = [word.removeprefix("c2:").split("-") for word in words if word.startswith("c2:")]
    assert own[0][0] == "0"
    assert own[-1][1] == "12000"
    assert all(one[1] == other[0] for one, other in itertools.pairwise(own))


async def test_another_tenant_after_an_end_in_mid_sample(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        first, second = (TenantsProducer(on.store, "same", i, name) for i, name in ((1, "a"), (2, "b")))
        first.publish(stamp(1, 0, 8000)[:8001])
        first.samples = 4000
        await settle(on, first)
        burst(second, 1.5)
        await settle(on, second)
        check_tenants(on, [first, second])


async def test_another_tenant_across_a_restart(autojump_clock: MockClock) -> None:
    """Killed at any moment of the change; each stretch is told once, under its tenant."""
    for instant in (0.0, 0.01, 0.02, 0.1, 0.3, 0.6, 1.0, 2.0):
        store = MemoryStore()
        parts = [TenantsProducer(store, "same", i, name) for i, name in ((1, "a"), (2, "b"), (3, "a"))]
        async with run_worker(store=store) as on:
            burst(parts[0], 1.5)
            await trio.sleep(1)
            burst(parts[1], 1.5)
            burst(parts[2], 1.5)
            await trio.sleep(instant)
        async with run_worker(store=store) as on:
            await trio.sleep(1)
            parts[2].end()
            await trio.sleep(10)
            check_tenants(on, parts)

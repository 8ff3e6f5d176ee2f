"""Who is behind is behind alone: audio fed at once, restarts, another tenant. On the autojump clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.call_harness import whole
from tests.examples import examples
from tests.worker.test_dispatcher import complete, fail_once
from tests.worker_harness import (
    AUDIO,
    EchoLink,
    EchoProvider,
    Producer,
    RoughBus,
    WorkerHarness,
    read,
    run_worker,
    settings,
)
from trio.testing import MockClock

from trio_asr.bus import memory
from trio_asr.bus.base import Page
from trio_asr.bus.memory import EPOCH_MS, MemoryStore
from trio_asr.wire import ids
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Stored, decode_reader

FRAME_S = 0.1
BURST_S = 150


async def until(condition: Callable[[], bool], within_s: float = 600) -> None:
    """Wait until something is so."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 (the clock jumps)
            await trio.sleep(0.05)


def burst(call: Producer, seconds: float, frame_s: float = FRAME_S) -> None:
    """Add audio all at once."""
    for _ in range(round(seconds / frame_s)):
        call.speak(frame_s)


def told(store: MemoryStore, call: Producer) -> list[tuple[int, dict[str, Any]]]:
    """Return when each final of a call came, in ms of the clock, and what it says of itself."""
    stream = f"transcript.{call.id}"
    came = [ids.milliseconds(raw.decode()) - EPOCH_MS for raw, _ in store.streams.get(stream, [])]
    told = zip(came, read(store, stream), strict=True)
    return [
        (at, {name: said[name] for name in ("type", "text", "start_ms", "end_ms", "seq")})
        for at, said in told
    ]


async def live_beside(big_s: float) -> tuple[list[list[tuple[int, dict[str, Any]]]], list[float], int]:
    """Let two calls speak from the start and one from second 4 on; another gets all its audio in second 3.

    Return what was told of the three, when they were connected, and the most bytes that the fourth held.
    """
    provider, dialled = EchoProvider(), list[float]()

    def inspect(link: EchoLink, pcm: bytes) -> None:
        if link.audio_bytes == len(pcm) and link._ears[0]._reader.runs[0].call != 9:
            dialled.append(trio.current_time())

    provider.inspect = inspect
    async with run_worker(provider=provider) as on:
        calls, big = [on.producer(i) for i in (1, 2, 3)], on.producer(9)
        most = 0
        async with trio.open_nursery() as nursery:
            for call in calls[:2]:
                nursery.start_soon(call.talk, 20)
            await trio.sleep(3.01)
            burst(big, big_s)
            await trio.sleep(0.99)
            nursery.start_soon(calls[2].talk, 16)
            for _ in range(160):
                await trio.sleep(0.1)
                most = max(most, on.calls.interactions[big.id].size if big.id in on.calls.interactions else 0)
            if big_s > 1:
                assert on.counted("asr_calls_behind") == 1
        for call in calls:
            call.end()
        await on.over(*calls)
        assert all(complete(on, call) for call in calls)
        return [told(on.store, call) for call in calls], dialled, most


def test_live_and_new_calls_notice_nothing_of_one_that_is_fed_at_once() -> None:
    """Everything that is told of them comes at the very moment at which it came without it."""

    def alone(big_s: float) -> tuple[list[list[tuple[int, dict[str, Any]]]], list[float], int]:
        return trio.run(live_beside, big_s, clock=MockClock(autojump_threshold=0))

    beside, dialled, held = alone(BURST_S)
    expected, expected_dialled, _ = alone(0.1)
    assert beside == expected
    assert dialled == expected_dialled
    assert 0 < held <= 60 * 2 * 8000 + 2 * 800, "half of what a call may hold, and a frame"


async def test_all_of_it_is_transcribed_once_and_lag_says_so_meanwhile(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: EPOCH_MS / 1000 + trio.current_time())
    async with run_worker() as on:
        big, live = on.producer(9), on.producer(1)
        began = trio.current_time()
        burst(big, BURST_S)
        big.end()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.talk, 20)
            await trio.sleep(20)
        assert on.counted("asr_calls_behind") == 1
        assert on.counted("asr_reader_lag_seconds") == pytest.approx(20, abs=1.5)
        live.end()
        await on.over(big, live)
        # At 1.25 times real time, after what the pacer lets through at first.
        assert BURST_S / 1.25 - 5 < trio.current_time() - began < BURST_S / 1.25 + 10
        assert complete(on, big)
        assert complete(on, live)
        assert on.happened(big) == ["started", "ended"]
        await trio.sleep(1.1)
        assert on.counted("asr_calls_behind") == on.counted("asr_reader_lag_seconds") == 0


async def test_a_call_that_restarts_does_not_take_others_back(autojump_clock: MockClock) -> None:
    """The front goes on: nothing of the others is asked for again."""
    provider = EchoProvider()
    async with run_worker(provider=provider) as on:
        call, other = on.producer(1), on.producer(2)
        fail_once(provider, 1, after=40_000)
        positions: list[EntryId] = []
        ask = on.bus.read

        async def noted(audio_after: EntryId, ends_after: EntryId) -> Any:
            positions.append(audio_after)
            return await ask(audio_after, ends_after)

        on.bus.read = noted  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 10)
            nursery.start_soon(other.talk, 10)
        await on.finish(call, other)
        assert len(provider.links) == 3
        keys = [ids.key(position) for position in positions]
        assert keys == sorted(keys)
        assert complete(on, call)
        assert complete(on, other)
        gaps = [b - a for (a, _), (b, _) in itertools.pairwise(told(on.store, other))]
        assert max(gaps) <= 1300, "a segment and a chunk"


class PagedBus(RoughBus):
    """Notes which pages were read again; a page may take its time."""

    page_s = 0.0

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.pages: list[EntryId] = []

    async def read_again(self, after: EntryId) -> Page:
        self.pages.append(after)
        await trio.sleep(self.page_s)
        return await super().read_again(after)


@pytest.mark.soak
async def test_who_is_a_little_behind_does_not_wait_for_who_is_far_behind(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both may take more at the same time; the stream between them takes 30 s to go through."""
    monkeypatch.setattr(memory, "READ_COUNT", 20)
    store = MemoryStore()
    bus = PagedBus(store)
    bus.page_s = 0.1
    far, near = Producer(store, "call-1", 1), Producer(store, "call-2", 2)
    between = [Producer(store, f"call-{i}", i) for i in range(3, 43)]
    burst(far, 100)
    for call in between:
        burst(call, 14)
        call.end()
    burst(near, 16)  # a second more than it may hold
    async with run_worker(settings(max_unfinalized_s=30), store=store, bus=bus) as on:
        await trio.sleep(0.5)
        assert on.calls.interactions[far.id].behind
        assert on.calls.interactions[near.id].behind
        await until(lambda: not on.calls.interactions[near.id].behind)
        assert trio.current_time() < 10, "half of what it holds is gone after 6 s"
        assert on.calls.interactions[far.id].behind
        bus.page_s = 0.0
        for call in (far, near):
            call.end()
        await on.over(far, near)
        assert complete(on, far)
        assert complete(on, near)


@pytest.mark.parametrize("tenants", ["ab", "aab", "abab"])
async def test_an_id_that_another_tenant_uses(autojump_clock: MockClock, tenants: str) -> None:
    """In mid-call: each stretch is a call of its own, times from 0, of its tenant; `seq` goes on."""
    async with run_worker() as on:
        stretches = [(name, len(list(group))) for name, group in itertools.groupby(tenants)]
        parts = []
        for number, (name, count) in enumerate(stretches, 1):
            part = TenantsProducer(on.store, "same", number, name)
            burst(part, 1.5 * count)
            parts.append(part)
        parts[-1].end()
        await on.over(parts[-1])
        check_tenants(on, parts)
        assert len(on.provider.links) == len(stretches)


class TenantsProducer(Producer):
    """Of another tenant than the usual one."""

    def __init__(self, store: MemoryStore, interaction_id: str, number: int, tenant: str) -> None:
        super().__init__(store, interaction_id, number)
        self.tenant = tenant

    def _wrap(self, pcm: bytes, rate: int) -> bytes:
        return (
            super()._wrap(pcm, rate).replace(b'"tenant_id":"tenant"', f'"tenant_id":"{self.tenant}"'.encode())
        )


def check_tenants(on: WorkerHarness, parts: list[TenantsProducer]) -> None:
    finals = on.finals(parts[0])
    assert [final["seq"] for final in finals] == list(range(1, len(finals) + 1))
    for part in parts:
        own = [final for final in finals if f"c{part.number}:" in final["text"]]
        assert {final["tenant_id"] for final in own} == {part.tenant}
        assert own[0]["start_ms"] == 0
        assert own[-1]["end_ms"] == part.samples // 8
        assert whole(own, part.samples, part.number)
    ended = [event["tenant_id"] for event in on.events(parts[0]) if event["event"] == "ended"]
    assert ended == [part.tenant for part in parts]


async def test_an_id_that_another_tenant_uses_after_the_end(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        first, second = (TenantsProducer(on.store, "same", i, name) for i, name in ((1, "a"), (2, "b")))
        burst(first, 1.5)
        await on.finish(first)
        await trio.sleep(1)
        burst(second, 2.5)
        await on.finish(second)
        check_tenants(on, [first, second])
        assert on.happened(first) == ["started", "ended", "started", "ended"]


async def test_a_tenant_that_is_not_named_is_the_one_before(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        call = TenantsProducer(on.store, "same", 1, "")
        burst(call, 0.7)
        call.tenant = "a"
        burst(call, 0.7)
        call.tenant = ""
        burst(call, 0.7)
        await on.finish(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        assert {final["tenant_id"] for final in on.finals(call)} <= {"a", ""}
        assert on.events(call)[-1]["tenant_id"] in ("", "a")


async def test_two_tenants_that_use_one_id_at_once_cost_no_other(autojump_clock: MockClock) -> None:
    """Frame by frame: each is a call of its own; another call beside them is as it would be."""
    async with run_worker() as on:
        other = on.producer(5)
        a, b = (TenantsProducer(on.store, "same", i, name) for i, name in ((1, "a"), (2, "b")))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.talk, 20)
            nursery.start_soon(a.talk, 5)
            nursery.start_soon(b.talk, 5)
        await on.finish(other)
        assert complete(on, other)
        assert max(b - a for (a, _), (b, _) in itertools.pairwise(told(on.store, other))) <= 1300
        await trio.sleep(300)
        finals = on.finals(a)
        assert whole([f for f in finals if "c1:" in f["text"]], a.samples, 1)
        assert whole([f for f in finals if "c2:" in f["text"]], b.samples, 2)


# -- kills ---------------------------------------------------------------------------------------------------


async def killed(instants: list[float], behind: set[int], lates: set[int]) -> None:
    """Kill a worker at many instants, with calls behind, restarting, closing with late frames, waiting."""
    store = MemoryStore()
    calls = [Producer(store, f"call-{i}", i) for i in (1, 2, 3)]
    config = settings(max_unfinalized_s=10, max_calls=2)
    for call in calls:
        if call.number in behind:
            burst(call, 20)
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call.talk, 6)
        for instant in instants:
            provider = EchoProvider()
            async with run_worker(config, store=store, provider=provider) as on:
                await trio.sleep(instant / 2)
                for number in lates:
                    if calls[number - 1].samples:
                        calls[number - 1].end()
                on.calls.restart("call-2", "so the test says")
                await trio.sleep(instant / 2)
    async with run_worker(config, store=store) as on:
        for call in calls:
            call.speak(0.1)
            call.end()
        await trio.sleep(0.1)
        await until(lambda: all(ended(on, call) for call in calls))
        await trio.sleep(5)
        for call in calls:
            assert complete(on, call), (call.id, on.finals(call), on.events(call))
            assert not [event for event in on.events(call) if event["event"] == "gap"]


def ended(on: WorkerHarness, call: Producer) -> bool:
    """Say whether all of a call was heard and it is over."""
    finals = on.finals(call)
    return call.id not in on.calls.interactions and bool(finals) and finals[-1]["end_ms"] == call.samples // 8


@hypothesis_settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([0.0, 0.01, 0.13, 0.5, 0.77, 1.1, 1.9, 3.3, 7.0]), min_size=1, max_size=8),
    st.sets(st.sampled_from([1, 2, 3])),
    st.sets(st.sampled_from([1, 2, 3])),
)
def test_kills_while_calls_are_behind(instants: list[float], behind: set[int], lates: set[int]) -> None:
    """Nothing is lost and nothing said twice, whenever it happens and whoever is behind."""
    trio.run(killed, instants, behind, lates, clock=MockClock(autojump_threshold=0))


def floor(store: MemoryStore) -> EntryId:
    return decode_reader(store.states.get("", Stored()).state).audio_floor


async def test_the_floor_waits_for_who_is_behind(autojump_clock: MockClock) -> None:
    async with run_worker(settings(max_unfinalized_s=10)) as on:
        big, live = on.producer(9), on.producer(1)
        burst(big, 60)
        last = on.store.streams[AUDIO][-1][0].decode()
        await live.talk(10)
        assert ids.key(floor(on.store)) < ids.key(last)
        await on.finish(big, live)
        await trio.sleep(1.1)
        assert floor(on.store) == on.store.streams[AUDIO][-1][0].decode()

"""Starts from whatever Redis has: each broken state costs its call alone. On the autojump clock."""

from __future__ import annotations

import msgspec
import pytest
import trio
from tests.worker.test_dispatcher import complete
from tests.worker_harness import Producer, WorkerHarness, run_worker
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.wire.ids import ORIGIN
from trio_asr.wire.records import Stored
from trio_asr.worker.restoring import open_reader_outbox

BROKEN = {
    "cut": Stored(4, b'{"place":{"final'),
    "another shape": Stored(4, b"[1]"),
    "entry": Stored(4, b'{"place":{"entry":"x"}}'),
    "at": Stored(4, b'{"place":{"finalized":100,"entry":"1-1","at":5,"rate":8000}}'),
    "type": Stored(fault="the key is a list"),
    "rev": Stored(fault="rev is no number"),
}


async def speak_all(on: WorkerHarness, calls: list[Producer]) -> None:
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call.talk, 3)


def is_tail(on: WorkerHarness, call: Producer, samples: int) -> bool:
    """Say whether the last so many samples of a call are told, each once."""
    words = " ".join(final["text"] for final in on.finals(call)).split()
    spans = [tuple(map(int, word.partition(":")[2].split("-"))) for word in words]
    told = [span for span in spans if span[0] >= call.samples - samples]
    return sum(last - first for first, last in told) >= samples


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_checkpoint_that_cannot_be_read(autojump_clock: MockClock, kind: str) -> None:
    """At a start: the call is set aside, said, and begins afresh; the others go on where they were."""
    store = MemoryStore()
    calls = [Producer(store, f"call-{i}", i) for i in (1, 2, 3)]
    async with run_worker(store=store):
        await speak_all(WorkerHarness.__new__(WorkerHarness), calls)
    store.states["call-2"] = BROKEN[kind]
    async with run_worker(store=store) as on:
        await speak_all(on, calls)
        for call in calls:
            call.end()
        await trio.sleep(1)
        await on.over(*calls)
        assert complete(on, calls[0])
        assert complete(on, calls[2])
        assert is_tail(on, calls[1], 24_000)
        assert on.counted("asr_broken_states_total", kind="call") == 1
        said = [event for event in on.events(calls[1]) if event["event"] == "checkpoint_broken"]
        assert len(said) == 1
        assert store.aside["call-2"] == BROKEN[kind]
        seqs = [final["seq"] for final in on.finals(calls[1])]
        assert len(seqs) == len(set(seqs)), "the stream's seq goes on"
        assert on.happened(calls[1])[-1] == "ended"


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_checkpoint_that_breaks_in_mid_call(autojump_clock: MockClock, kind: str) -> None:
    """The next commit does not fit to it: the call restarts, nothing is lost, no other notices."""
    async with run_worker() as on:
        calls = [on.producer(i) for i in (1, 2)]
        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(call.talk, 8)
            await trio.sleep(3.3)
            on.store.states["call-2"] = BROKEN[kind]._replace(rev=BROKEN[kind].rev or 99)
        for call in calls:
            call.end()
        await trio.sleep(1)
        await on.over(*calls)
        assert complete(on, calls[0])
        assert len(on.provider.links) == 3
        assert is_tail(on, calls[1], 24_000)
        assert on.happened(calls[1])[-1] == "ended"


async def test_names_among_the_live_ones_that_are_no_calls(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    call = Producer(store, "call-1", 1)
    async with run_worker(store=store):
        await call.talk(2)
    store.live |= {"nobody", "{x}", "", "x" * 300}
    async with run_worker(store=store) as on:
        await trio.sleep(1)
        assert store.live == {call.id}
        assert on.counted("asr_broken_states_total", kind="live") == 1
        await on.finish(call)
        assert complete(on, call)


@pytest.mark.parametrize("kind", ["cut", "another shape", "type"])
async def test_a_reader_that_cannot_be_read(autojump_clock: MockClock, kind: str) -> None:
    """Reading begins at the lowest place that a live call names."""
    store = MemoryStore()
    call = Producer(store, "call-1", 1)
    async with run_worker(store=store):
        await call.talk(3)
    async with run_worker(store=store) as on:
        services = on.calls._services
        store.states[""] = BROKEN[kind] if kind != "cut" else Stored(4, b'{"audio_floor":"')
        reader_outbox = await open_reader_outbox(on.bus, services)
        assert reader_outbox.broken
        assert "" in store.aside
        assert reader_outbox.start() == (ORIGIN, ORIGIN)


async def test_a_state_of_a_call_that_was_over_is_believed(autojump_clock: MockClock) -> None:
    """A member of the live ones whose call is over goes when the call goes on and ends."""
    store = MemoryStore()
    call = Producer(store, "call-1", 1)
    async with run_worker(store=store) as on:
        await call.talk(2)
        await on.finish(call)
    assert msgspec.json.decode(store.states[call.id].state)["ended"]
    store.live.add(call.id)
    async with run_worker(store=store) as on:
        await trio.sleep(65)
        assert on.happened(call) == ["started", "ended"]
        assert not on.provider.links
        assert on.calls.interactions == {}
        assert complete(on, call)

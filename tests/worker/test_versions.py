"""Versions beside each other: what the first one must be able to read, and what this one cannot.

Wherever state of a later version is met, its call is left as it is and the work is given up. On the autojump
clock; what the process then says and does is in `tests/e2e/test_versions.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
from tests.test_daemon import LEASE_S, FreezableBus, config, takes_over
from tests.test_daemon import Worker as Running
from tests.worker_harness import EchoProvider, Producer, WorkerHarness, run_worker
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.config import Config, InteractionConfig
from trio_asr.daemon import Daemon
from trio_asr.telemetry.groups import leaves
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier
from trio_asr.wire.records import VERSION, NewerState, Stored

NEWER = VERSION + 1
SAID = f"call 'call-1': state of version {NEWER}; this program knows versions up to {VERSION}"


def newer(stored: Stored, *, revisions: int = 0) -> Stored:
    """Return what a later version would have stored, so many commits later."""
    state = msgspec.json.decode(stored.state) | {"version": NEWER, "place": "in a way of its own"}
    return Stored(stored.rev + revisions, msgspec.json.encode(state))


async def test_a_call_of_plain_audio_is_stored_as_the_first_version_did(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        await on.producer(1).talk(2.3)
        assert on.store.states["call-1"].state == (
            b'{"place":{"finalized":16000,"entry":"1700000002000-0","offset":0,"at":32000,"rate":8000,'
            b'"rate_from":0,"rate_us":0},"seq":2,"connection":1,"tenant_id":"tenant","trace_id":null,"ended":""}'
        )


# -- state of a later version --------------------------------------------------------------------------------


@asynccontextmanager
async def ends(store: MemoryStore, settings: Config | None = None) -> AsyncIterator[Running]:
    """Run a daemon that must end within the block with the error about `call-1`, and hold no lease then."""
    bus, provider = FreezableBus(store), EchoProvider()
    daemon = Daemon(settings or config(), bus, provider, Metrics(), Notifier({}))
    running = Running(daemon=daemon, bus=bus, provider=provider)
    errors: list[BaseException] = []

    async def run() -> None:
        try:
            await running.run()
        except* NewerState as group:
            errors.extend(leaves(group))
            running.done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)  # noqa: ASYNC113 (tests wait for what it does)
        yield running
        with trio.fail_after(60):
            await running.done.wait()
    assert [str(error) for error in errors] == [SAID]
    assert store.lease is None
    assert not any(not link.closed for link in provider.links)


async def made_live(store: MemoryStore, numbers: Sequence[int] = (1,)) -> list[Producer]:
    """Bring calls into progress, on a worker that is gone then."""
    calls = [Producer(store, f"call-{number}", number) for number in numbers]
    async with run_worker(store=store):
        for call in calls:
            await call.talk(2.3)
    store.lease = None
    return calls


def all_of(store: MemoryStore) -> object:
    """Return everything that a worker may write, but for the lease."""
    return {name: list(kept) for name, kept in store.streams.items()}, dict(store.states), set(store.live)


async def test_a_start_writes_nothing(autojump_clock: MockClock) -> None:
    """Also to the calls that it could read, and to those that it would set aside."""
    store = MemoryStore()
    await made_live(store, (1, 2, 3))
    store.states["call-1"] = newer(store.states["call-1"])
    store.states["call-0"] = Stored(4, b"{")
    store.live.add("call-0")
    before = all_of(store)
    async with ends(store):
        pass
    assert all_of(store) == before
    assert store.aside == {}


async def test_a_standby_that_takes_over(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with run_worker(store=store) as on:
        call = on.producer(1)
        await call.talk(2.3)
        store.lease = store.lease and (store.lease[0], trio.current_time() + LEASE_S)
        async with ends(store) as standby:
            await trio.sleep(1)
            assert standby.daemon.role == "standby"
            await on.lease.release()
            on.bus.away = True
            store.states[call.id] = newer(store.states[call.id])
            before = all_of(store)
    assert all_of(store) == before


async def test_a_call_that_begins_again(autojump_clock: MockClock) -> None:
    """Its first frame asks for its state; that of another call is written up to then."""
    store = MemoryStore()
    call, _ = await made_live(store, (1, 2))
    store.states[call.id] = there = newer(store.states[call.id])
    store.live.remove(call.id)
    said = len(store.streams["transcript.call-1"])
    async with ends(store) as worker:
        await takes_over(worker)
        await trio.sleep(1)
        call.speak(0.5)
    assert store.states[call.id] == there
    assert len(store.streams["transcript.call-1"]) == said


async def test_a_call_that_waits_to_be_admitted(autojump_clock: MockClock) -> None:
    """Its state was none, or an earlier one, when it began to wait."""
    store = MemoryStore()
    call, other = Producer(store, "call-1", 1), Producer(store, "call-2", 2)
    settings = msgspec.structs.replace(config(), interaction=InteractionConfig(max_calls=1))
    async with ends(store, settings) as worker:
        await takes_over(worker)
        other.speak(0.5)
        await trio.sleep(0.5)
        call.speak(0.5)
        await trio.sleep(0.5)
        store.states[call.id] = there = newer(Stored(3, b"{}"))
        other.end()
    assert store.states[call.id] == there
    assert "transcript.call-1" not in store.streams


@pytest.mark.parametrize("how", ["stale", "a bug", "a bug, at its end"])
async def test_a_call_that_restarts(autojump_clock: MockClock, how: str) -> None:
    """Whether somebody else's commit is why it does, or a bug is, now or while it ends."""
    store = MemoryStore()
    call = Producer(store, "call-1", 1)

    def broken(*_: object) -> None:
        raise RuntimeError("so the test says")

    async with ends(store) as worker:
        await takes_over(worker)
        await call.talk(1.5)
        if how == "a bug, at its end":
            call.end()
            await trio.sleep(0.5)
        store.states[call.id] = there = newer(store.states[call.id], revisions=5)
        said = len(store.streams["transcript.call-1"])
        if how == "stale":
            await call.talk(1.5)
        elif how == "a bug":
            worker.provider.inspect = broken
            await call.talk(0.5)
        else:
            worker.daemon.office.tenures[None].calls.restart(call.id, "so the test says")
    assert store.states[call.id] == there
    assert len(store.streams["transcript.call-1"]) == said


async def test_a_later_worker_goes_on_where_it_was(autojump_clock: MockClock) -> None:
    """What this one left as it was is all that the other needs."""
    store = MemoryStore()
    (call,) = await made_live(store)
    known = store.states[call.id]
    store.states[call.id] = newer(known)
    async with ends(store):
        call.speak(0.5)
    store.states[call.id] = known  # and so, to the later version, it is readable
    async with run_worker(store=store) as on:
        await on.finish(call)
        assert covered(on, call) == call.samples


def covered(on: WorkerHarness, call: Producer) -> int:
    finals = on.finals(call)
    assert [final["seq"] for final in finals] == list(range(1, len(finals) + 1))
    return 8 * sum(int(final["end_ms"]) - int(final["start_ms"]) for final in finals)

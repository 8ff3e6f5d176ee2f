"""Workers as they start, stop, and take over from each other: the whole daemon, on the autojump clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

import msgspec
import pytest
import trio
from tests.whole_daemon import DaemonHarness, complete
from tests.worker_harness import EchoProvider, Producer, RoughBus, read
from trio.testing import MockClock

from trio_asr.bus import connection
from trio_asr.bus.base import Answer, BusFault, BusUnavailable, Tenure
from trio_asr.bus.memory import MemoryStore
from trio_asr.bus.redis import RedisBus
from trio_asr.config import Config, FleetConfig, FlushConfig, HttpConfig
from trio_asr.config.sections import RedisConfig, ShutdownConfig
from trio_asr.daemon import Daemon
from trio_asr.deepgram.mock import MockProvider
from trio_asr.lab.rig.valkey import EmbeddedValkey
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier
from trio_asr.wire.records import Commit, Stored, decode_checkpoint

LEASE_S = 5.0


def config(grace_ms: int = 3_000, url: str = "redis://127.0.0.1:1") -> Config:
    return Config(
        http=HttpConfig(port=0),
        redis=RedisConfig(lease_ms=round(LEASE_S * 1000), url=url),
        shutdown=ShutdownConfig(grace_ms=grace_ms),
    )


class FreezableBus(RoughBus):
    """Requests of a worker that is frozen do not leave it until it wakes."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.awake = trio.Event()
        self.awake.set()
        self.loads_hang = False
        self.read_only = False
        self.absurd = False  # what is said about the lease makes no sense

    async def _arrive(self) -> None:
        await self.awake.wait()
        await super()._arrive()

    async def acquire(self, ttl_ms: int, *, patient: bool = False) -> Tenure:
        self._check()
        return await super().acquire(ttl_ms, patient=patient)

    def _check(self) -> None:
        if self.absurd:
            raise BusFault("so the test says") from ValueError("an answer to another question")

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        if self.loads_hang:
            await trio.sleep_forever()
        return await super().load(owners)

    async def renew(self, ttl_ms: int) -> Tenure:
        self._check()
        self._write()
        return await super().renew(ttl_ms)

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        self._write()
        return await super().commit(commits)

    def _write(self) -> None:
        if self.read_only:
            raise BusUnavailable("read only")


@dataclass(kw_only=True)
class Worker(DaemonHarness):
    bus: FreezableBus


class WorkerGroup:
    """One server and its workers."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.store = MemoryStore()
        self._nursery = nursery

    def worker(self, settings: Config | None = None) -> Worker:
        bus, provider = FreezableBus(self.store), EchoProvider()
        daemon = Daemon(settings or config(), bus, provider, Metrics(), Notifier({}))
        worker = Worker(daemon=daemon, bus=bus, provider=provider)
        self._nursery.start_soon(worker.run)
        return worker

    def complete(self, producer: Producer) -> bool:
        """Say whether every sample of a call is in exactly one final, and each `seq` was used once."""
        return complete(read(self.store, f"transcript.{producer.id}"), producer)

    def lose_all(self) -> None:
        """The server starts anew, empty."""
        store = self.store
        store.streams.clear()
        store.states.clear()
        store.live.clear()
        store.lease = store.fence = None

    def place(self, producer: Producer) -> int:
        """Return how far a call is committed."""
        return decode_checkpoint(self.store.states.get(producer.id, Stored()).state).place.finalized


@asynccontextmanager
async def worker_group() -> AsyncIterator[WorkerGroup]:
    async with trio.open_nursery() as nursery:
        yield WorkerGroup(nursery)
        nursery.cancel_scope.cancel()


async def takes_over(worker: Worker) -> float:
    """Wait until a worker is active; return for how long."""
    began = trio.current_time()
    with trio.fail_after(60):
        while worker.daemon.role != "active":  # noqa: ASYNC110 (the clock jumps)
            await trio.sleep(0.01)
    return trio.current_time() - began


# -- standby -------------------------------------------------------------------------------------------------


async def test_one_is_active_and_the_other_stands_by(autojump_clock: MockClock) -> None:
    async with worker_group() as here:
        first = here.worker()
        await takes_over(first)
        second = here.worker()
        await trio.sleep(30)
        assert (first.daemon.role, second.daemon.role) == ("active", "standby")
        assert (first.reasons(), second.reasons()) == ([], ["role is standby"])
        assert second.daemon.problems(30) == {}, "waiting for its turn is no problem"


async def test_the_limit_of_a_fleet_does_not_bind_a_single_worker(autojump_clock: MockClock) -> None:
    async with worker_group() as here:
        limited = msgspec.structs.replace(config(), fleet=FleetConfig(max_connections=10))
        worker = here.worker(limited)
        await takes_over(worker)
        call = Producer(here.store, "call-1", 1)
        await call.talk(5)
        assert worker.daemon.active_connections == 1


async def test_a_stopped_workers_calls_go_on_within_a_second(autojump_clock: MockClock) -> None:
    """It releases the lease last; its successor goes on in mid-call from what was committed."""
    async with worker_group() as here:
        first = here.worker()
        await takes_over(first)
        second = here.worker()
        call = Producer(here.store, "call-1", 1)
        await call.talk(2.5)
        first.daemon.stop()
        assert await takes_over(second) <= 1.0
        with trio.fail_after(1):
            await first.done.wait()
        assert all(link.closed for link in first.provider.links)
        await call.talk(1)
        call.end()
        await trio.sleep(5)
        assert here.complete(call)
        assert len(first.provider.links) == len(second.provider.links) == 1


async def test_a_call_that_cannot_reload_is_the_only_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker_group() as here:
        worker = here.worker()
        await takes_over(worker)
        calls = [Producer(here.store, f"call-{i}", i) for i in (1, 2)]
        for call in calls:
            await call.talk(0.5)
        first, second = (worker.daemon.interactions[call.id] for call in calls)

        def fail(_: Config) -> NoReturn:
            raise RuntimeError("a bug")

        heard: list[Config] = []
        monkeypatch.setattr(first, "reload", fail)
        monkeypatch.setattr(second, "reload", heard.append)
        loaded = msgspec.structs.replace(config(), flush=FlushConfig(min_chunk_ms=400))
        worker.daemon.reload(loaded)
        assert [one.flush.min_chunk_ms for one in heard] == [400]
        exposition = worker.daemon._metrics.exposition().decode()
        assert 'asr_internal_errors_total{place="reload"} 1.0' in exposition
        assert 'asr_config_reloads_total{result="success"} 1.0' in exposition


async def test_a_killed_workers_calls_go_on_when_its_lease_expired(autojump_clock: MockClock) -> None:
    """Within `lease_ms` and 2 s."""
    async with worker_group() as here:
        first = here.worker()
        await takes_over(first)
        second = here.worker()
        call = Producer(here.store, "call-1", 1)
        await call.talk(2.5)
        first.bus.away = True  # kill -9 releases nothing
        first.kill()
        assert LEASE_S - 2 <= await takes_over(second) <= LEASE_S + 2
        await call.talk(1)
        call.end()
        await trio.sleep(5)
        assert here.complete(call)


async def test_a_worker_that_was_frozen_publishes_nothing_more(autojump_clock: MockClock) -> None:
    """Another took over meanwhile: its commits are fenced out, it drops all calls and stands by."""
    async with worker_group() as here:
        first = here.worker()
        await takes_over(first)
        second = here.worker()
        call = Producer(here.store, "call-1", 1)
        await call.talk(1.5)
        first.bus.awake = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 10)
            await takes_over(second)
            await trio.sleep(1)
            sent = [link.audio_bytes for link in first.provider.links]
            first.bus.awake.set()
            await trio.sleep(1)
            assert first.daemon.role == "standby"
        assert [link.audio_bytes for link in first.provider.links] == sent, "it sends nothing more"
        assert all(link.closed for link in first.provider.links)
        assert first.daemon.active_buffers == first.daemon.active_connections == 0
        call.end()
        await trio.sleep(5)
        assert here.complete(call)
        assert second.daemon.role == "active"
        # And it can take over again.
        second.daemon.stop()
        assert await takes_over(first) <= 1.0


async def test_what_a_standby_exports_is_a_standbys(autojump_clock: MockClock) -> None:
    """Deepgram refused its key, which was mended elsewhere: it is no business of a standby's any more."""
    gauges = ("deepgram_breaker_open", "asr_calls", "asr_unfinalized_seconds", "asr_unfinalized_bytes")
    async with worker_group() as here:
        first = here.worker()
        first.provider.status = 401
        await takes_over(first)
        second = here.worker()
        call = Producer(here.store, "call-1", 1)
        await call.talk(1.5)
        assert all(first.value(name) > 0 for name in gauges)
        first.bus.awake = trio.Event()
        await takes_over(second)
        first.bus.awake.set()
        await trio.sleep(1)
        assert first.daemon.role == "standby"
        assert [
            first.value(name) for name in (*gauges, "deepgram_connections", "asr_reader_lag_seconds")
        ] == [0] * 6
        assert not first.daemon.refused
        assert second.value("asr_calls") == second.value("deepgram_connections") == 1


async def test_a_lease_that_nobody_wanted_costs_nothing(autojump_clock: MockClock) -> None:
    """Redis away for longer than the lease: the calls stay up and go on, on the same connections."""
    async with worker_group() as here:
        worker = here.worker()
        await takes_over(worker)
        call = Producer(here.store, "call-1", 1)
        await call.talk(1.5)
        worker.bus.away = True
        await call.talk(30)
        assert worker.daemon.active_connections == 1
        worker.bus.away = False
        await call.talk(1.5)
        call.end()
        await trio.sleep(150)  # 30 s behind, it catches up at 1.25 times real time
        assert here.complete(call)
        assert worker.daemon.role == "active"
        assert len(worker.provider.links) == 1


# -- Redis ---------------------------------------------------------------------------------------------------


async def test_the_lag_of_reading_grows_while_redis_is_away(autojump_clock: MockClock) -> None:
    """It does not stand where the last read left it: nobody knows what came since."""
    async with worker_group() as here:
        worker = here.worker()
        await takes_over(worker)
        await trio.sleep(5)
        assert worker.value("asr_reader_lag_seconds") == 0
        worker.bus.away = True
        await trio.sleep(60)
        assert 58 <= worker.value("asr_reader_lag_seconds") <= 61
        assert any(reason.endswith("s late") for reason in worker.reasons())
        worker.bus.away = False
        await trio.sleep(5)
        assert worker.value("asr_reader_lag_seconds") == 0


async def test_readiness_says_redis_while_it_is_away(autojump_clock: MockClock) -> None:
    """Requirements 10: from the first request that failed until one succeeds; before the start as well."""
    async with worker_group() as here:
        worker = here.worker()
        worker.bus.away = True
        await trio.sleep(3)
        assert [reason.split()[0] for reason in worker.reasons()] == ["role", "redis"]
        worker.bus.away = False
        await takes_over(worker)
        assert worker.reasons() == []
        await trio.sleep(10)
        worker.bus.away = True
        await trio.sleep(40)
        assert {"redis", "lease"} <= {reason.split()[0] for reason in worker.reasons()}
        ages = worker.daemon.problems(trio.current_time())
        assert 38 <= ages["redis"] <= 40
        worker.bus.away = False
        await trio.sleep(3)
        assert worker.reasons() == []


async def test_an_answer_about_the_lease_that_makes_no_sense_is_counted(autojump_clock: MockClock) -> None:
    """At the start and at a renewal: it is a bug, of ours or the server's, and not just a Redis away."""
    async with worker_group() as here:
        worker = here.worker()
        worker.bus.absurd = True
        await trio.sleep(3)
        assert [reason.split()[0] for reason in worker.reasons()] == ["role", "redis"]
        at_start = worker.value("asr_internal_errors_total", place="bus")
        assert at_start >= 1
        worker.bus.absurd = False
        await takes_over(worker)
        assert worker.reasons() == []
        assert worker.value("asr_internal_errors_total", place="bus") == at_start
        worker.bus.absurd = True
        await trio.sleep(LEASE_S / 2)
        assert [reason.split()[0] for reason in worker.reasons()] == ["lease"]
        assert worker.value("asr_internal_errors_total", place="bus") > at_start
        worker.bus.absurd = False
        await trio.sleep(LEASE_S / 2)
        assert worker.reasons() == []


async def test_a_redis_that_can_only_be_read(autojump_clock: MockClock) -> None:
    """One trouble for as long as it lasts, although every read succeeds."""
    async with worker_group() as here:
        worker = here.worker()
        await takes_over(worker)
        call = Producer(here.store, "call-1", 1)
        worker.bus.read_only = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 20)
            await trio.sleep(19)
            ages = worker.daemon.problems(trio.current_time())
            assert set(ages) == {"commits", "lease"}
            assert min(ages.values()) > 15
            worker.bus.read_only = False
        call.end()
        await trio.sleep(20)
        assert here.complete(call)
        assert worker.reasons() == []


async def test_a_redis_that_lost_its_data_gets_back_what_is_in_memory(autojump_clock: MockClock) -> None:
    """The fence and the checkpoints of all live calls, also of those that have nothing new to say.

    A kill right after it then loses nothing more, and no `seq` is used again.
    """
    async with worker_group() as here:
        first = here.worker()
        await takes_over(first)
        calls = [Producer(here.store, f"call-{i}", i) for i in (1, 2, 3)]
        for call in calls:
            call.speak(1.0)  # all of it finalized at once
        await trio.sleep(3)
        places = {call.id: here.place(call) for call in calls}
        assert set(places.values()) == {8000}
        states = {call.id: decode_checkpoint(here.store.states[call.id].state) for call in calls}
        here.lose_all()
        await trio.sleep(2)
        assert first.daemon.role == "active"
        assert here.store.live == set(places)
        assert {call.id: decode_checkpoint(here.store.states[call.id].state) for call in calls} == states
        first.bus.away = True
        first.kill()
        second = here.worker()
        await takes_over(second)
        for call in calls:
            call.speak(1.0)
            call.end()
        await trio.sleep(5)
        for call in calls:
            transcripts = read(here.store, f"transcript.{call.id}")
            assert [t["seq"] for t in transcripts] == [
                states[call.id].seq + 1 + i for i in range(len(transcripts))
            ]
            assert transcripts[-1]["end_ms"] == 2000
            assert transcripts[0]["text"].startswith(f"c{call.number}:8000-")


async def test_a_call_that_waits_to_restart_survives_the_loss(autojump_clock: MockClock) -> None:
    """Redis has nothing of it any more: it restarts from what is known to have been committed."""
    async with worker_group() as here:
        worker = here.worker()
        await takes_over(worker)
        call = Producer(here.store, "call-1", 1)
        call.speak(1.0)
        await trio.sleep(3)
        seq = decode_checkpoint(here.store.states[call.id].state).seq
        worker.daemon.office.tenures[None].calls.restart(call.id, "so the test says")
        here.lose_all()
        await trio.sleep(3)
        call.speak(1.0)
        call.end()
        await trio.sleep(5)
        (final,) = read(here.store, f"transcript.{call.id}")
        assert (final["seq"], final["start_ms"], final["end_ms"]) == (seq + 1, 1000, 2000)


async def test_commits_that_a_failover_has_lost_are_made_good(autojump_clock: MockClock) -> None:
    """From the audio, which is still there: also for calls that are over, or say nothing more."""
    async with worker_group() as here:
        worker = here.worker()
        await takes_over(worker)
        ends, pauses, talks = calls = [Producer(here.store, f"call-{i}", i) for i in (1, 2, 3)]
        for call in calls:
            await call.talk(2.0)
        store = here.store
        kept = dict(store.states), set(store.live), {name: len(all_) for name, all_ in store.streams.items()}
        places = {call.id: here.place(call) for call in calls}
        for call in calls:
            await call.talk(1.0)
        ends.end()
        await trio.sleep(8)  # longer ago than what a start reads for its repeats
        await talks.talk(1.0)
        assert ends.id not in store.live
        assert all(here.place(call) > places[call.id] for call in calls)
        states, live, lengths = kept
        store.states.clear()
        store.states.update(states)
        store.live.clear()
        store.live.update(live)
        for name, length in lengths.items():
            if name not in (ends.audio, ends.ends):
                del store.streams[name][length:]
        await talks.talk(1.0)
        await trio.sleep(10)
        assert worker.daemon.role == "active"
        assert here.place(pauses) == pauses.samples
        assert ends.id not in store.live
        for call in (pauses, talks):
            call.end()
        await trio.sleep(5)
        assert all(here.complete(call) for call in calls)
        assert not store.aside


async def test_an_earlier_state_of_the_reader_alone_disturbs_no_call(autojump_clock: MockClock) -> None:
    """Somebody has put it there, again and again: the calls are where they were."""
    async with worker_group() as here:
        worker = here.worker()
        await takes_over(worker)
        call = Producer(here.store, "call-1", 1)
        await call.talk(2.0)
        earlier = here.store.states[""]
        here.store.live.add("nobody")  # nor does a name that is of no call
        for _ in range(3):
            await call.talk(3.0)
            assert here.store.states[""].rev > earlier.rev
            here.store.states[""] = earlier
        await call.talk(3.0)
        assert here.store.states[""].rev != earlier.rev
        call.end()
        await trio.sleep(5)
        assert here.complete(call)
        assert len(worker.provider.links) == 1
        assert worker.value("asr_broken_states_total", kind="reader") == 3


# -- stopping ------------------------------------------------------------------------------------------------


async def test_stop_commits_what_is_there_and_nothing_twice(autojump_clock: MockClock) -> None:
    """What is not finalized is finished by the next start."""
    async with worker_group() as here:
        call = Producer(here.store, "call-1", 1)
        for seconds in (1.3, 0.2, 2.0):
            worker = here.worker()
            await takes_over(worker)
            await call.talk(seconds)
            began = trio.current_time()
            worker.daemon.stop()
            worker.daemon.stop()
            await worker.done.wait()
            assert trio.current_time() - began < 0.5
            assert here.store.lease is None
        here.worker()
        call.end()
        await trio.sleep(5)
        assert here.complete(call)


@pytest.mark.parametrize("grace_ms", [0, 3_000])
@pytest.mark.parametrize("moment", ["starting", "standby", "first state", "active"])
async def test_stop_within_the_grace_while_redis_is_away(
    autojump_clock: MockClock, grace_ms: int, moment: str
) -> None:
    """Whether its requests fail or hang: the grace and two seconds, whatever it was doing."""
    for hang in (False, True):
        async with worker_group() as here:
            if moment == "standby":
                await takes_over(here.worker())
            worker = here.worker(config(grace_ms))
            call = Producer(here.store, "call-1", 1)
            if moment == "active":
                await takes_over(worker)
                await call.talk(0.9)
            elif moment == "first state":
                worker.bus.loads_hang = True
                await takes_over(worker)
            elif moment == "standby":
                await trio.sleep(2)
            if hang:
                worker.bus.awake = trio.Event()
            else:
                worker.bus.away = True
            call.speak(0.5)
            await trio.sleep(1.5)
            worker.daemon.stop()
            with trio.fail_after(grace_ms / 1000 + 2):
                await worker.done.wait()


async def test_stop_while_a_real_redis_is_frozen(new_valkey: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are in threads there, which cannot be cancelled: a stop waits for none of them."""
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 600.0)
    server: EmbeddedValkey = new_valkey()  # type: ignore[operator]
    settings = config(grace_ms=200, url=server.url)
    bus = RedisBus(server.url, group="g", audio_stream="audio_stream", end_stream="call_end")
    daemon = Daemon(settings, bus, MockProvider(), Metrics(), Notifier({}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.run)
        with trio.fail_after(60):
            while daemon.role != "active":  # noqa: ASYNC110 (it is another process that answers)
                await trio.sleep(0.01)
        await trio.sleep(1.2)
        server.pause()
        await trio.sleep(0.6)
        nursery.cancel_scope.deadline = trio.current_time() + 60
        daemon.stop()
    assert not nursery.cancel_scope.cancelled_caught

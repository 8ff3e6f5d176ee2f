"""The committer between sources and the bus, on the autojump clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from tests.worker.test_dispatcher import complete
from tests.worker_harness import RoughBus, run_worker, settings
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_asr.bus.base import Answer, Tenure
from trio_asr.bus.committer import MAX_BATCH, Committer
from trio_asr.bus.lease import Lease, OwnershipLost
from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.records import Commit, Outcome, Stored, Write
from trio_asr.wire.transcripts import Item


@dataclass
class Talker:
    """A source with texts to say, one a commit."""

    interaction_id: str = "c1"
    texts: list[str] = field(default_factory=list)
    rev: int = 0
    flight: Commit | None = None
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        return self.flight is None and not self.texts

    def next_commit(self, wall_ms: int) -> Commit | None:
        if self.flight is None and self.texts:
            writes = (Write("out", f"{self.interaction_id} {self.texts.pop(0)}".encode()),)
            self.flight = Commit(self.interaction_id, self.rev + 1, b"%d" % (self.rev + 1), writes)
        return self.flight

    def settle(self, outcome: Outcome) -> Sequence[Item]:
        self.outcomes.append(outcome)
        if outcome in (Outcome.APPLIED, Outcome.DONE):
            self.rev, self.flight = self.rev + 1, None
        return ()


@dataclass
class CommitterHarness:
    store: MemoryStore
    bus: RoughBus
    committer: Committer
    problems: Problems
    metrics: Metrics
    stale: list[str]
    recovered: list[float]

    def written(self, owner: str = "c1") -> list[str]:
        texts = [message.decode() for message in self.store.messages("out")]
        return [text.removeprefix(owner + " ") for text in texts if text.startswith(owner + " ")]


@asynccontextmanager
async def run_committer() -> AsyncIterator[CommitterHarness]:
    store = MemoryStore()
    bus, problems, metrics = RoughBus(store), Problems(), Metrics()
    stale: list[str] = []
    recovered: list[float] = []
    lease = Lease(bus, 5_000, lambda: recovered.append(trio.current_time()))
    assert await lease.acquire()
    committer = Committer(
        bus, lease, metrics, problems, internal=InternalErrors(metrics), on_stale=stale.append
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)  # noqa: ASYNC113 (submitting to it needs no running task)
        yield CommitterHarness(store, bus, committer, problems, metrics, stale, recovered)
        nursery.cancel_scope.cancel()


async def test_ready_sources_share_a_round_trip(autojump_clock: MockClock) -> None:
    """One commit of each at a time, and never more than `MAX_BATCH` at once."""
    async with run_committer() as at:
        talkers = [Talker(f"c{i}", ["a", "b"]) for i in range(MAX_BATCH + 1)]
        for talker in talkers:
            at.committer.submit(talker)
        await at.committer.flush()
        assert [len(batch) for batch in at.bus.batches] == [500, 500, 2]
        assert all(len({commit.owner for commit in batch}) == len(batch) for batch in at.bus.batches)
        assert at.written("c0") == at.written(f"c{MAX_BATCH}") == ["a", "b"]


async def test_an_idle_source_is_not_asked(autojump_clock: MockClock) -> None:
    async with run_committer() as at:
        at.committer.submit(Talker())
        await at.committer.flush()
        assert at.bus.batches == []


@pytest.mark.parametrize("deaf", [1, 2, 5])
async def test_a_lost_answer_doubles_nothing(autojump_clock: MockClock, deaf: int) -> None:
    """The very same commits are sent again until there is an answer. (requirements 7)"""
    async with run_committer() as at:
        one, two = Talker("c1", ["a", "b"]), Talker("c2", ["x"])
        at.bus.deaf = deaf
        at.committer.submit(one)
        at.committer.submit(two)
        await at.committer.drained(one)
        assert at.bus.batches[: deaf + 1] == [at.bus.batches[0]] * (deaf + 1)
        assert (at.written("c1"), at.written("c2")) == (["a", "b"], ["x"])
        assert one.outcomes == [Outcome.DONE, Outcome.APPLIED]


async def test_while_the_bus_is_away(autojump_clock: MockClock) -> None:
    """It is tried again within 2 s, said once, and counted; all is written in the end."""
    async with run_committer() as at:
        talker = Talker("c1", ["a"])
        at.bus.away = True
        at.committer.submit(talker)
        await trio.sleep(60)
        assert at.problems.ages(60) == {"commits": 60}
        assert len(at.bus.batches) >= 30
        at.bus.away = False
        began = trio.current_time()
        await at.committer.drained(talker)
        assert trio.current_time() - began <= 2
        assert at.problems.ages(61) == {}
        assert at.written() == ["a"]


async def test_a_refused_commit_is_tried_again_and_holds_up_nobody(autojump_clock: MockClock) -> None:
    """Every second, also when its source has more to say meanwhile."""
    async with run_committer() as at:
        poisoned, healthy = Talker("bad", ["a", "b"]), Talker("good", [])
        at.bus.refused = {"bad"}
        at.committer.submit(poisoned)
        for i in range(25):
            healthy.texts.append(str(i))
            at.committer.submit(healthy)
            at.committer.submit(poisoned)
            await trio.sleep(0.1)
        assert at.written("good") == [str(i) for i in range(25)]
        assert sum(commit.owner == "bad" for batch in at.bus.batches for commit in batch) == 3
        assert at.problems.ages(3) == {}, "it is no trouble of Redis"
        at.bus.refused = set()
        await at.committer.drained(poisoned)
        assert trio.current_time() == 3.0
        assert at.written("bad") == ["a", "b"]


async def test_a_source_that_says_more_while_its_commit_is_refused(autojump_clock: MockClock) -> None:
    async with run_committer() as at:
        talker = Talker("bad", ["a", "b"])
        at.bus.refused = {"bad"}
        arrive = at.bus._arrive

        async def slowly() -> None:
            await trio.sleep(0.25)
            await arrive()

        at.bus._arrive = slowly  # type: ignore[method-assign]
        at.committer.submit(talker)
        await trio.sleep(0.1)
        at.committer.submit(talker)
        await trio.sleep(1)
        assert len(at.bus.batches) == 1, "no second attempt before its second is over"


async def test_state_that_is_not_ours_reloads_that_call(autojump_clock: MockClock) -> None:
    async with run_committer() as at:
        at.store.states["c1"] = Stored(7, b"somebody else's")
        stale, healthy = Talker("c1", ["a"]), Talker("c2", ["b"])
        at.committer.submit(stale)
        at.committer.submit(healthy)
        await at.committer.drained(healthy)
        assert at.stale == ["c1"]
        assert (at.written("c1"), at.written("c2")) == ([], ["b"])
        await at.committer.flush()
        assert len(at.bus.batches) == 1, "its commit is not tried again"


async def test_another_owner_ends_it(autojump_clock: MockClock) -> None:
    """Nothing of ours is written any more, and the committer's end says why."""
    store = MemoryStore()
    lost: list[OwnershipLost] = []

    async def run(committer: Committer) -> None:
        try:
            await committer.run()
        except OwnershipLost as error:
            lost.append(error)

    bus = RoughBus(store)
    lease = Lease(bus, 5_000)
    await lease.acquire()
    metrics = Metrics()
    committer = Committer(
        bus, lease, metrics, Problems(), internal=InternalErrors(metrics), on_stale=lambda _: None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, committer)
        await trio.sleep(6)
        assert await MemoryBus(store, audio_stream="", end_stream="").acquire(5_000) is Tenure.HELD
        committer.submit(Talker("c1", ["a"]))
    assert len(lost) == 1
    assert store.messages("out") == []


async def test_a_bus_that_lost_its_data_gets_its_fence_again(autojump_clock: MockClock) -> None:
    """The commit that found it missing restores the state of its call."""
    async with run_committer() as at:
        talker = Talker("c1", ["a"])
        await at.committer.drained(talker)
        at.store.streams.clear()
        at.store.states.clear()
        at.store.fence = at.store.lease = None
        talker.texts += ["b", "c"]
        await at.committer.drained(talker)
        assert at.written() == ["b", "c"]
        assert at.store.states["c1"] == Stored(3, b"3")
        assert at.recovered == [0.0]


async def test_forget_waits_for_what_is_on_its_way(autojump_clock: MockClock) -> None:
    """A call is reloaded when none of its commits can still arrive."""
    async with run_committer() as at:
        talker = Talker("c1", ["a", "b"])
        at.bus.away = True
        at.committer.submit(talker)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.committer.forget, talker)
            await trio.sleep(10)
            assert nursery.child_tasks, "the answer is not known yet"
            at.bus.away = False
        written = at.written()
        assert written[:1] == ["a"]
        await trio.sleep(5)
        assert at.written() == written


async def test_flush_waits_for_all_but_the_refused(autojump_clock: MockClock) -> None:
    async with run_committer() as at:
        poisoned, healthy = Talker("bad", ["a"]), Talker("good", ["a", "b", "c"])
        at.bus.refused = {"bad"}
        at.committer.submit(poisoned)
        at.committer.submit(healthy)
        await at.committer.flush()
        assert trio.current_time() == 0
        assert at.written("good") == ["a", "b", "c"]


# -- the server fails some --------------------------------------------------------------------------------


async def test_a_commit_that_fails_waits_as_it_is_and_holds_up_nobody(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its trouble is told for as long as it lasts, in the server's words, whatever else succeeds."""
    async with run_committer() as at:
        failing, healthy = Talker("bad", ["a", "b"]), Talker("good", [])
        at.bus.failed = {"bad"}
        for i in range(25):
            healthy.texts.append(str(i))
            at.committer.submit(healthy)
            at.committer.submit(failing)
            await trio.sleep(0.1)
        assert at.written("good") == [str(i) for i in range(25)]
        tried = [commit for batch in at.bus.batches for commit in batch if commit.owner == "bad"]
        assert tried == [tried[0]] * 3
        assert failing.outcomes == []
        assert at.committer.is_blocked(failing)
        assert not at.committer.is_blocked(healthy)
        assert at.problems.ages(2.5) == {"commits": 2.5}
        assert (
            '"Trouble with commits","logger":"troubles","why":"so the test says"' in capsys.readouterr().err
        )
        at.bus.failed = set()
        await at.committer.drained(failing)
        assert trio.current_time() == 3.0
        assert at.written("bad") == ["a", "b"]
        assert at.problems.ages(3) == {}
        assert not at.committer.is_blocked(failing)


async def test_the_trouble_is_over_with_the_last_that_fails(autojump_clock: MockClock) -> None:
    async with run_committer() as at:
        talkers = [Talker(f"c{i}", ["a"]) for i in range(3)]
        at.bus.failed = {"c0", "c1", "c2"}
        for talker in talkers:
            at.committer.submit(talker)
        await trio.sleep(1.5)
        at.bus.failed = {"c1", "c2"}
        await trio.sleep(1)
        assert at.problems.ages(2.5) == {"commits": 2.5}
        at.bus.failed, at.bus.refused = {"c2"}, {"c1"}
        await trio.sleep(1)
        assert at.problems.ages(3.5) == {"commits": 3.5}
        await at.committer.forget(talkers[2])
        assert at.problems.ages(3.5) == {}, "it is reloaded"


async def test_what_fails_for_long_is_not_shed(autojump_clock: MockClock) -> None:
    """However long the server takes nothing: it is told, and all is written in the end."""
    bus = RoughBus(store := MemoryStore())
    async with run_worker(settings(max_unfinalized_s=10), store=store, bus=bus) as on:
        call = on.producer(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 120)
            await trio.sleep(5)
            bus.failed = {"", call.id}
            await trio.sleep(100)
            assert list(on.problems.ages(0)) == ["commits"]
            bus.failed = set()
        await on.finish(call)
        assert complete(on, call)
        assert on.counted("asr_gap_seconds_total", reason="unpublished") == 0
        assert not on.problems.ages(trio.current_time())


# -- a key that all need is in the way -----------------------------------------------------------------------


class BlockedBus(RoughBus):
    """Somebody has put something else where all calls write."""

    in_the_way = ""
    takes_s = 0.0  # for an answer

    async def misused(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [self.in_the_way] if self.in_the_way else []

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        if not self.in_the_way:
            await trio.sleep(self.takes_s)
            return await super().commit(commits)
        await trio.lowlevel.checkpoint()
        self.batches.append(tuple(commits))
        return [Answer(Outcome.BLOCKED, self.in_the_way)] * len(commits)


async def test_a_key_in_the_way_is_named_and_nothing_is_shed(autojump_clock: MockClock) -> None:
    """However long it lasts; each commit is tried once a second, and all is told once it is mended."""
    store = MemoryStore()
    bus = BlockedBus(store)
    async with run_worker(settings(max_unfinalized_s=10), store=store, bus=bus) as on:
        calls = [on.producer(i) for i in (1, 2)]
        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(call.talk, 200)
            await trio.sleep(5)
            bus.in_the_way = "asr_events"
            told = len(on.finals(calls[0]))
            before = len(bus.batches)
            await trio.sleep(100)
            assert len(on.finals(calls[0])) == told
            assert len(bus.batches) - before <= 320, "three sources, once a second"
            assert list(on.problems.ages(0)) == ["key asr_events"]
            assert on.counted("asr_gap_seconds_total", reason="unpublished") == 0
            bus.in_the_way = ""
            await trio.sleep(3)
            assert len(on.finals(calls[0])) > 95
            assert not on.problems.ages(trio.current_time())
        for call in calls:
            call.end()
        await trio.sleep(1)
        await on.over(*calls)
        for call in calls:
            assert complete(on, call)
            assert on.happened(call) == ["started", "ended"]


async def test_nor_while_it_catches_up_with_what_waited(autojump_clock: MockClock) -> None:
    """What waited for the key takes several commits, and each its time: none of it is given up for that."""
    store = MemoryStore()
    bus = BlockedBus(store)
    async with run_worker(settings(max_unfinalized_s=10), store=store, bus=bus) as on:
        call = on.producer(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 120)
            await trio.sleep(5)
            bus.in_the_way = "asr_events"
            await trio.sleep(100)
            bus.in_the_way, bus.takes_s = "", 2.5  # housekeeping looks twice between two commits
        await on.finish(call)
        assert complete(on, call)
        assert on.counted("asr_gap_seconds_total", reason="unpublished") == 0


async def test_a_call_that_ends_while_a_key_is_in_the_way(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    bus = BlockedBus(store)
    async with run_worker(store=store, bus=bus) as on:
        call = on.producer(1)
        await call.talk(3)
        bus.in_the_way = "trio_asr:{asr-worker}:live"
        await call.talk(3)
        call.end()
        await trio.sleep(300)
        assert call.id in on.calls.interactions
        on.calls.restart(call.id, "so the test says")
        await trio.sleep(30)
        bus.in_the_way = ""
        await on.over(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        await trio.sleep(2)
        assert not on.problems.ages(trio.current_time())


async def test_a_kill_while_a_key_is_in_the_way(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    bus = BlockedBus(store)
    async with run_worker(store=store, bus=bus) as on:
        call = on.producer(1)
        await call.talk(3)
        bus.in_the_way = "asr_events"
        await call.talk(30)
    async with run_worker(store=store) as on:
        await on.finish(call)
        assert complete(on, call)

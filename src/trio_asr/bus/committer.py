"""The committer: it batches the commits of all calls into round trips; each commit has its own outcome.

A source (a call's outbox, or the reader's) submits itself when it has something to commit. The committer
takes one commit from each ready source, sends them together, and gives every source its answer. While Redis
is away the same commits are sent again until there is an answer: their revisions make that idempotent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from trio_asr.bus.away import RETRY_BASE_S, RETRY_CAP_S, away
from trio_asr.bus.base import Answer, Bus, BusUnavailable
from trio_asr.bus.lease import Lease, OwnershipLost
from trio_asr.core.backoff import Backoff
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.codes import CaughtAt, ErrorKind, EventName, Problem
from trio_asr.wire.records import Commit, Outcome
from trio_asr.wire.transcripts import Item

MAX_BATCH = 500  # most commits per round trip: a few milliseconds of work for Redis
ROUND = 4  # target commits per round trip: above it the interval shrinks, to a third at most
REFUSED_RETRY_S = 1.0  # between two attempts at a commit that was not taken


class Source(Protocol):
    """An owner of commits: a call's outbox, or the reader's."""

    interaction_id: str

    @property
    def idle(self) -> bool:
        """Whether there is nothing to commit, and nothing in flight."""
        ...

    def next_commit(self, wall_ms: int) -> Commit | None:
        """Return the commit in flight, or the next one, made at `wall_ms` milliseconds since 1970."""
        ...

    def settle(self, outcome: Outcome) -> Sequence[Item]:
        """Take the outcome of the commit in flight; return the items that it has committed."""
        ...


class Committer:
    """The sender of all commits. One task runs `run`; other tasks submit and wait.

    `on_stale` is called with the owner of a commit that does not build on what is stored ("" is the reader).
    """

    def __init__(
        self,
        bus: Bus,
        lease: Lease,
        metrics: Metrics,
        problems: Problems,
        *,
        internal: InternalErrors,
        on_stale: Callable[[str], None],
    ) -> None:
        self._bus, self._lease = bus, lease
        self._metrics, self._problems = metrics, problems
        self._internal = internal
        self._on_stale = on_stale
        self._log = problems.logger("committer")
        self._refusals = logs.Rate(10.0)
        # By owner, so bounded by the number of calls; with the time of submission, and of the next attempt.
        self._ready: dict[str, tuple[Source, float]] = {}
        self._refused: dict[str, tuple[Source, float]] = {}
        # Owners whose commits wait for no fault of theirs, and those among them that the server fails.
        self._blocked: set[str] = set()
        self._failing: set[str] = set()
        self._drains: dict[str, trio.Event] = {}
        self._wake = trio.Event()
        self._in_flight: set[str] = set()
        self._next_round = -math.inf
        self._gap_s = bus.cadence_s  # between the starts of two rounds
        self._answered = trio.Event()  # set and replaced at the end of every round

    def submit(self, source: Source) -> None:
        """Mark a source as ready to commit."""
        if not source.idle and source.interaction_id not in self._refused:
            self._ready.setdefault(source.interaction_id, (source, trio.current_time()))
            self._wake.set()

    def is_blocked(self, source: Source) -> bool:
        """Return whether this source waits for no fault of its own, and so must not give up."""
        return source.interaction_id in self._blocked

    async def forget(self, source: Source) -> None:
        """Drop a source whose call is reloaded, and wait until none of its commits is in flight."""
        self._blocked.discard(source.interaction_id)
        self._not_failing(source.interaction_id, trio.current_time())
        for waiting in (self._ready, self._refused):
            waiting.pop(source.interaction_id, None)
        while source.interaction_id in self._in_flight:
            await self._answered.wait()
            for waiting in (self._ready, self._refused):
                waiting.pop(source.interaction_id, None)

    async def flush(self) -> None:
        """Wait until no source is ready and no commit is in flight."""
        while self._ready or self._in_flight:
            await self._answered.wait()

    async def drained(self, source: Source) -> None:
        """Wait until everything that a source has is committed."""
        while not source.idle:
            self.submit(source)
            await self._drains.setdefault(source.interaction_id, trio.Event()).wait()

    async def run(self) -> None:
        """Commit whatever becomes ready; never return.

        Raises:
            OwnershipLost: Another worker owns the calls.
        """
        while True:
            await self._anything()
            while self._ready:
                await trio.sleep_until(self._next_round)
                self._next_round = trio.current_time() + self._gap_s
                await self._round()

    async def _anything(self) -> None:
        """Wait until a source is ready."""
        if not self._refused:
            await self._wake.wait()
        else:
            with trio.move_on_at(min(when for _, when in self._refused.values())):
                await self._wake.wait()
            self._retry_refused(trio.current_time())
        self._wake = trio.Event()

    def _retry_refused(self, now: float) -> None:
        for key in [key for key, (_, when) in self._refused.items() if when <= now]:
            self._ready[key] = self._refused.pop(key)[0], now

    async def _round(self) -> None:
        sources, commits = [], []
        wall_ms = time.time_ns() // 1_000_000
        for key in list(self._ready)[:MAX_BATCH]:
            source, since = self._ready.pop(key)
            commit = self._next(source, wall_ms)
            if commit is not None:
                sources.append((source, since))
                commits.append(commit)
        if commits:
            wanted_s = self._gap_s * ROUND / len(commits)
            self._gap_s = min(self._bus.cadence_s, max(self._bus.cadence_s / 3, wanted_s))
            self._in_flight = {commit.owner for commit in commits}
            answers = await self._commit(commits)
            self._in_flight = set()
            now = trio.current_time()
            for (source, since), answer in zip(sources, answers, strict=True):
                self._settled(source, since, answer, now)
        self._answered.set()
        self._answered = trio.Event()

    def _next(self, source: Source, wall_ms: int) -> Commit | None:
        try:
            return source.next_commit(wall_ms)
        except Exception as error:  # noqa: BLE001 - a bug in making one call's commit costs that call only
            self._internal.caught(CaughtAt.COMMIT, error, interaction_id=source.interaction_id)
            self._on_stale(source.interaction_id)
            return None

    async def _commit(self, commits: list[Commit]) -> list[Answer]:
        backoff = Backoff(RETRY_BASE_S, RETRY_CAP_S)
        while True:
            try:
                answers = await self._bus.commit(commits)
            except BusUnavailable as error:
                away(Problem.COMMITS, error, self._problems, self._internal)
                self._metrics.failed(ErrorKind.REDIS, time.time())
                await trio.sleep(backoff.next())
                continue
            if any(answer.outcome is Outcome.FENCED for answer in answers):
                raise OwnershipLost
            if any(answer.outcome is Outcome.UNFENCED for answer in answers):
                await self._restore_fence()
                continue  # those that were applied before answer that they were
            if not self._failing:
                self._problems.resolve(Problem.COMMITS, trio.current_time())
            return answers

    async def _restore_fence(self) -> None:
        try:
            await self._lease.renew()
        except BusUnavailable:
            await trio.sleep(RETRY_BASE_S)

    def _settled(self, source: Source, since: float, answer: Answer, now: float) -> None:
        if answer.outcome in (Outcome.BLOCKED, Outcome.FAILED):
            self._block(source, answer, now)
            return
        self._not_failing(source.interaction_id, now)
        try:
            self._settle(source, since, answer, now)
            if source.idle or answer.outcome is Outcome.REFUSED:  # all that waited is written
                self._blocked.discard(source.interaction_id)
        except Exception as error:  # noqa: BLE001 - a bug in settling one call's commit costs that call only
            self._internal.caught(CaughtAt.COMMIT, error, interaction_id=source.interaction_id)
            self._on_stale(source.interaction_id)

    def _block(self, source: Source, answer: Answer, now: float) -> None:
        """Keep a commit as it is, and retry it until somebody has repaired what is in its way.

        It does so alone: what fails one call's commit need not fail the others'.
        """
        self._blocked.add(source.interaction_id)
        self._later(source, now)
        if answer.outcome is Outcome.BLOCKED:  # the problem is the key, which housekeeping reports
            self._not_failing(source.interaction_id, now)
            if self._refusals.allow(now):
                self._log.error("Commits wait for a key that is of another type", key=answer.reason)
            return
        self._failing.add(source.interaction_id)
        self._problems.report(Problem.COMMITS, now, answer.reason)
        self._metrics.failed(ErrorKind.REDIS, time.time())
        self._complain("Redis fails a commit; it is tried again", source, answer.reason, now)

    def _not_failing(self, owner: str, now: float) -> None:
        """Note that the server does not fail this owner's commits, or not any more."""
        if owner in self._failing:
            self._failing.remove(owner)
            if not self._failing:
                self._problems.resolve(Problem.COMMITS, now)

    def _settle(self, source: Source, since: float, answer: Answer, now: float) -> None:
        if answer.outcome is Outcome.STALE:
            self._log.warning(
                "Stored state is not what this call builds on", interaction_id=source.interaction_id
            )
            self._on_stale(source.interaction_id)
            if not source.interaction_id:  # the reader's state, which is set aside and then written afresh
                self._refused[source.interaction_id] = source, now + REFUSED_RETRY_S
            return
        if answer.outcome is Outcome.REFUSED:
            source.settle(answer.outcome)
            self._refuse(source, answer.reason, now)
            return
        self._metrics.commit_latency.observe(now - since)
        self._count(source.settle(answer.outcome))
        if not source.idle:
            self._ready.setdefault(source.interaction_id, (source, now))
        elif (drain := self._drains.pop(source.interaction_id, None)) is not None:
            drain.set()

    def _refuse(self, source: Source, reason: str, now: float) -> None:
        self._later(source, now)
        self._metrics.failed(ErrorKind.PUBLISH, time.time())
        self._complain("Redis refuses a commit; it is tried again", source, reason, now)

    def _later(self, source: Source, now: float) -> None:
        """Let a source wait for its next attempt."""
        self._ready.pop(source.interaction_id, None)  # it may have been submitted again meanwhile
        self._refused[source.interaction_id] = source, now + REFUSED_RETRY_S

    def _complain(self, what: str, source: Source, reason: str, now: float) -> None:
        if self._refusals.allow(now):
            self._log.error(
                what,
                interaction_id=source.interaction_id,
                reason=reason,
                suppressed=self._refusals.skipped,
            )

    def _count(self, items: Sequence[Item]) -> None:
        for item in items:
            if item.transcript is not None:
                self._metrics.transcripts_delivered(item.transcript.type).inc()
            if item.chunks:
                self._metrics.chunks_covered.inc(item.chunks)
            if item.event is not None and item.event["event"] == EventName.GAP:
                gap = item.event
                seconds = (gap["end_ms"] - gap["start_ms"]) / 1000
                self._metrics.gaps(gap["reason"]).add(gap.get("samples", 0), seconds)

"""The time for which this worker holds a shard, or all calls as a single one: from lease to release."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from trio_asr.bus.away import away
from trio_asr.bus.base import HEIR_MS, Bus, BusUnavailable
from trio_asr.bus.lease import Lease, OwnershipLost
from trio_asr.wire.codes import Problem
from trio_asr.wire.records import NewerState
from trio_asr.worker.office import Office, Shard
from trio_asr.worker.restoring import WentBack
from trio_asr.worker.tenure import Tenure, build_tenure

RELEASE_S = 1.0
HANDOVER_GRACE_S = 1.0  # for what is on its way to Redis when a shard is handed over

T = TypeVar("T")


class Holding:
    """A shard and its lease. `run` works on it until `leave`, or until another worker has taken over."""

    def __init__(self, office: Office, bus: Bus, shard: Shard = None) -> None:
        self.shard = shard
        self.lease = Lease(bus, office.config.redis.lease_ms, self._save)
        self.heir = ""  # to whom the shard is handed over
        self.left_at = 0.0  # when that was decided
        self._keep_ms = HEIR_MS
        self._office, self._bus = office, bus
        self._leaving = trio.Event()
        self._log = office.problems.of_shard(shard).logger("daemon")

    @property
    def leaving(self) -> bool:
        """Whether the shard is on its way to somebody else, or to nobody."""
        return self._leaving.is_set()

    def leave(self, heir: str = "", keep_ms: int = HEIR_MS) -> None:
        """Let go of the shard: at once, or with an heir in such a way that its calls notice least of it.

        The lease is kept for the heir for `keep_ms`.
        """
        if not self.leaving:
            self.heir, self._keep_ms, self.left_at = heir, keep_ms, trio.current_time()
            self._leaving.set()

    async def run(self) -> bool:
        """Work until told to leave, then give the lease back. Return False if another has taken over.

        The lease must have been acquired.

        Raises:
            ExceptionGroup: There is work that only a later version can do (`NewerState`; the lease was
                released), or there is a bug that nothing contains.
        """
        lost = False
        self._office.opened(self.shard)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep)
                while not await self._work():
                    self._log.error("Redis has lost the last commits; all calls go on from those before")
                nursery.cancel_scope.cancel()
        except* NewerState:
            # For a worker that knows it. Whoever cancels this ends the worker as well.
            await self._give_back()  # noqa: ASYNC120
            raise
        except* OwnershipLost:
            lost = True
        else:
            await self._give_back()
        finally:
            self._office.closed(self.shard)
        return not lost

    async def _keep(self) -> None:
        """Renew the lease. Never returns.

        Raises:
            OwnershipLost: Another worker has taken over.
        """
        problems, internal = self._office.problems.of_shard(self.shard), self._office.internal
        period_s = pause_s = self.lease.period_s if self.shard is None else self.lease.renewal_s
        while True:
            await trio.sleep(pause_s)
            try:
                await self.lease.renew()
                problems.resolve(Problem.LEASE, trio.current_time())
                pause_s = period_s
            except BusUnavailable as error:
                away(Problem.LEASE, error, problems, internal)
                pause_s = self.lease.period_s  # what was lost is made up for before the lease runs out

    async def _give_back(self) -> None:
        give = partial(self.lease.pass_on, self.heir, self._keep_ms) if self.heir else self.lease.release
        try:
            with trio.move_on_after(RELEASE_S):
                await give()
        except BusUnavailable:
            self._log.warning("The lease could not be released; a standby waits until it expires")

    async def _work(self) -> bool:
        """Work until told to leave, then commit what is in flight.

        Return False if what is in memory is of no use any more: all must begin again from what Redis has.
        """
        office, grace_s = self._office, self._office.config.shutdown.grace_ms / 1000
        tenure, whole = None, True
        async with trio.open_nursery() as outer:
            try:
                async with trio.open_nursery() as nursery:
                    build = partial(build_tenure, nursery, office, self._bus, self.lease, self.shard)
                    tenure = await unless(self._leaving, build)
                    if tenure is not None:
                        outer.start_soon(tenure.services.committer.run)
                        reading = await nursery.start(_cancellable, tenure.run)
                        await self._leaving.wait()
                        if self.heir:
                            reading.cancel()
                            self.lease.retire()
                            await self._linger(tenure)
                            grace_s = HANDOVER_GRACE_S
                        nursery.cancel_scope.cancel()
            except* WentBack:
                whole = False
                office.tenures.pop(self.shard, None)
            if whole and tenure is not None:
                tenure.dispatcher.note_floors()
                with trio.move_on_after(grace_s):
                    await tenure.services.committer.flush()
            outer.cancel_scope.cancel()
        return whole

    async def _linger(self, tenure: Tenure) -> None:
        """Wait for the results of what was sent: what is not finalized, the heir sends once more."""
        timelines = [one.call.timeline for one in tenure.calls.interactions.values()]
        if any(timeline.sent > timeline.finalized for timeline in timelines):
            await trio.sleep(self._office.config.fleet.handover_linger_ms / 1000)

    def _save(self) -> None:
        self._log.error("Redis has lost its data; what is in memory is written again")
        tenure = self._office.tenures.get(self.shard)
        if tenure is not None:
            tenure.calls.save()


async def unless(event: trio.Event, job: Callable[[], Awaitable[T]]) -> T | None:
    """Wait for something that may take forever. Return its result, or None if `event` is set meanwhile."""
    done = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, event, nursery.cancel_scope)
        done = await job()
        nursery.cancel_scope.cancel()
    return done


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _cancellable(
    job: Callable[[], Awaitable[None]], *, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    """Run a job in a cancel scope of its own, which `task_status` gets."""
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await job()

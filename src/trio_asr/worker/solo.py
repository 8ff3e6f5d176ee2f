"""A single worker: it owns all calls, or stands by until it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from trio_asr.bus.away import away
from trio_asr.bus.base import Bus, BusUnavailable
from trio_asr.bus.lease import Lease
from trio_asr.telemetry import logs
from trio_asr.telemetry.labels import Role
from trio_asr.wire.codes import Problem
from trio_asr.worker.foreign_readers import ForeignReaders
from trio_asr.worker.holding import Holding, unless
from trio_asr.worker.office import Office


class Solo:
    """One worker and its standbys: all compete for one lease. `become` is told each role."""

    def __init__(self, office: Office, bus: Bus, become: Callable[[Role], None]) -> None:
        self._office, self._bus, self._become = office, bus, become
        self._foreign_readers = ForeignReaders(bus, office.config.redis, office.problems)
        self._holding: Holding | None = None
        self._stopping = trio.Event()
        self._starting = True
        self._log = logs.get("daemon")

    def takes_part(self, now: float) -> bool:  # noqa: ARG002 - a member's depends on it
        """Return whether this worker owns the calls."""
        return self._holding is not None

    def stop(self) -> None:
        """Stop in order: read no more, commit what is there, release the lease."""
        self._stopping.set()
        if self._holding is not None:
            self._holding.leave()

    async def run(self) -> None:
        """Own the calls whenever no other worker does, until stopped.

        Raises:
            ExceptionGroup: Another program works on our calls at the start (`ForeignConsumerError`), there is
                work that only a later version can do (`NewerState`), or there is a bug that nothing contains.
        """
        while not self._stopping.is_set():
            holding = Holding(self._office, self._bus)
            if not await unless(self._stopping, partial(self._acquire, holding.lease)):
                break
            self._become("active")
            self._holding = holding
            if self._stopping.is_set():
                holding.leave()
            in_order = await holding.run()
            self._holding = None
            if not in_order:
                self._log.warning("Another worker has taken over; standing by")
                self._become("standby")

    async def aclose(self) -> None:
        """Close the connections to the bus."""
        await self._bus.aclose()

    async def _acquire(self, lease: Lease) -> bool:
        """Wait for the lease. Return True.

        Raises:
            ForeignConsumerError: Another program works on our calls, and this worker has only just started.
        """
        while True:
            now = trio.current_time()
            try:
                alone = await self._foreign_readers.alone(starting=self._starting)
                held = alone and await lease.acquire()
            except BusUnavailable as error:
                away(Problem.REDIS, error, self._office.problems, self._office.internal)
            else:
                self._office.problems.resolve(Problem.REDIS, now)
                self._starting = False
                if held:
                    return True
                self._become("standby")
            await trio.sleep(lease.period_s)

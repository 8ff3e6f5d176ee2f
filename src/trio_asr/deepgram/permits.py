"""A semaphore for connections, with two classes of waiters and holders that can be asked to release.

Calls whose audio is flowing go before calls whose audio stands still; within each class the order is first
in, first out. A holder that stands still while others wait is asked to give its permit back. So a producer
that makes a new call of every frame delays its own calls and no others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import trio


class Holder(Protocol):
    """A call, as the semaphore sees it: a holder of a permit, or a waiter for one."""

    def flowing(self) -> bool:
        """Return whether the call's audio is coming in."""
        ...

    def permit_wanted(self) -> None:
        """Check whether the permit is still of use: another call has begun to wait for one."""
        ...


class Permits:
    """A semaphore of `total` permits, with its queue."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._holders: list[Holder] = []
        self._queue: dict[Holder, trio.Event] = {}  # in order of arrival

    @property
    def waiting(self) -> int:
        """The number of calls in the queue."""
        return len(self._queue)

    def resize(self, total: int) -> None:
        """Set the number of permits. Permits that are held stay held, even above the new number."""
        self._total = total
        self._grant()

    @asynccontextmanager
    async def permit(self, holder: Holder) -> AsyncIterator[None]:
        """Hold a permit while the block runs. Entering waits for one, for as long as it takes."""
        await self._acquire(holder)
        try:
            yield
        finally:
            self._holders.remove(holder)
            self._grant()

    async def _acquire(self, holder: Holder) -> None:
        await trio.lowlevel.checkpoint()
        granted = self._queue[holder] = trio.Event()
        self._grant()
        if not granted.is_set() and len(self._queue) == 1:
            for one in list(self._holders):
                one.permit_wanted()
        try:
            await granted.wait()
        except trio.Cancelled:
            if granted.is_set():
                self._holders.remove(holder)
                self._grant()
            else:
                del self._queue[holder]
            raise

    def _grant(self) -> None:
        while self._queue and len(self._holders) < self._total:
            # Usually few wait. In a flood, scanning all of them costs less than serving the wrong one.
            chosen = next((one for one in self._queue if one.flowing()), next(iter(self._queue)))
            self._holders.append(chosen)
            self._queue.pop(chosen).set()

"""The places for connections: who is in a hurry comes first, and nobody keeps one without a use for it.

A call whose audio is flowing goes before those whose audio stands still, and within each, who came first. A
call that stands still while others wait is asked to give its place back. So a producer that makes a new call
of each frame delays its own calls, and no others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import trio


class Holder(Protocol):
    """A call, as it holds a place or waits for one."""

    def flowing(self) -> bool:
        """Whether its audio comes in."""
        ...

    def permit_wanted(self) -> None:
        """Somebody has begun to wait: look whether there is a use for the place."""
        ...


class Permits:
    """So many places, and a queue."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._holders: list[Holder] = []
        self._queue: dict[Holder, trio.Event] = {}  # first come, first

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def resize(self, total: int) -> None:
        """Change how many there are; who has one keeps it."""
        self._total = total
        self._grant()

    @asynccontextmanager
    async def permit(self, holder: Holder) -> AsyncIterator[None]:
        """Hold a place for as long as the block lasts; waits for as long as it takes."""
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
            # Few wait, or it is an attack: then to look at each costs less than what it brings.
            chosen = next((one for one in self._queue if one.flowing()), next(iter(self._queue)))
            self._holders.append(chosen)
            self._queue.pop(chosen).set()

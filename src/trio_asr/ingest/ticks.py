"""One alarm clock for the pauses of all sockets.

A sleep of its own costs each socket a cancel scope and a deadline, ten times a second. Here whoever waits for
the same moment waits for one event, and moments lie on a grid.
"""

from __future__ import annotations

import math
from typing import NoReturn

import trio

GRID_S = 0.01


class Ticks:
    """The moments that are waited for."""

    def __init__(self) -> None:
        self._due: dict[int, trio.Event] = {}
        self._asked = trio.Event()

    async def until(self, when: float) -> None:
        """Wait until the first moment of the grid at or after `when`, in seconds on trio's clock."""
        tick = math.ceil(when / GRID_S - 1e-6)
        event = self._due.get(tick)
        if event is None:
            event = self._due[tick] = trio.Event()
            self._asked.set()
        await event.wait()

    async def run(self) -> NoReturn:
        """Wake whoever waits, for ever."""
        while True:
            if not self._due:
                self._asked = trio.Event()
                await self._asked.wait()
            # Whoever comes meanwhile with an earlier moment is late by one step of the grid at most.
            await trio.sleep_until(min(*self._due, _tick() + 1) * GRID_S)
            now = _tick()
            for tick in [tick for tick in self._due if tick <= now]:
                self._due.pop(tick).set()


def _tick() -> int:
    """Return the last moment of the grid that has passed. What is not exact in floats is not before it."""
    return math.floor(trio.current_time() / GRID_S + 1e-6)

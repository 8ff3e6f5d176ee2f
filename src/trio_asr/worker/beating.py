"""The members' beats: this one's, which the others hear twice a second, and those of all."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.control import Control
from trio_asr.core.fleet.beat import Beat
from trio_asr.telemetry import logs

BEAT_S = 0.5
BEAT_TTL_MS = 4_000  # a member is dead once its beat has expired
_unreadable = logs.Rate(10.0)


class Beating:
    """What a member says of itself. `present` returns it for a moment, `on_away` is told of no answer."""

    def __init__(
        self, control: Control, present: Callable[[float], Beat], on_away: Callable[[BusUnavailable], None]
    ) -> None:
        self._control, self._present, self._on_away = control, present, on_away
        self._heard_at = -math.inf
        self._news = trio.Event()

    def is_heard(self, now: float) -> bool:
        """Return whether the others count on this member at `now`, as far as it knows."""
        return now - self._heard_at < BEAT_TTL_MS / 1000

    def hurry(self) -> None:
        """Beat at once: there is news."""
        self._news.set()

    async def run(self) -> None:
        """Tell the others, twice a second. Never returns."""
        while True:
            now, self._news = trio.current_time(), trio.Event()
            beat = self._present(now)
            try:
                await self._control.beat(beat.member, beat.encode(), BEAT_TTL_MS)
                # By the answer, not the request: it may have been written as late as that.
                self._heard_at = trio.current_time()
            except BusUnavailable as error:
                self._on_away(error)
            with trio.move_on_at(now + BEAT_S):
                await self._news.wait()


async def beats(control: Control) -> list[Beat]:
    """Return the beats of all members that are alive; one that cannot be read is logged and left out.

    Raises:
        BusUnavailable: The bus does not answer.
    """
    read: list[Beat] = []
    for data in await control.beats():
        try:
            read.append(Beat.read(data))
        except ValueError as error:
            if _unreadable.allow(trio.current_time()):
                skipped = _unreadable.skipped
                logs.get("fleet").warning("A beat cannot be read", why=str(error), suppressed=skipped)
    return read

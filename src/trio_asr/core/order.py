"""Frames in the order of their `seq`, as far as late ones are waited for.

A hole in a series stays open for a while. The frames behind it wait here, and missing frames that come take
their places. When the time is over, silence stands for what is still missing. The time is that of the
stream, by the ids of its entries, so that whoever reads it again comes to the same result. Where no more
entries come, it is the caller's clock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from trio_asr.core.repeats import LATE_WINDOW
from trio_asr.core.sequence import Series
from trio_asr.wire import ids
from trio_asr.wire.frames import Frame

MOST_WAITING = 256  # frames; only a producer that catches up sends more in so short a time


class Placed(NamedTuple):
    """A frame whose turn it is, the bytes of silence before it, and whether it is too late for its place."""

    frame: Frame
    silence: int = 0
    late: bool = False


class _Waiting(NamedTuple):
    frame: Frame
    since: float  # on the caller's clock, in seconds
    added_ms: int  # on the stream's


class Order:
    """The frames of one call that wait for those before them. `series` says what is missing."""

    __slots__ = ("_reorder_ms", "_waiting", "series")

    def __init__(self, series: Series, reorder_ms: int) -> None:
        self.series = series
        self._reorder_ms = 0
        self._waiting: list[_Waiting] = []  # by their seq, which all have; of one rate
        self.wait(reorder_ms)

    def __bool__(self) -> bool:
        """Return whether any frames wait."""
        return bool(self._waiting)

    @property
    def frames(self) -> list[Frame]:
        """The frames that wait."""
        return [waiting.frame for waiting in self._waiting]

    @property
    def due(self) -> float:
        """When the frames that wait are released if nothing comes, in seconds on the caller's clock."""
        if not self._waiting:
            return math.inf
        return min(waiting.since for waiting in self._waiting) + self._reorder_ms / 1000

    def wait(self, reorder_ms: int) -> None:
        """Wait this long from now on."""
        self._reorder_ms = reorder_ms
        self.series.patient = reorder_ms > 0

    def take(self, frame: Frame, now: float, *, void: bool) -> list[Placed]:
        """Take the next frame of the stream. Return what is to be appended, in order.

        Where numbers are `void`, nothing is waited for.
        """
        if not self._waiting:
            if void or not self.series.opens_hole(frame):
                return [self._place(frame)]
            self._waiting.append(_Waiting(frame, now, ids.milliseconds(frame.entry)))
            return []
        added_ms = ids.milliseconds(frame.entry)
        placed = self._expire(added_ms)
        at = self._index(frame)
        before = self._waiting[at - 1].frame if at else None
        if void or not self.series.belongs(frame, before):
            placed += self.close()
        elif self.series.ahead(frame) > 0:
            self._waiting.insert(at, _Waiting(frame, now, added_ms))
            while self._waiting and (len(self._waiting) > MOST_WAITING or self._missing() > LATE_WINDOW):
                placed += self._close_first()
            return placed
        return [*placed, self._place(frame), *self._drain()]

    def expire(self, now: float) -> list[Placed]:
        """Return the frames that need not wait any longer by the caller's clock."""
        placed: list[Placed] = []
        while self._waiting and self.due <= now:
            placed += self._close_first()
        return placed

    def close(self) -> list[Placed]:
        """Wait no longer. Return all frames that waited."""
        placed: list[Placed] = []
        while self._waiting:
            placed += self._close_first()
        return placed

    def _expire(self, now_ms: int) -> list[Placed]:
        """Return the frames that need not wait any longer by the clock of the stream."""
        placed: list[Placed] = []
        while self._waiting and min(one.added_ms for one in self._waiting) + self._reorder_ms <= now_ms:
            placed += self._close_first()
        return placed

    def _close_first(self) -> list[Placed]:
        """Fill the first hole with silence. Return the frames behind it, up to the next hole."""
        return [self._place(self._waiting.pop(0).frame), *self._drain()]

    def _drain(self) -> list[Placed]:
        """Return the frames that no longer wait for anything."""
        placed = []
        while self._waiting and self.series.ahead(self._waiting[0].frame) <= 0:
            placed.append(self._place(self._waiting.pop(0).frame))
        return placed

    def _place(self, frame: Frame) -> Placed:
        silence = self.series.missing(frame)
        return Placed(frame, silence, self.series.late)

    def _index(self, frame: Frame) -> int:
        """Return the index of a frame among those that wait."""
        at = len(self._waiting)
        while at and (self._waiting[at - 1].frame.seq or 0) > (frame.seq or 0):
            at -= 1
        return at

    def _missing(self) -> int:
        """Return how many frames are waited for."""
        return self.series.ahead(self._waiting[-1].frame) + 1 - len(self._waiting)

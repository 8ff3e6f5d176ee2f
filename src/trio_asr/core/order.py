"""Frames in the order of their audio, as far as late ones are waited for.

A hole stays open for a while. The frames behind it wait here, and missing frames that come take their places.
When the time is over, silence stands for what is still missing. The time is that of the stream, by the ids of
its entries, so that whoever reads it again comes to the same result. Where no more entries come, it is the
caller's clock.

What is missing before a frame, `Series` knows from its `seq`, or `Placement` from its position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from trio_asr.core.placed import Placed
from trio_asr.core.placement import Placement
from trio_asr.core.repeats import LATE_WINDOW
from trio_asr.core.sequence import Series
from trio_asr.wire import ids
from trio_asr.wire.frames import Frame

MOST_WAITING = 256  # frames; only a producer that catches up sends more in so short a time


class _Waiting(NamedTuple):
    frame: Frame
    since: float  # on the caller's clock, in seconds
    added_ms: float  # on the stream's


class Order:
    """The frames of one call that wait for those before them.

    Whatever returns an iterator has to be followed to its end, and each frame to be appended before the next
    is asked for: where a frame goes depends on what is on the timeline.
    """

    __slots__ = ("_placement", "_reorder_ms", "_rule", "_waiting", "series")

    def __init__(self, series: Series, placement: Placement, reorder_ms: int) -> None:
        self.series, self._placement = series, placement
        self._rule: Series | Placement = series  # by which the frames that wait are ordered
        self._reorder_ms = 0
        self._waiting: list[_Waiting] = []  # in the order of their audio
        self.wait(reorder_ms)

    def __bool__(self) -> bool:
        """Return whether any frames wait."""
        return bool(self._waiting)

    @property
    def frames(self) -> list[Frame]:
        """The frames that wait."""
        return [waiting.frame for waiting in self._waiting]

    @property
    def seconds(self) -> float:
        """The seconds of audio that wait."""
        return sum(len(frame.pcm) / frame.format.bytes_per_s for frame, *_ in self._waiting)

    @property
    def due(self) -> float:
        """When the frames that wait are released if nothing comes, in seconds on the caller's clock."""
        if not self._waiting:
            return math.inf
        return min(waiting.since for waiting in self._waiting) + self._reorder_ms / 1000

    def wait(self, reorder_ms: int) -> None:
        """Wait this long from now on."""
        self._reorder_ms = reorder_ms
        self.series.patient = self._placement.patient = reorder_ms > 0

    def take(self, frame: Frame, now: float, *, void: bool) -> Iterable[Placed]:
        """Take the next frame of the stream. Return what is to be appended, in order.

        Where numbers are `void`, no frame without a position is waited for.
        """
        rule = self.series if frame.position is None else self._placement
        void = void and frame.position is None
        if not self._waiting and (void or not rule.opens_hole(frame)):  # nearly always
            return (self._place(frame, rule),)
        return self._take(frame, rule, now, void=void)

    def _take(self, frame: Frame, rule: Series | Placement, now: float, *, void: bool) -> Iterator[Placed]:
        added_ms = ids.milliseconds(frame.entry)
        yield from self._expire(added_ms)
        at = self._index(frame)
        before = self._waiting[at - 1].frame if at else None
        if self._waiting and (void or rule is not self._rule or not rule.belongs(frame, before)):
            yield from self.close()
            at = 0
        # Before a frame without audio nothing is missing by its position. But numbers go on from one that was
        # placed, so it stays behind those that wait, and is waited for by nobody.
        follows = at > 0 and rule is self._placement and not frame.pcm
        waits = rule.ahead(frame) > 0 if self._waiting else not void and rule.opens_hole(frame)
        if not waits and not follows:
            yield self._place(frame, rule)
            yield from self._drain()
            return
        self._rule = rule
        self._waiting.insert(at, _Waiting(frame, *((math.inf, math.inf) if follows else (now, added_ms))))
        while self._waiting and (len(self._waiting) > MOST_WAITING or self._missing() > LATE_WINDOW):
            yield from self._close_first()

    def expire(self, now: float) -> Iterator[Placed]:
        """Return the frames that need not wait any longer by the caller's clock."""
        while self._waiting and self.due <= now:
            yield from self._close_first()

    def close(self) -> Iterator[Placed]:
        """Wait no longer. Return all frames that waited."""
        while self._waiting:
            yield from self._close_first()

    def _expire(self, now_ms: int) -> Iterator[Placed]:
        """Return the frames that need not wait any longer by the clock of the stream."""
        while self._waiting and min(one.added_ms for one in self._waiting) + self._reorder_ms <= now_ms:
            yield from self._close_first()

    def _close_first(self) -> Iterator[Placed]:
        """Fill the first hole with silence. Return the frames behind it, up to the next hole."""
        yield self._place(self._waiting.pop(0).frame, self._rule)
        yield from self._drain()

    def _drain(self) -> Iterator[Placed]:
        """Return the frames that no longer wait for anything."""
        while self._waiting and self._rule.ahead(self._waiting[0].frame) <= 0:
            yield self._place(self._waiting.pop(0).frame, self._rule)

    def _place(self, frame: Frame, rule: Series | Placement) -> Placed:
        placed = rule.place(frame)
        if rule is self._placement and not placed.is_repeat:
            self.series.restart(frame)  # one without a position may follow
        return placed

    def _index(self, frame: Frame) -> int:
        """Return the index of a frame among those that wait."""
        at, key = len(self._waiting), _key(frame)
        while at and _key(self._waiting[at - 1].frame) > key:
            at -= 1
        return at

    def _missing(self) -> int:
        """Return how many frames are waited for."""
        return self._rule.waited_for(self._waiting[-1].frame, len(self._waiting))


def _key(frame: Frame) -> int:
    return (frame.seq or 0) if frame.position is None else frame.position

"""The entries that a restarted call reads again: which of them count, and from which byte."""

from __future__ import annotations

import msgspec

from trio_asr.wire import ids
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId
from trio_asr.wire.resume_point import ResumePoint


class Resuming:
    """The judge, by entry id, of what counts of a frame that is read again.

    It is true until everything behind the checkpoint was read.
    """

    __slots__ = ("_done", "_next", "_offset", "_on", "_until", "at")

    def __init__(self, point: ResumePoint, taken: int = 0) -> None:
        """Begin at a resume point, with `taken` bytes after it on the timeline already."""
        self.at = ids.key(point.entry)  # the first entry that may count
        self._next, self._offset = point.next
        self._offset += taken
        self._done = frozenset[EntryId]() if point.ahead is msgspec.UNSET else frozenset(point.ahead.entries)
        self._until = max(self.at, *map(ids.key, (self._next, *self._done)))
        self._on = self.at > 0

    def __bool__(self) -> bool:
        """Return whether entries behind the checkpoint may still come."""
        return self._on

    def counts_from(self, frame: Frame, there: int = 0, about: int = 0) -> int | None:
        """Return the byte from which a frame counts, or None if it lies behind the checkpoint.

        `there` bytes of it are on the timeline, `about` by its position alone. That is true to a sample, a
        checkpoint to the byte: a frame may begin in mid-sample.
        """
        if not self._on:
            return there
        if frame.entry in self._done or ids.key(frame.entry) < self.at:
            return None
        if frame.entry != self._next:
            return there
        near = abs(about - self._offset) < frame.format.width
        return self._offset if near else max(there, self._offset)

    def those_that_count(self, frames: list[Frame]) -> list[Frame]:
        """Return the frames that do not lie behind the checkpoint."""
        return [one for one in frames if self.counts_from(one) is not None]

    def is_next(self, frame: Frame) -> bool:
        """Return whether the silence before this frame is on the timeline already."""
        return self._on and frame.entry == self._next

    def is_news(self, frame: Frame) -> bool:
        """Return whether no part of a frame can lie behind the checkpoint."""
        return not self._on or ids.key(frame.entry) > self._until

    def over(self) -> None:
        """Note that every frame counts from now on, including those that wait."""
        self._on = False

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        at = ids.key(last)
        self.at, self._until = min(self.at, at), min(self._until, at)
        self._done = frozenset(entry for entry in self._done if ids.key(entry) <= at)
        if ids.key(self._next) > at:
            self._next = ""  # no entry

"""Where the audio on a timeline came from: which byte of which entry. A restart goes on from there.

Positions are bytes of the timeline. Entries nearly always come in the order of their audio. Where they do
not, a resume point has to name what is finalized of entries that follow one still needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId, key
from trio_asr.wire.resume_point import PAST_END, ResumePoint, after_all, without_order


class _Stretch(msgspec.Struct, gc=False):
    """A stretch of bytes on the timeline and the entry that it came from."""

    start: int
    end: int
    entry: EntryId
    offset: int  # of the byte at `start` within the entry's audio
    placed: bool = False  # by its position: whoever reads the entry again sees that it is dealt with


class Sources:
    """The sources of the audio that is not finalized, in the order of the timeline."""

    __slots__ = ("_done", "_newest", "_stretches", "_unread", "waiting")

    def __init__(self, point: ResumePoint, waiting: Callable[[], Sequence[Frame]] = tuple) -> None:
        self.waiting = waiting  # the frames received that wait for those before them
        # Where entries are not in the order of their ids: those finalized that have no position, the newest
        # of all, and the first not read again yet.
        self._done: list[EntryId] | None = None
        self._newest = point.entry
        self._unread: EntryId | None = None
        if point.ahead is not msgspec.UNSET:
            self._done, self._unread = list(point.ahead.entries), point.entry
            self._newest = max(point.ahead.entry, point.entry, *self._done, key=key)
        # Never empty: the last one says after which byte of which entry the timeline ends.
        self._stretches = deque([_Stretch(point.at, point.at, *point.next)])

    def __len__(self) -> int:
        return len(self._stretches)

    def find(self, position: int) -> tuple[EntryId, int, int]:
        """Return the entry at a position, the offset in it, and the position of that byte.

        The last differs from the first argument only where there is silence before the entry.
        """
        found = next((one for one in self._stretches if one.end > position), None)
        if found is None:
            tail = self._stretches[-1]
            return tail.entry, tail.offset + tail.end - tail.start, max(position, tail.end)
        if found.start <= position:
            return found.entry, found.offset + position - found.start, position
        return found.entry, found.offset, found.start

    def completed(self, point: ResumePoint, position: int) -> ResumePoint:
        """Complete the resume point of a position for entries that are not in the order of their ids."""
        if self._done is None:
            return point
        stretches = self._stretches
        # One without length may be what is left of an entry that was not read again yet.
        done = {one.entry for one in stretches if one.start < one.end <= position and not one.placed}
        done.update(self._done)
        needed = [one.entry for one in stretches if one.end > position]
        needed += [frame.entry for frame in self.waiting()]
        if self._unread is not None:
            needed.append(self._unread)
        done.difference_update(one.entry for one in stretches if one.end > position)
        # The entry of the point may wait itself, after a restart in the middle of it.
        if self._unread is None and stretches[-1].end <= position and point.entry not in needed:
            point = after_all(point, self._newest)
        return without_order(point, done, needed)

    # -- what happens to them --------------------------------------------------------------------------

    def add(self, start: int, end: int, entry: EntryId, offset: int, *, placed: bool = False) -> None:
        """Add the stretch that comes last: the audio of an entry from byte `offset` on."""
        stretch = _Stretch(start, end, entry, offset, placed)
        if self._done is not None:
            self._newest = max(self._newest, entry, key=key)
        if end == start == self._stretches[-1].start:
            self._stretches[-1] = stretch  # empty after empty, which may go on for hours
        else:
            self._stretches.append(stretch)

    def extend(self, end: int, frames: Sequence[Frame]) -> None:
        """Add the audio of several entries, none empty, from the position `end` on."""
        append = self._stretches.append
        for frame in frames:
            start, end = end, end + len(frame.pcm)
            append(_Stretch(start, end, frame.entry, 0, frame.position is not None))
        if self._done is not None:
            self._newest = max(self._newest, frames[-1].entry, key=key)

    def lengthen(self, size: int) -> None:
        """Note `size` more bytes that belong to the last stretch."""
        self._stretches[-1].end += size

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there.

        The audio of those entries cannot be read again; a restart resumes after `last`.
        """
        for one in self._stretches:
            if key(one.entry) > key(last):
                one.entry, one.offset = last, PAST_END
        if self._done is not None:
            self._done = [entry for entry in self._done if key(entry) <= key(last)]
            self._newest = min(self._newest, last, key=key)
        if self._unread is not None:
            self._unread = min(self._unread, last, key=key)

    def out_of_order(self) -> None:
        """Note that from now on entries may come in another order than their audio."""
        if self._done is None:
            self._done, self._newest = [], self._stretches[-1].entry

    def read_again(self) -> None:
        """Note that every entry named by the first resume point was read."""
        self._unread = None

    def finalized(self, position: int) -> None:
        """Drop the stretches below a position."""
        stretches = self._stretches
        while len(stretches) > 1 and stretches[0].end <= position:
            gone = stretches.popleft()
            if self._done is not None and gone.start < gone.end and not gone.placed:
                self._done.append(gone.entry)

    def settle(self, point: ResumePoint, position: int) -> None:
        """Keep no more about finalized entries than a restart must know; `point` is that of the position."""
        if self._done is None:
            return
        if point.ahead is not msgspec.UNSET:
            self._done = list(point.ahead.entries)
            return
        self._done = []
        if (end := self._stretches[-1].end) <= position:  # all are finalized: the newest has to be named
            self._stretches[-1] = _Stretch(end, end, point.entry, point.offset)
        ids = [key(one.entry) for one in self._stretches]
        if not self.waiting() and self._unread is None and ids == sorted(ids):
            self._done = None

"""What the producer's `seq` and `timestamp_ms` say about missing frames.

A *hole* is a small forward jump of `seq`, in step with `timestamp_ms`. Silence in place of that audio keeps
the times of everything after it true. Before that, `order` waits for the missing frames. Everything else (a
`seq` that restarts, two interleaved series, timestamps that make no sense) is a new series: its frames are
appended as they come, and nothing is filled.

A missing number leaves its place open, whether silence was put there or not. A frame with such a number is
late, whatever its time says. It takes back the silence that was put in its place: `_owed` counts the bytes by
which the call is ahead of its series, and the next hole is filled by that much less. So reordering never adds
up. Two interleaved series, whose frames are all behind each other's, fill nothing.

Where nothing is waited for, a short hole is not filled at once, because the frame after it may turn out to
be the missing one. Then two swapped frames are each one frame out of place, instead of one of them being two
frames out. If the missing frame does not come, the silence goes before the next frame, and only the frame in
between was early.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trio_asr.core.placed import Placed
from trio_asr.core.repeats import LATE_WINDOW
from trio_asr.wire.audio_format import Format
from trio_asr.wire.frames import Frame

SHORT_HOLE_MS = 25  # one frame of 20 ms; a longer one would put the frame after it too far from its time


class Series:
    """The follower of one call's `seq`, which knows how much silence stands for missing frames."""

    __slots__ = ("_due", "_last", "_max_fill_ms", "_open", "_owed", "late", "patient")

    def __init__(self, max_fill_ms: int) -> None:
        self.patient = False  # holes are waited for before they are filled
        self.late = False  # the last frame came after the silence that stands for it
        self._max_fill_ms = max_fill_ms
        self._last: Frame | None = None  # the frame with the highest seq of the series
        self._owed = 0  # bytes by which the appended audio runs ahead of the series
        self._due = 0  # bytes of silence that go before the next frame, unless that is the missing one
        self._open: dict[int, bool] = {}  # numbers that have not come, and whether silence stands for each

    def goes_on(self, frames: Sequence[Frame]) -> bool:
        """Return whether these frames continue the series: complete, in order, of its format, none empty.

        Those that say their position do not: that alone counts. Neither do those that say an impossible one.
        """
        last = self._last
        if last is None or last.seq is None or self._owed or self._due:
            return False
        seq, fmt = last.seq, last.format
        for frame in frames:  # that an equal format is another object only costs time
            seq += 1
            if frame.seq != seq or frame.format is not fmt or not frame.pcm:
                return False
            if frame.position is not None or frame.misplaced:
                return False
        return True

    def follow(self, frame: Frame) -> None:
        """Record the last of the frames that continue the series."""
        self._last = frame

    def restart(self, frame: Frame) -> int:
        """Begin a new series with a frame. Return the bytes of silence before it: none."""
        self._last = frame
        self._owed = self._due = 0
        self._open.clear()
        return 0

    def shorten(self, frame: Frame, size: int) -> None:
        """Note that the first `size` bytes of the last frame are no audio."""
        if self._last is frame:
            self._last = msgspec.structs.replace(frame, pcm=frame.pcm[size:])

    def opens_hole(self, frame: Frame) -> bool:
        """Return whether frames are missing before this one that are worth waiting for."""
        last = self._last
        if not self.patient or last is None or last.seq is None or frame.seq is None:
            return False
        return frame.seq > last.seq + 1 and self._is_hole(last, frame)

    def belongs(self, frame: Frame, before: Frame | None) -> bool:
        """Return whether a frame is in step with this series.

        It comes after `before`, which waits, or else after the last frame: directly, or behind a hole. Or it
        is late.
        """
        last = self._last if before is None else before
        if last is None or last.seq is None or frame.seq is None or frame.format != last.format:
            return False
        lost = frame.seq - last.seq - 1
        if lost > 0:
            return self._is_hole(last, frame)
        return lost == 0 or self._is_late(frame, lost) or (lost >= -LATE_WINDOW and _step(last, frame) > 0)

    def ahead(self, frame: Frame) -> int:
        """Return how many numbers lie between the last frame and this one (-1: it is not later)."""
        last = self._last
        if last is None or last.seq is None or frame.seq is None:
            return -1
        return max(-1, frame.seq - last.seq - 1)

    def waited_for(self, last: Frame, waiting: int) -> int:
        """Return how many frames are waited for if so many wait, of which one is the last."""
        return self.ahead(last) + 1 - waiting

    def place(self, frame: Frame) -> Placed:
        """Follow the next frame. Return where it goes."""
        silence = self.missing(frame)
        return Placed(frame, silence, len(frame.pcm) if self.late else 0)

    def missing(self, frame: Frame) -> int:  # noqa: PLR0911 - one for each way in which a frame may come
        """Follow the next frame. Return the bytes of silence to append before it.

        Bytes, not samples: frames of odd length would otherwise shift every sample after the hole.
        """
        last, seq = self._last, frame.seq
        self.late = False
        if last is None or last.seq is None or frame.format != last.format:
            return self.restart(frame)
        if seq is None:  # it may be one of those that are missing: what follows is measured by no time
            self._last = msgspec.structs.replace(last, timestamp_ms=None)
            return 0
        lost = seq - last.seq - 1
        if not (lost or self._owed or self._due):  # nearly always
            self._last = frame
            return 0
        if self._is_late(frame, lost):
            return self._take_late(seq, len(frame.pcm))
        size = _step(last, frame)
        hole = max(0, lost) * size
        if (lost and not size) or lost < -LATE_WINDOW or frame.format.ms(hole) > self._max_fill_ms:
            return self._jump(last.seq, seq, frame)
        if lost < 0:  # of another series, which fills no place of this one
            return 0
        self._last = frame
        self._leave_open(range(last.seq + 1, seq), filled=True)
        return self._fill(hole, frame.format)

    def _is_late(self, frame: Frame, lost: int) -> bool:
        """Return whether the place of a frame has been open for not too long."""
        return -LATE_WINDOW <= lost < 0 and frame.seq in self._open

    def _take_late(self, seq: int, size: int) -> int:
        """Take a late frame. Return the bytes of silence before it: none."""
        if self._open.pop(seq):
            found = min(self._due, size)
            self._due -= found
            self._owed += size - found
            self.late = found < size
        return 0

    def _jump(self, last: int, seq: int, frame: Frame) -> int:
        """Go on from a frame whose number tells nothing about time. What lies between may still come."""
        places = self._open.copy()
        self.restart(frame)
        if 0 < seq - last <= LATE_WINDOW:
            self._open.update(places)
            self._leave_open(range(last + 1, seq), filled=False)
        return 0

    def _leave_open(self, numbers: range, *, filled: bool) -> None:
        self._open.update(dict.fromkeys(numbers, filled))
        if len(self._open) > 2 * LATE_WINDOW:
            oldest = numbers.stop - LATE_WINDOW
            self._open = {number: stands for number, stands in self._open.items() if number >= oldest}

    def _is_hole(self, last: Frame, frame: Frame) -> bool:
        """Return whether the frames between these two are missing, for the moment or for good."""
        lost = (frame.seq or 0) - (last.seq or 0) - 1
        return (
            lost <= LATE_WINDOW
            and frame.format == last.format
            and 0 < frame.format.ms(lost * _step(last, frame)) <= self._max_fill_ms
        )

    def _fill(self, hole: int, fmt: Format) -> int:
        """Return the bytes of silence that go before the next frame, which follows a hole of `hole` bytes."""
        due, fill = self._due, max(0, hole - self._owed)
        self._owed = max(0, self._owed - hole)
        self._due = fill if not self.patient and fmt.ms(fill) <= SHORT_HOLE_MS else 0
        return due + fill - self._due


def _step(last: Frame, frame: Frame) -> int:
    """Return the bytes of a frame of the series that two frames of it are in step with; 0 if they are not.

    Either may be a shorter one, or without audio.
    """
    return next((size for size in (len(last.pcm), len(frame.pcm)) if size and _in_step(last, frame, size)), 0)


def _in_step(last: Frame, frame: Frame, size: int) -> bool:
    """Return whether the timestamps moved by as many frames as `seq` did, within half a frame."""
    if frame.timestamp_ms is None or last.timestamp_ms is None or frame.seq is None or last.seq is None:
        return False
    frame_ms = last.format.ms(size)
    expected = (frame.seq - last.seq) * frame_ms
    tolerance = max(frame_ms / 2, abs(expected) / 4 - frame_ms / 4)
    return abs(frame.timestamp_ms - last.timestamp_ms - expected) <= tolerance

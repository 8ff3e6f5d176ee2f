"""What an entry's `position` says: where its audio lies on the call's timeline, whatever `seq` and time say.

What lies below what was received is a repeat. What is missing before it is a hole, which `order` keeps open
for a while; then it becomes silence, or a void where it is too long for that. Audio that comes later still
is left out as a repeat is, and counted as late.

A frame begins on a whole sample. The exception is one that goes on in the middle of a sample, because the
frame before it ended there: it says that sample or the next one, and its size is no multiple of a sample's.
Where its audio cannot go on there, it is taken to begin on a whole sample, as any other. A part of a sample
alone is not waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from trio_asr.core.placed import Placed
from trio_asr.core.standstill import Standstill
from trio_asr.core.timeline import Timeline
from trio_asr.wire.frames import Frame

MOST_AHEAD_S = 3600  # a position further ahead than this is a mistake
FILLED = 16  # holes that were filled last, to tell a late frame from a repeat


class Placement:
    """The judge of where frames with a position belong on a call's timeline."""

    __slots__ = ("_filled", "_max_fill_ms", "_standstill", "_timeline", "patient")

    def __init__(self, timeline: Timeline, max_fill_ms: int) -> None:
        self.patient = False  # holes are waited for before they are filled
        self._timeline = timeline
        self._max_fill_ms = max_fill_ms
        self._filled: deque[tuple[int, int]] = deque(maxlen=FILLED)  # with silence or with a void
        self._standstill = Standstill()

    def possible(self, frame: Frame, *, is_news: bool) -> bool:
        """Return whether the position of a frame can be meant. By its number it is news, or known already."""
        if (frame.position or 0) > self._timeline.received + MOST_AHEAD_S * frame.format.rate:
            return False
        return not (is_news and frame.pcm and self._standstill.found(frame))

    def goes_on(self, frames: Sequence[Frame]) -> bool:
        """Return whether these frames continue the timeline: in order, of its format, in whole samples."""
        timeline = self._timeline
        fmt = timeline.segments.last.format
        width, end = fmt.width, fmt.width * timeline.received + timeline.rest
        for frame in frames:
            size, position = len(frame.pcm), frame.position
            # That an equal format is another object only costs time.
            if position is None or position * width != end or frame.format is not fmt or not size:
                return False
            end += size
        if end % width:
            return False
        self._standstill.moved(frames[-1])
        return True

    def opens_hole(self, frame: Frame) -> bool:
        """Return whether audio is missing before this frame that is worth waiting for."""
        return self.patient and self.ahead(frame) > 0

    def belongs(self, frame: Frame, before: Frame | None) -> bool:
        """Return whether a frame can be ordered among those that wait: any that has a position."""
        del before
        return frame.position is not None

    def ahead(self, frame: Frame) -> int:
        """Return how many whole samples are missing before a frame (0: none)."""
        if not frame.pcm or self._goes_on_inside(frame):
            return 0
        end, rest = self._end(frame)
        return max(0, (frame.position or 0) - end - (rest > 0))

    def waited_for(self, last: Frame, waiting: int) -> int:
        """Return how many frames are waited for: only the number of those that wait is bounded."""
        del last, waiting
        return 0

    def place(self, frame: Frame) -> Placed:
        """Return where a frame goes whose turn it is."""
        fmt, position, size = frame.format, frame.position or 0, len(frame.pcm)
        end, rest = self._end(frame)
        if not size or self._goes_on_inside(frame):
            return Placed(frame)
        if position > end:
            return self._behind_hole(frame, position - end, rest)
        there = about = (end - position) * fmt.width + rest
        if size % fmt.width and size - there < fmt.width:
            there = size  # it had gone on in mid-sample, and ends where the timeline does
        return Placed(frame, offset=there, late=self._late(frame), about=about)

    def _behind_hole(self, frame: Frame, hole: int, rest: int) -> Placed:
        """Fill the hole before a frame: `hole` samples, of the first of which `rest` bytes are there."""
        fmt, position, missing = frame.format, frame.position or 0, hole - (rest > 0)
        self._filled.append((position - missing, position))
        if fmt.ms(missing * fmt.width) > self._max_fill_ms:
            return Placed(frame, void=missing)
        return Placed(frame, silence=hole * fmt.width - rest)

    def _late(self, frame: Frame) -> int:
        """Return how many bytes of a frame belong where holes were filled."""
        width = frame.format.width
        begin = width * (frame.position or 0)
        end = begin + len(frame.pcm)
        return sum(max(0, min(end, width * until) - max(begin, width * at)) for at, until in self._filled)

    def _end(self, frame: Frame) -> tuple[int, int]:
        """Return the sample that would come next, and how many bytes of it there are."""
        timeline = self._timeline
        if rest := timeline.rest:
            if frame.format == timeline.segments.last.format:
                return timeline.received, rest
            return timeline.received + 1, 0  # it is completed before another format begins
        return timeline.received, 0

    def _goes_on_inside(self, frame: Frame) -> bool:
        """Return whether a frame goes on in the middle of a sample: only such a one is of an odd size."""
        end, rest = self._end(frame)
        return rest > 0 and frame.position in (end, end + 1) and len(frame.pcm) % frame.format.width > 0

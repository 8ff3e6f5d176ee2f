"""What the producer's `seq` and `timestamp_ms` say about frames that came twice or never.

Redis keeps the order of what was added, so nothing is ever reordered here. Two things are recognised:

* a *repeat* is an entry byte-identical to one of the call's last 256 (a producer's retried XADD);
* a *hole* is a small forward jump of `seq`, in step with `timestamp_ms`: that audio is missing for good, and
  silence in its place keeps the times of all that follows true.

Everything else (a `seq` that restarts, two interleaved series, timestamps that make no sense) is a new
series: its frames are appended as they come and nothing is filled.

Late frames take back the silence that was put in their place: `_owed` counts the bytes by which the call runs
ahead of its series, and the next hole is filled by that much less. So reordering never adds up, and two
interleaved series, whose frames all look late to each other, fill nothing.

A short hole is not filled at once: the frame after it may turn out to be the one that is missing, and two
frames swapped are then each a frame beside their place, instead of one of them two. Where it does not come,
the silence goes before the next frame, and only the one between was early.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from trio_asr.core.frames import Frame

REPEAT_WINDOW = 256
SHORT_HOLE_MS = 25  # one frame of 20 ms; a longer one would put the frame after it too far from its time
LATE_WINDOW = 64  # a frame this far behind is late; further behind, the series has restarted


class Repeats:
    """Recognises entries that are byte-identical to one of the last `REPEAT_WINDOW`."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._seen = array("q")  # some more than the window at times; objects would take five times the room
        self._highest = -(2**63)  # the highest seq so far: an entry with a higher one is no repeat

    @property
    def following(self) -> int:
        """The `seq` that would come next."""
        return self._highest + 1

    def is_repeat(self, seq: int, digest: int) -> bool:
        """Note an entry of this `seq` and 64-bit hash, and say whether it was there."""
        if seq > self._highest:
            self._highest = seq
        elif digest in self._seen[-REPEAT_WINDOW:]:
            return True
        self._note([digest])
        return False

    def teach(self, frames: Iterable[Frame]) -> None:
        """Note frames, whether they are repeats or not."""
        for frame in frames:
            if frame.seq is not None:
                self.is_repeat(frame.seq, frame.digest)

    def knows(self, frame: Frame) -> bool:
        """Say whether a frame is a repeat of what was noted, and note nothing."""
        if frame.seq is None or frame.seq > self._highest:
            return False
        return frame.digest in self._seen[-REPEAT_WINDOW:]

    def all_new(self, frames: Sequence[Frame]) -> bool:
        """Note frames of rising `seq` if none can be a repeat; if one can, note nothing and return False."""
        first, last = frames[0].seq, frames[-1].seq
        if first is None or last is None or first <= self._highest:
            return False
        self._highest = last
        self._note([frame.digest for frame in frames])
        return True

    def _note(self, digests: list[int]) -> None:
        self._seen.fromlist(digests)
        if len(self._seen) > 2 * REPEAT_WINDOW:
            del self._seen[:-REPEAT_WINDOW]


class Series:
    """Follows one call's `seq` and says how much silence stands for what is missing before a frame."""

    __slots__ = ("_due", "_last", "_max_fill_ms", "_owed")

    def __init__(self, max_fill_ms: int) -> None:
        self._max_fill_ms = max_fill_ms
        self._last: Frame | None = None  # the frame with the highest seq of the series
        self._owed = 0  # bytes by which the appended audio runs ahead of the series
        self._due = 0  # bytes of a short hole that go before the next frame, unless that is the missing one

    def goes_on(self, frames: Sequence[Frame]) -> bool:
        """Say whether these are just what comes next: all there, in order, of the same rate, none empty."""
        last = self._last
        if last is None or last.seq is None or self._owed or self._due:
            return False
        seq, rate = last.seq, last.sample_rate
        for frame in frames:
            seq += 1
            if frame.seq != seq or frame.sample_rate != rate or not frame.pcm:
                return False
        return True

    def follow(self, frame: Frame) -> None:
        """Note the last of the frames that go on."""
        self._last = frame

    def missing(self, frame: Frame) -> int:
        """Note the next frame and return the bytes of silence to append before it.

        Bytes, not samples: frames of odd length would otherwise shift every sample after the hole.
        """
        last, seq = self._last, frame.seq
        if last is None or seq is None or last.seq is None or frame.sample_rate != last.sample_rate:
            return self._restart(frame)
        lost = seq - last.seq - 1
        if not (lost or self._owed or self._due):  # nearly always
            self._last = frame
            return 0
        if lost < -LATE_WINDOW or (lost and not self._in_step(last, frame)):
            return self._restart(frame)
        if lost < 0:
            found = min(self._due, len(frame.pcm))
            self._due -= found
            self._owed += len(frame.pcm) - found
            return 0
        hole = lost * len(last.pcm)
        if hole * 500 > self._max_fill_ms * frame.sample_rate:  # bytes -> ms: / 2 / rate * 1000
            return self._restart(frame)
        self._last = frame
        return self._fill(hole, frame.sample_rate)

    def _fill(self, hole: int, rate: int) -> int:
        """Return the silence that goes before the next frame, which comes after a hole (of none at all)."""
        due, fill = self._due, max(0, hole - self._owed)
        self._owed = max(0, self._owed - hole)
        self._due = fill if fill * 500 <= SHORT_HOLE_MS * rate else 0
        return due + fill - self._due

    def _restart(self, frame: Frame) -> int:
        self._last = frame
        self._owed = self._due = 0
        return 0

    @staticmethod
    def _in_step(last: Frame, frame: Frame) -> bool:
        """Say whether the timestamps moved by as many frames as `seq` did, give or take half a frame."""
        if frame.timestamp_ms is None or last.timestamp_ms is None or frame.seq is None or last.seq is None:
            return False
        frame_ms = len(last.pcm) * 500 / last.sample_rate
        expected = (frame.seq - last.seq) * frame_ms
        tolerance = max(frame_ms / 2, abs(expected) / 4 - frame_ms / 4)
        return abs(frame.timestamp_ms - last.timestamp_ms - expected) <= tolerance

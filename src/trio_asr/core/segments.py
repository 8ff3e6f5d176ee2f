"""The segments of a call's axis: which format its audio has where, and what a sample is in bytes and in time.

Audio may change its format in mid-call. So the axis is cut into segments of one format each, and time is the
sum over segments. A *void* is a stretch that never came: it has time and samples, but no bytes. It lies
before a segment.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from trio_asr.wire.audio_format import NO_FORMAT, Format


class Segment(NamedTuple):
    """A stretch of one format, from sample `start` at byte `at` and time `start_us` to the next segment.

    The `void` samples before it never came; `voids_us` is the time of all voids before it.
    """

    start: int
    at: int
    format: Format
    start_us: int
    void: int = 0
    voids_us: int = 0

    def us(self, sample: int) -> int:
        """Return the time of `sample`, in microseconds since the call began."""
        return self.start_us + (sample - self.start) * 1_000_000 // (self.format.rate or 1)

    def position(self, sample: int) -> int:
        """Return the position of the first byte of `sample`."""
        return self.at + (sample - self.start) * self.format.width

    def sample(self, position: int) -> int:
        """Return the sample in which the byte at `position` lies."""
        return self.start + (position - self.at) // self.format.width


class Segments:
    """The segments of one call, in order; never none. `last` is the one that audio is appended to."""

    __slots__ = ("_all", "last")

    def __init__(self, first: Segment) -> None:
        self.last = first
        self._all = [first]

    def __len__(self) -> int:
        return len(self._all)

    @property
    def one(self) -> bool:
        """Whether there is only one: nearly always."""
        return len(self._all) == 1

    def at(self, sample: int) -> Segment:
        """Return the segment in force at `sample`; a sample on a border belongs to the later one."""
        if len(self._all) == 1:
            return self.last
        return self._all[max(0, self._following(sample) - 1)]

    def after(self, sample: int) -> Segment | None:
        """Return the segment that follows the one at `sample`, if there is one."""
        if len(self._all) == 1:
            return None
        following = self._following(sample)
        return self._all[following] if following < len(self._all) else None

    def _following(self, sample: int) -> int:
        """Return the index of the segment that follows the one at `sample`."""
        # Of a producer that gets its positions wrong there may be thousands, and each entry asks for this.
        return bisect_right(self._all, sample, key=_start)

    def stops(self, start: int, end: int) -> list[int]:
        """Return where a stretch has to be cut so that nothing spans two formats, one of several channels.

        Nor is audio in one piece with a void. The last one is its end.
        """
        borders = list[int]()
        for before, after in pairwise(self._all):
            if after.void:
                borders += [after.start - after.void, after.start]
            elif before.format != after.format and max(before.format.channels, after.format.channels) > 1:
                borders.append(after.start)
        return [*(sample for sample in borders if start < sample < end), end]

    def position(self, sample: int) -> int:
        """Return the position of the first byte of `sample`; in a void, that of the first byte behind it."""
        position = self.at(sample).position(sample)
        following = self.after(sample)
        return position if following is None else min(position, following.at)

    def us(self, sample: int) -> int:
        """Return the time of `sample`, in microseconds since the call began."""
        return self.at(sample).us(sample)

    def seconds(self, start: int, end: int) -> float:
        """Return the duration of a stretch, in seconds."""
        if end <= start:
            return 0.0
        if len(self._all) == 1:
            rate = self.last.format.rate
            return (end - start) / rate if rate else 0.0
        return (self.us(end) - self.us(start)) / 1_000_000

    def void_s(self, start: int, end: int) -> float:
        """Return how much of a stretch never came, in seconds."""
        return max(0, self._voids_us(end) - self._voids_us(start)) / 1_000_000

    def _voids_us(self, sample: int) -> int:
        """Return the time of all voids before `sample`, in microseconds."""
        us, following = self.at(sample).voids_us, self.after(sample)
        if following is not None and (begin := following.start - following.void) < sample:
            us += self.us(sample) - self.us(begin)
        return us

    def void_end(self, sample: int) -> int:
        """Return where the void ends in which `sample` lies (0: in none)."""
        following = self.after(sample)
        return 0 if following is None or sample < following.start - following.void else following.start

    def later(self, sample: int, seconds: float) -> int:
        """Return the sample that lies so many seconds of audio after this one, not counting voids."""
        while (following := self.after(sample)) is not None:
            until = following.start - following.void
            if (audio_s := self.seconds(sample, until)) > seconds:
                break
            sample, seconds = following.start, seconds - audio_s
        return sample + round(seconds * self.at(sample).format.rate)

    def begin(self, fmt: Format, sample: int, position: int, void: int = 0) -> None:
        """Begin another segment at `sample`, whose first byte will be at `position`."""
        last, us = self.last, self.last.us(sample)
        voids_us = last.voids_us + us - last.us(sample - void)
        self.last = Segment(sample, position, fmt, us, void, voids_us)
        if last.start == sample:
            self.last = self.last._replace(start_us=last.start_us, void=last.void)
            self._all[-1] = self.last
        else:
            self._all.append(self.last)

    def forget(self, sample: int) -> None:
        """Drop the segments long before `sample`.

        The one before it stays: an utterance may be reported after its audio.
        """
        while len(self._all) > 2 and self._all[2].start <= sample:
            del self._all[0]


def nothing_yet() -> Segment:
    """Return the segment of a call that has had no audio."""
    return Segment(0, 0, NO_FORMAT, 0)


def _start(one: Segment) -> int:
    return one.start

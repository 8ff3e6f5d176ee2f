"""Frames that came twice, recognised by their `seq` and their audio.

A *repeat* has the `seq` and the audio of one of the call's last 256 frames. Its time may differ, because two
recorders of one call have a clock each. Silence looks alike. So a frame of one value only is a repeat if its
time is the same, too, or while a *twin* has been shown: five frames with sound in a row that came again,
equally far behind.

A `seq` that two different frames have carried identifies nothing. If the reason is that the series has
started over, the old series is forgotten. Otherwise, or if it happens again within the window, all numbers
of this series are distrusted (`void`) until the window is full of rising ones.

Before that is known, silence under a `seq` that is constant, or wraps around, looks like one frame repeated.
So the last frames left out are kept while all have the same audio. They are given back once it is known
better: because of another frame with such a `seq`, or because nobody sends the same frame so many times.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from trio_asr.wire.frames import LATEST_MS, Frame

REPEAT_WINDOW = 256
LATE_WINDOW = 64  # frames: one this far behind is late; further behind, the series has started over
# The most repeats in a row of one frame: beyond, each is a frame of its own. Equal times make it surer.
MOST_ALIKE, MOST_ALIKE_TIMED = 8, 32
TWIN_SHOWN = 5  # repeats in a row, equally far behind, show that everything comes twice
TWIN_JITTER = 2  # frames by which a twin may come nearer or further each time
_SLACK = REPEAT_WINDOW  # frames recorded beyond the window before it is cut
_NONE = -1


class Repeats:
    """The recogniser of repeats among one call's frames."""

    __slots__ = ("_alike", "_anew", "_digests", "_highest", "_lag", "_rising", "_runs", "_shown")

    def __init__(self) -> None:
        # Of the last frames, at times more than the window. Objects would take five times the memory.
        self._digests = array("q")
        # Their numbers, as runs (index, seq): from that index on, each frame has the next number.
        self._runs: list[tuple[int, int]] = []
        self._highest = -(2**63)  # the highest seq so far: a frame with a higher one is no repeat
        self._rising = 0  # frames of rising seq still to come before numbers are trusted again
        self._anew = False  # the recorded series started over with numbers that another one had
        self._lag = self._shown = 0  # how far behind the last repeats came, and how many they were
        self._alike: list[Frame] = []  # repeats that are left out for now, all with the same audio

    @property
    def void(self) -> bool:
        """Whether numbers identify nothing at present."""
        return self._rising > 0

    @property
    def following(self) -> int:
        """The `seq` that would come next."""
        return self._highest + 1

    def news(self, frame: Frame) -> list[Frame]:
        """Record a frame. Return the frames to take: itself, none, or also those left out before it."""
        seq = frame.seq
        if seq is None:
            return [frame]
        if self._rising:
            self._rising = self._rising - 1 if seq > self._highest else REPEAT_WINDOW
            self._highest = seq
            self._note(seq, frame)
            return [frame]
        if seq > self._highest:
            self._highest = seq
            self._alike = []
            self._note(seq, frame)
            return [frame]
        at = self._find(seq)
        same = at != _NONE and self._sounds_same(at, frame)
        if at == _NONE or (same and not self._is_same(at, frame)):
            self._shown = 0
            self._alike = []
            self._note(seq, frame)
            return [frame]
        return self._repeated(seq, at, frame) if same else self._contradicted(seq, frame)

    def is_repeat(self, frame: Frame) -> bool:
        """Record a frame. Return whether it is left out."""
        return not self.news(frame)

    def drop_left_out(self) -> None:
        """Drop the frames that were left out: they were repeats."""
        self._alike = []

    def teach(self, frames: Sequence[Frame]) -> None:
        """Record frames, whether they are repeats or not."""
        first = frames[0].seq if frames else None
        in_order = first is not None and all(frame.seq == seq for seq, frame in enumerate(frames, first))
        if in_order and self.all_new(frames):  # nearly always
            return
        for frame in frames:
            self.news(frame)

    def knows(self, frame: Frame) -> bool:
        """Return whether a frame is a repeat of a recorded one. Record nothing."""
        if frame.seq is None or self._rising or frame.seq > self._highest:
            return False
        at = self._find(frame.seq)
        return at != _NONE and self._sounds_same(at, frame) and self._is_same(at, frame)

    def all_new(self, frames: Sequence[Frame]) -> bool:
        """Record frames of consecutive `seq` if none can be a repeat. Else do nothing and return False."""
        first, last = frames[0].seq, frames[-1].seq
        if first is None or last is None or first <= self._highest or self._rising:
            return False
        self._go_on(first)
        self._highest = last
        if self._alike:
            self._alike = []
        self._digests.fromlist([frame.digest for frame in frames])
        if len(self._digests) > REPEAT_WINDOW + _SLACK:
            self._cut()
        return True

    def _note(self, seq: int, frame: Frame) -> None:
        self._go_on(seq)
        self._digests.append(frame.digest)
        if len(self._digests) > REPEAT_WINDOW + _SLACK:
            self._cut()

    def _go_on(self, seq: int) -> None:
        """Give the next recorded frame this number."""
        runs, at = self._runs, len(self._digests)
        if not runs or seq - runs[-1][1] != at - runs[-1][0]:
            runs.append((at, seq))

    def _cut(self) -> None:
        cut = len(self._digests) - REPEAT_WINDOW
        del self._digests[:cut]
        ends = [*(at for at, _ in self._runs[1:]), cut + REPEAT_WINDOW]
        self._runs = [(at - cut, seq) for (at, seq), end in zip(self._runs, ends, strict=True) if end > cut]

    def _find(self, seq: int) -> int:
        """Return the index of the last recorded frame with this `seq`, or `_NONE`."""
        end, oldest = len(self._digests), len(self._digests) - REPEAT_WINDOW
        for begin, first in reversed(self._runs):
            at = begin + seq - first
            if begin <= at < end:
                return at if at >= oldest else _NONE
            end = begin
        return _NONE

    def _sounds_same(self, at: int, frame: Frame) -> bool:
        """Return whether a frame has the audio of the one recorded at `at`.

        If so, the recorded digest XOR the frame's audio hash is a time. A frame with other audio looks like
        that once in two million.
        """
        return abs(self._digests[at] ^ _audio(frame)) < LATEST_MS

    def _is_same(self, at: int, frame: Frame) -> bool:
        """Return whether a frame is the one recorded at `at`, whose number and audio it has."""
        if self._digests[at] == frame.digest or not is_of_one_value(frame.pcm, frame.format.width):
            return True
        return self._shown >= TWIN_SHOWN and self._is_twin(frame)

    def _is_twin(self, frame: Frame) -> bool:
        return frame.seq is not None and abs(self._highest - frame.seq - self._lag) <= TWIN_JITTER

    def _repeated(self, seq: int, at: int, frame: Frame) -> list[Frame]:
        """Leave a repeat out, unless it is one too many of the same."""
        is_same = self._digests[at] == frame.digest
        is_twin = self._is_twin(frame)
        if not is_of_one_value(frame.pcm, frame.format.width):
            self._shown = self._shown + 1 if is_twin else 1
            self._lag = self._highest - seq
        elif is_twin:
            self._lag = self._highest - seq
        alike = self._alike
        # A frame that differs from the one before in audio or time does not stand for it.
        if alike and (_audio(alike[-1]) != _audio(frame) or self._tells_apart(alike[-1], frame)):
            alike.clear()
        alike.append(frame)
        if len(alike) <= (MOST_ALIKE if frame.timestamp_ms is None or not is_same else MOST_ALIKE_TIMED):
            return []
        return self._distrust_numbers()

    @staticmethod
    def _tells_apart(before: Frame, frame: Frame) -> bool:
        return before.seq != frame.seq and before.timestamp_ms != frame.timestamp_ms

    def _distrust_numbers(self) -> list[Frame]:
        """Distrust all numbers from now on. Return the frames that were left out because of one."""
        found, self._alike = self._alike, []
        self._rising = REPEAT_WINDOW
        self._forget()
        for frame in found:
            if frame.seq is not None:
                self._highest = frame.seq
                self._note(frame.seq, frame)
        return found

    def _contradicted(self, seq: int, frame: Frame) -> list[Frame]:
        """Take a frame whose number another one has: the series has started over, or numbers say nothing."""
        begun = seq < self._highest - LATE_WINDOW or (seq in (0, 1) and seq < self._highest)
        known = self._anew and len(self._digests) < REPEAT_WINDOW
        before = self._alike[-1].seq if self._alike else None
        if before is None or not 0 <= seq - before <= 1:
            self._alike = []  # their numbers do not lead up to this one
        self._alike.append(frame)
        if not begun or known:
            return self._distrust_numbers()
        found, self._alike = self._alike, []
        self._forget()
        self._anew = True
        for one in found:
            if one.seq is not None:
                self._note(one.seq, one)
        self._highest = seq
        return found

    def _forget(self) -> None:
        del self._digests[:], self._runs[:]
        self._lag = self._shown = 0
        self._anew = False


def _audio(frame: Frame) -> int:
    """Return the hash of a frame's audio alone."""
    return frame.digest if frame.timestamp_ms is None else frame.digest ^ frame.timestamp_ms


def is_of_one_value(pcm: bytes, width: int = 2) -> bool:
    """Return whether all samples, of `width` bytes, are the same: digital silence identifies no frame."""
    return pcm[width:] == pcm[:-width]

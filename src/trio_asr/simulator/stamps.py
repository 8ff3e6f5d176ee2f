"""Position-stamped audio: samples that say where, and in which call, they belong.

There are two formats, by bytes a sample: `stamps16` for linear16, `stamps8` for mu-law and A-law. A call with
several channels has a number for each of them.

Reading needs an anchor, two whole blocks in a row, which any `window(width)` consecutive samples contain.
From there a run is followed by comparing with the expected samples. A stretch too short for an anchor is in
no run, unless it continues one. Speech or noise would have to match 16 + 28 + 42 bits (88 in 8-bit samples)
to be taken for an anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from trio_asr.simulator import stamps8, stamps16

_PIECE: Final = 4096  # samples compared at once: a run that breaks soon need not be generated to its end


class _Code(Protocol):
    """A format, which is a module: the samples of a call, and what a block of them says."""

    BLOCK: int
    MAX_CALL: int
    MAX_SAMPLES: int

    def samples(self, call: int, start: int, n: int) -> bytes: ...

    def phases(self, audio: bytes) -> bytes: ...

    def place(self, block: bytes) -> tuple[int, int]: ...


_CODES: Final[dict[int, _Code]] = {1: stamps8, 2: stamps16}


def window(width: int = 2) -> int:
    """Return how many consecutive samples are always recognised."""
    return 3 * _CODES[width].BLOCK - 1


def stamp(call: int, start_sample: int, n: int, width: int = 2) -> bytes:
    """Return `n` samples (`width * n` bytes) of `call` from `start_sample` on.

    Any start and length will do. `width` is 2 for linear16, 1 for mu-law and A-law.

    Raises:
        ValueError: The format cannot hold the call or the position.
    """
    code = _CODES[width]
    if not 0 <= call <= code.MAX_CALL:
        raise ValueError(f"call {call} is not in 0..{code.MAX_CALL}")
    if start_sample < 0 or n < 0 or start_sample + n > code.MAX_SAMPLES:
        raise ValueError(f"{n} samples from {start_sample} are not in 0..{code.MAX_SAMPLES}")
    return code.samples(call, start_sample, n) if n else b""


@dataclass(slots=True)
class Run:
    """Samples `first` to `last` (exclusive) of `call`, found from sample `at` of what was read."""

    at: int
    call: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """The end of the run in what was read, exclusive."""
        return self.at + self.last - self.first


class Reader:
    """A reader of stamped audio, piece by piece; where it was split does not matter.

    `runs` holds what was found so far, in order; the last one may still grow. `forget` bounds it.
    """

    def __init__(self, width: int = 2) -> None:
        self.runs: list[Run] = []
        self._width = width
        self._code = _CODES[width]
        self._anchor = bytes(range(self._code.BLOCK)) * 2
        self._heard = 0
        self._tail = b""  # the end of what was heard, if in no run yet but maybe part of one to come
        self._open = False  # whether the last run reaches the end of what was heard

    def feed(self, audio: bytes) -> None:
        """Read on: whole samples; an odd last byte of 16-bit audio is ignored."""
        count = len(audio) // self._width
        self._heard += count
        audio = audio[: self._width * count]
        if self._open:
            run = self.runs[-1]
            matched = self._matching(run.call, run.last, audio)
            run.last += matched
            if matched == count:
                return
            audio = audio[self._width * matched :]
        self._scan(self._tail + audio)

    @property
    def undecided(self) -> int:
        """How many samples at the end of what was read are in no run, but maybe in one to come."""
        return len(self._tail) // self._width

    def forget(self, before: int) -> None:
        """Drop the runs that end at or before this sample of what was read; one that still grows stays."""
        keep = next((i for i, run in enumerate(self.runs) if run.end > before), len(self.runs))
        del self.runs[: min(keep, len(self.runs) - 1) if self._open else keep]

    def _scan(self, audio: bytes) -> None:
        """Find the runs of `audio`, which ends at the reader's position and is in no run yet."""
        width, count = self._width, len(audio) // self._width
        base = self._heard - count
        phases = self._code.phases(audio)
        free = look = 0
        while (anchor := phases.find(self._anchor, look)) >= 0:
            found = self._decode(audio[width * anchor : width * (anchor + len(self._anchor))])
            if found is None:
                look = anchor + 1
                continue
            call, position = found
            before = self._matching_before(call, position, audio[width * free : width * anchor])
            after = self._matching(call, position, audio[width * anchor :])
            free = look = anchor + after
            self.runs.append(Run(base + anchor - before, call, position - before, position + after))
        self._open = free == count and bool(self.runs) and count > 0
        self._tail = b"" if self._open else audio[width * max(free, count - window(width) + 1) :]

    def _decode(self, anchor: bytes) -> tuple[int, int] | None:
        """Return `(call, position)` of what may be an anchor, or None if it is none."""
        call, position = self._code.place(anchor[: len(anchor) // 2])
        count = len(self._anchor)
        if position + count > self._code.MAX_SAMPLES:
            return None
        return (call, position) if anchor == self._code.samples(call, position, count) else None

    def _matching(self, call: int, first: int, audio: bytes) -> int:
        """Return how many samples at the start of `audio` are those of `call` from `first` on."""
        width = self._width
        count = min(len(audio) // width, self._code.MAX_SAMPLES - first)
        done = 0
        while done < count:
            size = min(_PIECE, count - done)
            want = self._code.samples(call, first + done, size)
            have = audio[width * done : width * (done + size)]
            if want != have:
                return done + _common(want, have) // width
            done += size
        return done

    def _matching_before(self, call: int, first: int, audio: bytes) -> int:
        """Return how many samples at the end of `audio` are those of `call` up to `first`.

        There are fewer than an anchor's window.
        """
        width = self._width
        count = min(len(audio) // width, first, window(width))
        want, have = stamp(call, first - count, count, width), audio[len(audio) - width * count :]
        matched = 0
        while matched < count and want[-width:] == have[-width:]:
            want, have, matched = want[:-width], have[:-width], matched + 1
        return matched


def read(audio: bytes, width: int = 2) -> list[tuple[int, int, int]]:
    """Return the runs in audio of one channel, in order: `(call, first_sample, last_sample_exclusive)`.

    Samples without a stamp are in no run. A cut, a repeat or a swap of calls shows as the end of one run and
    the start of the next at exactly those samples (`stamps8` says how exactly in 8 bits).
    """
    reader = Reader(width)
    reader.feed(audio)
    return [(run.call, run.first, run.last) for run in reader.runs]


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes two different strings of equal length share at their start, by bisection."""
    low, high = 0, len(one)
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low

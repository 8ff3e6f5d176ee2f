"""Position-stamped audio: linear16 samples that say where, and in which call, they belong.

The format. Four samples are a block, and blocks are counted from the start of their call: sample `p` of a
call is sample `p % 4` of block `p // 4`. The two top bits of each (unsigned, little-endian) sample are its
place in the block, 0 to 3. The other fourteen are `1 + v`, where `v` is linear modulo the prime P = 16381 in

* `lo`, the block's index modulo P,
* `hi`, its index divided by P (so that a call may last `4 * P * P` samples, 37 hours at 8 kHz),
* `call`, the call's number, below P.

Three values give the three unknowns, the fourth is a check. No coefficient is zero. So samples at different
places of a call all differ, unless the places are a multiple of `4 * P` apart (8.2 s at 8 kHz): a cut in
mid-block is seen at the exact sample. No sample is zero: digital silence is never taken for a stamp.

Reading needs an anchor, two whole blocks in a row, which any 11 consecutive samples contain. From there a run
is followed by comparing with the expected samples. A stretch too short for an anchor is in no run, unless it
continues one. Speech or noise would have to match 16 + 28 + 42 bits to be taken for an anchor.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from typing import Final

_P: Final = 16381
MAX_CALL: Final = _P - 1
MAX_SAMPLES: Final = 4 * _P * _P
#: Any window of this many consecutive samples is recognised.
ANCHOR_WINDOW: Final = 11

_BITS: Final = 14
_MASK: Final = (1 << _BITS) - 1
_BLOCK: Final = 4
_ANCHOR: Final = b"\0\1\2\3" * 2
_PIECE: Final = 4096  # samples compared at once: a run that breaks soon need not be generated to its end

# Coefficients of (lo, hi, call) for each of a block's samples. Their size keeps everyday distances (a frame,
# a second, the next call's number) from cancelling out.
_LO: Final = (1, 5741, 9973, 12345)
_HI: Final = (7358, 6131, 4422, 8219)
_CALL: Final = (10734, 3118, 15121, 2603)
_INV_LO: Final = tuple(pow(a, -1, _P) for a in _LO)

_SWAP: Final = sys.byteorder == "big"
_PHASE_OF: Final = bytes(high >> 6 for high in range(256))


def _table(phase: int) -> array[int]:
    """Return the sample values of one place in the block for `lo` from 0, twice around."""
    step, tag = _LO[phase], phase << _BITS
    return array("H", (tag | 1 + step * lo % _P for lo in range(2 * _P)))


_TABLES: Final = tuple(_table(phase) for phase in range(_BLOCK))


def _solve() -> tuple[int, int, int, int]:
    """Return the inverse of rows 1 and 2 once `lo` is eliminated by row 0: a 2x2 matrix modulo P."""
    b1, c1 = _HI[1] - _LO[1] * _HI[0], _CALL[1] - _LO[1] * _CALL[0]
    b2, c2 = _HI[2] - _LO[2] * _HI[0], _CALL[2] - _LO[2] * _CALL[0]
    inv = pow(b1 * c2 - c1 * b2, -1, _P)
    return c2 * inv % _P, -c1 * inv % _P, -b2 * inv % _P, b1 * inv % _P


_SOLVE: Final = _solve()


def stamp(call: int, start_sample: int, n: int) -> bytes:
    """Return `n` linear16 samples (`2 * n` bytes) of `call` from `start_sample` on.

    Any start and length will do.

    Raises:
        ValueError: The format cannot hold the call or the position.
    """
    if not 0 <= call <= MAX_CALL:
        raise ValueError(f"call {call} is not in 0..{MAX_CALL}")
    if start_sample < 0 or n < 0 or start_sample + n > MAX_SAMPLES:
        raise ValueError(f"{n} samples from {start_sample} are not in 0..{MAX_SAMPLES}")
    if not n:
        return b""
    index, last = start_sample // _BLOCK, (start_sample + n - 1) // _BLOCK
    out = bytearray()
    while index <= last:
        hi, lo = divmod(index, _P)
        count = min(last - index + 1, _P - lo)
        out += _blocks(call, hi, lo, count)
        index += count
    skip = 2 * (start_sample % _BLOCK)
    return bytes(out[skip : skip + 2 * n])


def _blocks(call: int, hi: int, lo: int, count: int) -> bytes:
    """Return whole blocks with the same `hi`.

    Each place of the block is a slice of its table, shifted by the constant part.
    """
    samples = array("H", bytes(2 * _BLOCK * count))
    for phase in range(_BLOCK):
        constant = _HI[phase] * hi + _CALL[phase] * call
        at = (lo + constant * _INV_LO[phase]) % _P
        samples[phase::_BLOCK] = _TABLES[phase][at : at + count]
    if _SWAP:
        samples.byteswap()
    return samples.tobytes()


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

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._heard = 0
        self._tail = b""  # the end of what was heard, if in no run yet but maybe part of one to come
        self._open = False  # whether the last run reaches the end of what was heard

    def feed(self, pcm: bytes) -> None:
        """Read on: whole linear16 samples; an odd last byte is ignored."""
        count = len(pcm) // 2
        self._heard += count
        if self._open:
            run = self.runs[-1]
            matched = _matching(run.call, run.last, pcm)
            run.last += matched
            if matched == count:
                return
            pcm = pcm[2 * matched :]
        self._scan((self._tail + pcm)[: 2 * (len(self._tail) // 2 + len(pcm) // 2)])

    def forget(self, before: int) -> None:
        """Drop the runs that end at or before this sample of what was read; one that still grows stays."""
        keep = next((i for i, run in enumerate(self.runs) if run.end > before), len(self.runs))
        del self.runs[: min(keep, len(self.runs) - 1) if self._open else keep]

    def _scan(self, window: bytes) -> None:
        """Find the runs of `window`, which ends at the reader's position and is in no run yet."""
        base, count = self._heard - len(window) // 2, len(window) // 2
        phases = window[1::2].translate(_PHASE_OF)
        free = look = 0
        while (anchor := phases.find(_ANCHOR, look)) >= 0:
            found = _decode(window, anchor)
            if found is None:
                look = anchor + 1
                continue
            call, position = found
            before = _matching_before(call, position, window[2 * free : 2 * anchor])
            after = _matching(call, position, window[2 * anchor :])
            free = look = anchor + after
            self.runs.append(Run(base + anchor - before, call, position - before, position + after))
        self._open = free == count and bool(self.runs) and count > 0
        self._tail = b"" if self._open else window[2 * max(free, count - ANCHOR_WINDOW + 1) :]


def read(pcm: bytes) -> list[tuple[int, int, int]]:
    """Return the runs in linear16 audio, in order: `(call, first_sample, last_sample_exclusive)`.

    Samples without a stamp are in no run. A cut, a repeat or a swap of calls shows as the end of one run and
    the start of the next at exactly those samples.
    """
    reader = Reader()
    reader.feed(pcm)
    return [(run.call, run.first, run.last) for run in reader.runs]


def _decode(window: bytes, at: int) -> tuple[int, int] | None:
    """Return `(call, position)` of the anchor at sample `at` of `window`, or None if there is none."""
    tagged = (int.from_bytes(window[i : i + 2], "little") for i in range(2 * at, 2 * at + 6, 2))
    v0, v1, v2 = ((value & _MASK) - 1 for value in tagged)
    r1, r2 = v1 - _LO[1] * v0, v2 - _LO[2] * v0
    m00, m01, m10, m11 = _SOLVE
    hi, call = (m00 * r1 + m01 * r2) % _P, (m10 * r1 + m11 * r2) % _P
    lo = (v0 - _HI[0] * hi - _CALL[0] * call) % _P
    position = _BLOCK * (hi * _P + lo)
    if position + len(_ANCHOR) > MAX_SAMPLES:
        return None
    anchor = window[2 * at : 2 * at + 2 * len(_ANCHOR)]
    return (call, position) if anchor == stamp(call, position, len(_ANCHOR)) else None


def _matching(call: int, first: int, pcm: bytes) -> int:
    """Return how many samples at the start of `pcm` are those of `call` from `first` on."""
    count = min(len(pcm) // 2, MAX_SAMPLES - first)
    done = 0
    while done < count:
        size = min(_PIECE, count - done)
        want, have = stamp(call, first + done, size), pcm[2 * done : 2 * (done + size)]
        if want != have:
            return done + _common(want, have)
        done += size
    return done


def _common(one: bytes, other: bytes) -> int:
    """Return how many samples two different strings of equal length share at their start, by bisection."""
    low, high = 0, len(one) // 2
    while high - low > 1:
        middle = (low + high) // 2
        if one[2 * low : 2 * middle] == other[2 * low : 2 * middle]:
            low = middle
        else:
            high = middle
    return low


def _matching_before(call: int, first: int, pcm: bytes) -> int:
    """Return how many samples at the end of `pcm` are those of `call` up to `first`.

    There are fewer than an anchor's window.
    """
    count = min(len(pcm) // 2, first, ANCHOR_WINDOW)
    want, have = stamp(call, first - count, count), pcm[len(pcm) - 2 * count :]
    matched = 0
    while matched < count and want[-2:] == have[-2:]:
        want, have, matched = want[:-2], have[:-2], matched + 1
    return matched

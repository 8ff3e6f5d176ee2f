"""Position stamps in 16 bits: linear16 samples that name their place and their call.

Four samples are a block, and blocks are counted from the start of their call: sample `p` of a call is sample
`p % 4` of block `p // 4`. The two top bits of each (unsigned, little-endian) sample are its place in the
block, 0 to 3. The other fourteen are `1 + v`, where `v` is linear modulo the prime P = 16381 in

* `lo`, the block's index modulo P,
* `hi`, its index divided by P (so that a call may last `4 * P * P` samples, 37 hours at 8 kHz),
* `call`, the call's number, below P.

Three values give the three unknowns, the fourth is a check. No coefficient is zero. So samples at different
places of a call all differ, unless the places are a multiple of `4 * P` apart (8.2 s at 8 kHz): a cut in
mid-block is seen at the exact sample. No sample is zero: digital silence is never taken for a stamp.
"""

from __future__ import annotations

import sys
from array import array
from typing import Final

_P: Final = 16381
BLOCK: int = 4
MAX_CALL: int = _P - 1
MAX_SAMPLES: int = 4 * _P * _P

_BITS: Final = 14
_MASK: Final = (1 << _BITS) - 1

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


_TABLES: Final = tuple(_table(phase) for phase in range(BLOCK))


def _solve() -> tuple[int, int, int, int]:
    """Return the inverse of rows 1 and 2 once `lo` is eliminated by row 0: a 2x2 matrix modulo P."""
    b1, c1 = _HI[1] - _LO[1] * _HI[0], _CALL[1] - _LO[1] * _CALL[0]
    b2, c2 = _HI[2] - _LO[2] * _HI[0], _CALL[2] - _LO[2] * _CALL[0]
    inv = pow(b1 * c2 - c1 * b2, -1, _P)
    return c2 * inv % _P, -c1 * inv % _P, -b2 * inv % _P, b1 * inv % _P


_SOLVE: Final = _solve()


def samples(call: int, start: int, n: int) -> bytes:
    """Return `n` samples (`2 * n` bytes) of `call` from `start` on, which the format must be able to hold."""
    index, last = start // BLOCK, (start + n - 1) // BLOCK
    out = bytearray()
    while index <= last:
        hi, lo = divmod(index, _P)
        count = min(last - index + 1, _P - lo)
        out += _blocks(call, hi, lo, count)
        index += count
    skip = 2 * (start % BLOCK)
    return bytes(out[skip : skip + 2 * n])


def _blocks(call: int, hi: int, lo: int, count: int) -> bytes:
    """Return whole blocks with the same `hi`.

    Each place of the block is a slice of its table, shifted by the constant part.
    """
    out = array("H", bytes(2 * BLOCK * count))
    for phase in range(BLOCK):
        constant = _HI[phase] * hi + _CALL[phase] * call
        at = (lo + constant * _INV_LO[phase]) % _P
        out[phase::BLOCK] = _TABLES[phase][at : at + count]
    if _SWAP:
        out.byteswap()
    return out.tobytes()


def phases(audio: bytes) -> bytes:
    """Return, a byte for each sample, the place in its block that it claims."""
    return audio[1::2].translate(_PHASE_OF)


def place(block: bytes) -> tuple[int, int]:
    """Return `(call, position)` of a block whose samples claim the places 0 to 3; it may be none."""
    tagged = (int.from_bytes(block[i : i + 2], "little") for i in (0, 2, 4))
    v0, v1, v2 = ((value & _MASK) - 1 for value in tagged)
    r1, r2 = v1 - _LO[1] * v0, v2 - _LO[2] * v0
    m00, m01, m10, m11 = _SOLVE
    hi, call = (m00 * r1 + m01 * r2) % _P, (m10 * r1 + m11 * r2) % _P
    lo = (v0 - _HI[0] * hi - _CALL[0] * call) % _P
    return call, BLOCK * (hi * _P + lo)

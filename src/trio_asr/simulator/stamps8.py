"""Position stamps in 8 bits: mu-law or A-law samples that name their place and their call.

Eight samples are a block, and blocks are counted from the start of their call: sample `p` of a call is sample
`p % 8` of block `p // 8`. The three top bits of a sample are its place `t` in the block, 0 to 7. The other
five are the value at `t` of a polynomial modulo the prime P = 31. Its coefficients, from the constant one,
are the five digits of the block's index in base P (a call may last `8 * P**5` samples, 7.9 hours at 8 kHz),
then the three digits of the call's number (below 29,791). The call's number is also added to the constant
coefficient. Eight values give the eight coefficients.

So samples whose distance is no multiple of 8 all differ. Others differ in most places of a block, because two
polynomials of degree n agree in at most n: in at most one or two up to a distance of 0.96 s at 8 kHz. First
samples of blocks, where frames are usually cut, agree only at multiples of `8 * P` (every 31st frame of
20 ms). A byte cannot do better. Where the sample after a cut is the one that would have followed anyway, the
cut is placed behind it; the length of what is missing or repeated is exact all the same.

No sample is a codec's silence: 0x7F and 0xFF (mu-law) are no values, 0x55 and 0xD5 (A-law) are replaced.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_P: Final = 31
BLOCK: int = 8
MAX_CALL: int = _P**3 - 1
MAX_SAMPLES: int = BLOCK * _P**5

#: For so many samples only the two lowest digits change.
_PERIOD: Final = BLOCK * _P**2
_LOW: Final = 0x1F
_WRITE: Final = bytes.maketrans(b"\x55\xd5", b"\x5f\xdf")
_READ: Final = bytes.maketrans(b"\x5f\xdf", b"\x55\xd5")
_CACHED: Final = 4096  # calls that are written or read at a time


def _table() -> bytes:
    """Return a period of samples with all higher coefficients zero."""
    return bytes(t << 5 | (lo + t * hi) % _P for hi in range(_P) for lo in range(_P) for t in range(BLOCK))


_TABLE: Final = _table()
#: For each place and each constant, what the 32 samples of that place become when it is added.
_ADDED: Final = [
    [bytes([t << 5 | (v + c) % _P for v in range(_P)] + [0]).translate(_WRITE) for c in range(_P)]
    for t in range(BLOCK)
]
_NO_PHASE: Final = 0xFF


def _phase_of() -> bytes:
    written = b"".join(places[0][:_P] for places in _ADDED)
    return bytes(_READ[b] >> 5 if b in written else _NO_PHASE for b in range(256))


_PHASE_OF: Final = _phase_of()


@lru_cache(_CACHED)
def _shift(call: int, period: int) -> bytes:
    """Return the translation of `_TABLE` to a period of a call."""
    coefficients = [call, 0, *_digits(period, 3), *_digits(call, 3)]
    return b"".join(_ADDED[t][_value(coefficients, t)] for t in range(BLOCK))


def _digits(number: int, count: int) -> list[int]:
    """Return so many digits in base P, the lowest first."""
    return [number // _P**i % _P for i in range(count)]


def _value(coefficients: list[int], t: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * t + coefficient) % _P
    return value


def samples(call: int, start: int, n: int) -> bytes:
    """Return `n` samples (bytes) of `call` from `start` on, which the format must be able to hold."""
    period, at = divmod(start, _PERIOD)
    if at + n <= _PERIOD:
        return _TABLE[at : at + n].translate(_shift(call, period))
    pieces = [_TABLE[at:].translate(_shift(call, period))]
    left = n - _PERIOD + at
    while left > 0:
        period += 1
        pieces.append(_TABLE[:left].translate(_shift(call, period)))
        left -= _PERIOD
    return b"".join(pieces)


def phases(audio: bytes) -> bytes:
    """Return, a byte for each sample, the place in its block that it claims."""
    return audio.translate(_PHASE_OF)


def place(block: bytes) -> tuple[int, int]:
    """Return `(call, position)` of a block whose samples claim the places 0 to 7."""
    index, call = 0, 0
    coefficients = _interpolated([value & _LOW for value in block.translate(_READ)])
    for digit in reversed(coefficients[5:]):
        call = call * _P + digit
    for digit in (*reversed(coefficients[1:5]), (coefficients[0] - call) % _P):
        index = index * _P + digit
    return call, BLOCK * index


def _interpolated(values: list[int]) -> list[int]:
    """Return the coefficients of the polynomial with these values at 0, 1, 2, ...: Newton's differences."""
    differences = list(values)
    for step in range(1, len(values)):
        inverse = pow(step, -1, _P)
        for i in range(len(values) - 1, step - 1, -1):
            differences[i] = (differences[i] - differences[i - 1]) * inverse % _P
    out = [0] * len(values)
    for t in reversed(range(len(values))):  # out = out * (x - t) + differences[t]
        out = [(lower - t * here) % _P for lower, here in zip([0, *out[:-1]], out, strict=True)]
        out[0] = (out[0] + differences[t]) % _P
    return out

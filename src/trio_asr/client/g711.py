"""G.711: linear16 as mu-law or A-law, one byte a sample, and back. Pure.

Both laws, after ITU-T Recommendation G.711 (tables 1 and 2), divide the magnitudes of each sign into eight
segments of sixteen steps. From the second segment of A-law, the first of mu-law, each segment is twice as
wide as the one before. Tables hold the code of every sample and the level of every code.
"""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache
from itertools import pairwise
from typing import Literal

Law = Literal["mulaw", "alaw"]

_POSITIVE = 0x80  # the bit of a code that tells the sign
_INVERTED: dict[Law, int] = {"mulaw": 0x7F, "alaw": 0x55}  # the bits of the magnitude that are sent inverted
_MULAW_BIAS = 132  # by which mu-law's steps are shifted: zero is in the middle of its first one
_MAGNITUDES = 1 << 15


def encode(pcm: bytes, law: Law) -> bytes:
    """Return linear16 samples (little-endian) as codes; an odd last byte is left out."""
    samples = array("H", pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return bytes(map(_codes(law).__getitem__, samples))


def decode(codes: bytes, law: Law) -> bytes:
    """Return codes as linear16 samples (little-endian)."""
    low, high = _levels(law)
    pcm = bytearray(2 * len(codes))
    pcm[0::2], pcm[1::2] = codes.translate(low), codes.translate(high)
    return bytes(pcm)


def _step(law: Law, number: int) -> tuple[int, int]:
    """Return the lowest magnitude and the width of one of the 128 steps, in units of linear16."""
    segment, within = divmod(number, 16)
    if law == "mulaw":
        return ((16 + within) << segment + 3) - _MULAW_BIAS, 8 << segment
    return (within << 4, 16) if segment == 0 else ((16 + within) << segment + 3, 8 << segment)


@lru_cache
def _codes(law: Law) -> bytes:
    """Return the code of each sample, by its value without a sign."""
    ends = [_step(law, number)[0] for number in range(1, 128)]
    positive = bytearray()
    for number, (first, last) in enumerate(pairwise([0, *ends, _MAGNITUDES])):
        positive += bytes([number ^ _INVERTED[law] | _POSITIVE]) * (last - first)
    # A negative sample has the code of its one's complement, as in the software of ITU-T G.191.
    negative = bytes(code ^ _POSITIVE for code in reversed(positive))
    return bytes(positive) + negative


@lru_cache
def _levels(law: Law) -> tuple[bytes, bytes]:
    """Return the low and the high byte of each code's sample, which is in the middle of its step."""
    levels = []
    for code in range(256):
        first, width = _step(law, (code ^ _INVERTED[law]) & ~_POSITIVE)
        level = first + width // 2
        levels.append(level if code & _POSITIVE else -level)
    return bytes(level & 0xFF for level in levels), bytes(level >> 8 & 0xFF for level in levels)

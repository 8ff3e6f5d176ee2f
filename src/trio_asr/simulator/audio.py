"""Incoming audio: taken apart by channel, and decoded to linear16 (16-bit little-endian mono). Pure."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

#: Bytes per sample of each encoding that the simulator decodes.
SAMPLE_BYTES: Final = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}

_CODES: Final = {2: "H", 4: "I"}  # of unsigned integers in arrays


def interleave(channels: Sequence[bytes], width: int) -> bytes:
    """Return the frames of several channels of equal length, in samples of `width` bytes (1, 2 or 4)."""
    if len(channels) == 1:
        return channels[0]
    out = _items(bytes(len(channels) * len(channels[0])), width)
    for place, channel in enumerate(channels):
        out[place :: len(channels)] = _items(channel, width)
    return bytes(out)


def deinterleave(audio: bytes, channels: int, width: int) -> list[bytes]:
    """Return the channels of whole frames, in samples of `width` bytes (1, 2 or 4)."""
    if channels == 1:
        return [audio]
    items = _items(audio, width)
    return [bytes(items[place::channels]) for place in range(channels)]


def _items(audio: bytes, width: int) -> Any:
    """Return a mutable sequence of samples, as it is sliced fastest: with a step, memory views are slow."""
    return bytearray(audio) if width == 1 else array(_CODES[width], audio)


def _mulaw(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 132) << ((code >> 4) & 7)) - 132
    return -magnitude if code & 0x80 else magnitude


def _alaw(code: int) -> int:
    code ^= 0x55
    exponent, mantissa = (code >> 4) & 7, code & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 264) << (exponent - 1)
    return magnitude if code & 0x80 else -magnitude


def _halves(values: list[int]) -> tuple[bytes, bytes]:
    """Return translation tables from a code to the low and the high byte of its sample."""
    return bytes(v & 0xFF for v in values), bytes(v >> 8 & 0xFF for v in values)


_G711: Final = {
    "mulaw": _halves([_mulaw(code) for code in range(256)]),
    "alaw": _halves([_alaw(code) for code in range(256)]),
}

#: The bytes of digital silence; each G.711 codec has two samples that are nearest to it.
_SILENCE: Final = {"linear16": b"\0", "mulaw": b"\x7f\xff", "alaw": b"\x55\xd5"}


class Splitter:
    """A splitter of messages, which may end anywhere, into what each ear hears.

    With `mixed` that is the mean of all channels, as linear16; otherwise each channel as it came.
    """

    def __init__(self, encoding: str, channels: int, *, mixed: bool = False) -> None:
        self._encoding = encoding
        self._channels = channels
        self._mixed = mixed
        self._width = SAMPLE_BYTES[encoding]
        self._frame = self._width * channels
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the samples of each channel, equally many, that `data` completes."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if odd := len(data) % self._frame:
            self._rest = data[-odd:]
            data = data[:-odd]
        channels = deinterleave(data, self._channels, self._width)
        return (
            [_mix([linear16(channel, self._encoding) for channel in channels])] if self._mixed else channels
        )


def linear16(audio: bytes, encoding: str) -> bytes:
    """Return whole samples of one channel as linear16."""
    if encoding == "linear16":
        return audio
    return _from_float(audio) if encoding == "linear32" else _from_g711(audio, *_G711[encoding])


def _mix(channels: Sequence[bytes]) -> bytes:
    """Return the mean of channels in linear16."""
    frames = zip(*map(_samples, channels), strict=True)
    return _bytes(array("h", (sum(frame) // len(channels) for frame in frames)))


def _samples(pcm: bytes) -> array[int]:
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _bytes(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _from_g711(data: bytes, low: bytes, high: bytes) -> bytes:
    out = bytearray(2 * len(data))
    out[0::2] = data.translate(low)
    out[1::2] = data.translate(high)
    return bytes(out)


def _from_float(data: bytes) -> bytes:
    """Convert linear32, little-endian floats; clip what is out of range and silence NaN."""
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return _bytes(array("h", (_clip(value) for value in values)))


def _clip(value: float) -> int:
    return int(max(-1.0, min(1.0, value)) * 32767) if value == value else 0  # noqa: PLR0124  # NaN is not itself


def is_silent(audio: bytes | bytearray, encoding: str = "linear16") -> bool:
    """Return whether all of it, linear16 or G.711, is digital silence."""
    return not audio.strip(_SILENCE[encoding])

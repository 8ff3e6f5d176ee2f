"""The format of a stretch of audio: a property of a segment of a call's timeline, and of a connection.

Audio is neither decoded nor resampled on its way. Deepgram takes linear16, mu-law and A-law as they are, with
one channel or with several interleaved ones (its pages "Encoding" and "Multichannel").

Throughout the daemon a *sample* is one sample of each channel. Positions on a timeline and clocks of
connections count those. In `width` bytes there is one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

MOST_CHANNELS = 2
Encoding = Literal["linear16", "mulaw", "alaw"]  # as Deepgram names them
# One silent sample of one channel.
SILENCE: dict[Encoding, bytes] = {"linear16": b"\0\0", "mulaw": b"\xff", "alaw": b"\xd5"}


class Format(NamedTuple):
    """Raw audio of `channels` interleaved channels at `rate` Hz, in `width` bytes a sample.

    `silence` is one silent sample. Formats are made by `audio_format` alone, so that equal ones are the same
    object.
    """

    encoding: Encoding
    rate: int
    channels: int
    width: int
    silence: bytes

    @property
    def plain(self) -> bool:
        """Whether this is linear16 of one channel: all that the first versions knew."""
        return self.width == 2 and self.channels == 1

    @property
    def bytes_per_s(self) -> int:
        """The bytes of one second."""
        return self.width * self.rate

    def ms(self, size: int) -> float:
        """Return the duration of `size` bytes, in milliseconds."""
        return size * 1000 / (self.width * self.rate)


@lru_cache(256)
def audio_format(rate: int, encoding: Encoding = "linear16", channels: int = 1) -> Format:
    """Return the one object that stands for a format."""
    silence = SILENCE[encoding] * channels
    return Format(encoding, rate, channels, len(silence), silence)

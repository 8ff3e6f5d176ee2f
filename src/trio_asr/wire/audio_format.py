"""The format of a stretch of audio: a property of a segment of a call's timeline, and of a connection.

Audio is neither decoded nor resampled on its way. Deepgram takes linear16, mu-law and A-law as they are, with
one channel or with several interleaved ones (its pages "Encoding" and "Multichannel").

Throughout the daemon a *sample* is one sample of each channel. Positions on a timeline and clocks of
connections count those. In `width` bytes there is one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

MOST_CHANNELS = 2
Encoding = Literal["linear16", "mulaw", "alaw"]  # as Deepgram names them
# One silent sample of one channel.
SILENCE: dict[Encoding, bytes] = {"linear16": b"\0\0", "mulaw": b"\xff", "alaw": b"\xd5"}
# The bytes of which silence consists; G.711 has a positive and a negative zero.
_QUIET: dict[Encoding, bytes] = {"linear16": b"\0", "mulaw": b"\xff\x7f", "alaw": b"\xd5\x55"}


class Format(NamedTuple):
    """Raw audio of `channels` interleaved channels at `rate` Hz, in `width` bytes a sample.

    `silence` is one silent sample. Formats are made by `audio_format`, so that equal ones are nearly always
    the same object, which makes comparing them quick.
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

    @property
    def fields(self) -> dict[str, Any]:
        """The format in an event or a log line; of plain audio only the rate, as ever."""
        rate = {"sample_rate": self.rate}
        return rate if self.plain else rate | {"encoding": self.encoding, "channels": self.channels}

    def ms(self, size: int) -> float:
        """Return the duration of `size` bytes, in milliseconds."""
        return size * 1000 / (self.width * self.rate)


@lru_cache(4096)  # whoever makes up formats does not fill the memory
def _made(rate: int, encoding: Encoding, channels: int) -> Format:
    silence = SILENCE[encoding] * channels
    return Format(encoding, rate, channels, len(silence), silence)


def audio_format(rate: int, encoding: Encoding = "linear16", channels: int = 1) -> Format:
    """Return a format."""
    return _made(rate, encoding, channels)


NO_FORMAT = audio_format(0)  # before any audio


def silent_samples(audio: bytes, fmt: Format, channel: int) -> int:
    """Return how many samples at the beginning of `audio` are silence on this channel."""
    size, quiet = fmt.width // fmt.channels, _QUIET[fmt.encoding]
    lanes = [audio[at :: fmt.width] for at in range(size * channel, size * (channel + 1))]
    return min(len(lane) - len(lane.lstrip(quiet)) for lane in lanes)

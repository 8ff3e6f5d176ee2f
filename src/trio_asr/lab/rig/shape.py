"""The form in which calls are put on the stream. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trio_asr.client.producer import Entries
from trio_asr.wire.audio_format import Encoding, Format, audio_format


@dataclass(frozen=True)
class Shape:
    """The form of a call's entries: its audio's format, how they are written, and what they tell."""

    channels: int = 1
    encoding: Encoding = "linear16"
    entries: Entries = Entries.JSON
    positions: bool = False

    def format(self, rate: int) -> Format:
        """Return the format of its audio at `rate` Hz."""
        return audio_format(rate, self.encoding, self.channels)


PLAIN = Shape()
TWO_LEGS = Shape(2, "mulaw")

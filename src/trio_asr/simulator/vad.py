"""Voice activity by energy, which the `speech` engine needs before it recognises anything. Pure."""

from __future__ import annotations

import math
import sys
from array import array
from typing import Final

FRAME_MS: Final = 20
#: Speech is this far above the noise floor, and never below the absolute level (dB of full scale).
_ABOVE_FLOOR_DB: Final = 12.0
_LEAST_DB: Final = -50.0
#: The floor follows quieter audio at once and louder audio slowly, by this much a frame: 6 dB in 4 s.
_FLOOR_RISE_DB: Final = 0.03
_FIRST_FLOOR_DB: Final = -55.0
_FULL_SCALE: Final = 32768.0


def level_db(frame: bytes) -> float:
    """Return the mean level of linear16 audio, in dB of full scale."""
    samples = array("h", frame)
    if sys.byteorder == "big":
        samples.byteswap()
    power = sum(sample * sample for sample in samples) / len(samples)
    return 10 * math.log10(power / _FULL_SCALE**2 + 1e-12)


class Detector:
    """A detector that judges one frame after another for speech."""

    def __init__(self) -> None:
        self._floor = _FIRST_FLOOR_DB

    def is_speech(self, frame: bytes) -> bool:
        """Return whether the next frame of `FRAME_MS` holds speech."""
        level = level_db(frame)
        speech = level > max(_LEAST_DB, self._floor + _ABOVE_FLOOR_DB)
        self._floor = min(level, self._floor + _FLOOR_RISE_DB)
        return speech

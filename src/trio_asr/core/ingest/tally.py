"""What an ingest counts of its calls, one tally for each platform."""

from __future__ import annotations

from dataclasses import dataclass

from trio_asr.core.ingest.leg import Leg


@dataclass(slots=True)
class Tally:
    """Counts since the start; times are in seconds of audio."""

    audio_bytes: int = 0
    holes: int = 0  # the platform has dropped audio
    hole_s: float = 0.0
    restarts: int = 0  # the platform's clock went back, or ahead by more than can be
    misses: int = 0  # entries that went out without a leg
    late_s: float = 0.0  # audio of a leg that came after silence had gone out for it, and lies later for that
    repeats: int = 0  # messages that came twice, or later than could be waited for
    dropped_s: float = 0.0  # audio that could not wait any longer for the store
    superseded_s: float = 0.0  # audio that another socket of the call was quicker than

    def take(self, leg: Leg, rate: int) -> None:
        """Count what a leg has noted, and have it forget that. Its `rate` is in Hz."""
        self.holes += len(leg.missing)
        self.hole_s += sum(leg.missing) / rate
        self.restarts += leg.restarts
        self.late_s += leg.late / rate
        leg.missing, leg.restarts, leg.late = [], 0, 0

"""What became of the frames that a call was given."""

from __future__ import annotations


class ReceiveResult:
    """What became of a batch of frames, for the counters."""

    __slots__ = ("accepted", "filled_s", "given_up_s", "header", "late_s", "repeats")

    def __init__(self) -> None:
        self.accepted = self.repeats = 0
        self.header = 0  # bytes of a file's header at the beginning of the call
        # Silence put where frames were missing; audio that came after it; audio that nothing takes.
        self.filled_s = self.late_s = self.given_up_s = 0.0

    @property
    def unusual(self) -> bool:
        """There is more to say than how many were accepted."""
        return bool(self.repeats or self.filled_s or self.given_up_s or self.late_s or self.header)

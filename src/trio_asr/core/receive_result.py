"""The result of handing frames to a call."""

from __future__ import annotations


class ReceiveResult:
    """The outcome of a batch of frames, for the counters. `*_s` are seconds of audio."""

    __slots__ = ("accepted", "filled_s", "given_up_s", "header", "late_s", "meta", "misplaced", "repeats")

    def __init__(self) -> None:
        self.accepted = self.repeats = 0
        self.misplaced = 0  # frames whose position cannot be meant
        self.meta = ""  # why what the producer says of the call cannot be published
        self.header = 0  # bytes of a WAVE file's header at the beginning of the call
        # Silence in place of missing frames; frames that came after that; audio that no connection took.
        self.filled_s = self.late_s = self.given_up_s = 0.0

    @property
    def unusual(self) -> bool:
        """Whether there is more to report than the number of accepted frames."""
        counts = (self.repeats, self.misplaced, self.header, self.filled_s, self.late_s, self.given_up_s)
        return any(counts) or bool(self.meta)

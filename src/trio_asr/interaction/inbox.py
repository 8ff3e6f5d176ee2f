"""The inbox of a call: frames that were read for it and make nothing due yet."""

from __future__ import annotations

import math

from trio_asr.wire.frames import Frame

Frames = list[Frame]


class Inbox:
    """Frames that wait to be handed over together: one wake-up for each chunk, not for each batch.

    They wait until there are `hold_limit` bytes of audio; 0 means that the limit has to be asked for with
    the next frame. Beyond `limit` bytes the inbox exceeds what the call may hold.
    """

    __slots__ = ("frames", "hold_limit", "limit", "size", "tenant")

    def __init__(self, limit: float = math.inf) -> None:
        self.frames: Frames = []
        self.size = self.hold_limit = 0
        self.limit = limit
        self.tenant = ""  # of a call that is not in progress yet

    def add(self, frame: Frame) -> bool:
        """Add a frame. Return whether that calls for a decision."""
        self.frames.append(frame)
        self.size += len(frame.pcm)
        return self.size >= self.hold_limit

    def drop_last(self) -> None:
        """Remove the last frame."""
        self.size -= len(self.frames.pop().pcm)

    def take(self) -> Frames:
        """Return the frames and empty the inbox."""
        frames = self.frames
        self.frames, self.size, self.hold_limit = [], 0, 0
        return frames

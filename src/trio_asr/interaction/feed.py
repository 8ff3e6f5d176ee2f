"""The links between the tasks of one call: the feed of a connection, and the flow of the call's audio."""

from __future__ import annotations

import math
from typing import NamedTuple

import trio

from trio_asr.core.timeline import Chunk
from trio_asr.wire.audio_format import Format

FLOWING_S = 1.5  # audio flows if some came within this time: a frame may hold a second of it
STILL_S = 2.0  # a call without audio for this long gives its permit to one that waits


class Feed(NamedTuple):
    """The scheduler's end of one connection, which takes chunks of one format until `scope` is cancelled."""

    chunks: trio.MemorySendChannel[Chunk]
    format: Format
    scope: trio.CancelScope


class Flow:
    """When the call's audio last came, on trio's clock in seconds, and whether its input is over."""

    __slots__ = ("last_at", "over")

    def __init__(self) -> None:
        self.last_at = -math.inf
        self.over = False

    def arrived(self, now: float) -> None:
        """Note that audio has reached the timeline."""
        self.last_at = now

    @property
    def until(self) -> float:
        """When audio no longer counts as flowing if none comes before, on trio's clock in seconds."""
        return -math.inf if self.over else self.last_at + FLOWING_S

    def flowing(self, now: float) -> bool:
        """Return whether audio is coming in.

        The test is against the very sum that is slept until: a difference can be rounded to just below it.
        """
        return now < self.until

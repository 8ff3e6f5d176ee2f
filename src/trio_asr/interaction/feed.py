"""What links the tasks of one call: the feed of a connection, and the flow of the call's audio."""

from __future__ import annotations

import math
from typing import NamedTuple

import trio

from trio_asr.core.timeline import Chunk

FLOWING_S = 1.5  # audio that came so lately is flowing: frames may hold a second of it
STILL_S = 2.0  # a call that stood still for so long gives its permit to one that waits


class Feed(NamedTuple):
    """The scheduler's end of one connection: where its chunks go, while `scope` is not cancelled."""

    chunks: trio.MemorySendChannel[Chunk]
    rate: int
    scope: trio.CancelScope


class Flow:
    """When audio of the call last came, on trio's clock, and whether more can come."""

    __slots__ = ("last_at", "over")

    def __init__(self) -> None:
        self.last_at = -math.inf
        self.over = False

    def arrived(self, now: float) -> None:
        """Note audio that is on the timeline."""
        self.last_at = now

    @property
    def until(self) -> float:
        """The moment from which the audio stands still if no more of it comes."""
        return -math.inf if self.over else self.last_at + FLOWING_S

    def flowing(self, now: float) -> bool:
        """Say whether audio comes in.

        It is compared with the very sum that is slept until: a difference can be rounded to just less.
        """
        return now < self.until

"""The audio of one connection that waits for its finals, channel by channel: when to ask for them.

A Finalize asks for the final of a segment that is still open (Deepgram's guide "Finalize"; with several
channels it names one). It is sent once for an open segment that the source pauses in, and once for one that
has become long. Only in the latter case is an answer certain to come: a channel without one is *mute*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from trio_asr.core.results import ResultHandler

FINALIZE_S = 10.0  # a Finalize after much audio is answered within this time, or never


NONE: list[int] = []  # the channels concerned, nearly always


class OpenSegments:
    """The open segments of one connection. `most_open` (samples) makes one long.

    `deadline` is when the first channel becomes mute (`inf`: none was asked), on the caller's clock.
    """

    __slots__ = ("_channels", "_handler", "_timeline", "deadline", "most_open", "sent_until")

    def __init__(self, handler: ResultHandler, most_open: float) -> None:
        self.most_open = most_open
        self.deadline = math.inf
        self.sent_until = handler.timeline.finalized  # the sample up to which the connection was sent audio
        self._handler, self._timeline = handler, handler.timeline
        self._channels = [_Open() for _ in handler.channels]

    def long(self) -> list[int]:
        """Return the channels of which too much audio waits, and for which no final was asked for that."""
        if self.sent_until - self._timeline.finalized < self.most_open:
            return NONE
        return [
            number
            for number, channel in enumerate(self._channels)
            if channel.much_asked is None and self._open(number) >= self.most_open
        ]

    def unasked(self) -> list[int]:
        """Return the channels with an open segment that no Finalize was sent for."""
        if self.sent_until <= self._timeline.finalized:
            return NONE
        return [
            number
            for number, channel in enumerate(self._channels)
            if channel.asked != self._handler.channels[number].finals and self._open(number)
        ]

    def ask(self, number: int) -> bool:
        """Note that a Finalize is about to be sent for a channel. Return whether its segment is long."""
        self._channels[number].asked = self._handler.channels[number].finals
        return self._open(number) >= self.most_open

    def asked(self, number: int, now: float) -> None:
        """Note that a Finalize was sent for a long segment, unless its final has come meanwhile."""
        channel = self._channels[number]
        if channel.asked == self._handler.channels[number].finals:
            channel.much_asked, channel.until = now, self.sent_until
            self._settle()

    def mute(self, now: float) -> list[int]:
        """Return the channels that did not answer a Finalize in time."""
        return [number for number, channel in enumerate(self._channels) if channel.deadline <= now]

    def answered(self) -> list[int]:
        """Take note of finals that have come. Return the channels that had been asked for them."""
        if self.deadline == math.inf:
            return NONE
        found = [
            number
            for number, channel in enumerate(self._channels)
            if channel.much_asked is not None and channel.asked != self._handler.channels[number].finals
        ]
        self.forget(found)
        return found

    def forget(self, numbers: Iterable[int]) -> None:
        """Expect no answers to the Finalize of these channels."""
        for number in numbers:
            self._channels[number].much_asked = None
        self._settle()

    def asked_until(self, number: int) -> int:
        """Return up to where a channel had been sent audio when it was asked last."""
        return self._channels[number].until

    def _open(self, number: int) -> int:
        """Return how many samples of a channel were sent and are not finalized."""
        return max(0, self.sent_until - self._timeline.cursor(number))

    def _settle(self) -> None:
        self.deadline = min(channel.deadline for channel in self._channels)


class _Open:
    """The open segment of one channel."""

    __slots__ = ("asked", "much_asked", "until")

    def __init__(self) -> None:
        self.asked = -1  # how many finals there had been at the last Finalize
        self.much_asked: float | None = None  # when it was sent for a long segment
        self.until = 0

    @property
    def deadline(self) -> float:
        return math.inf if self.much_asked is None else self.much_asked + FINALIZE_S

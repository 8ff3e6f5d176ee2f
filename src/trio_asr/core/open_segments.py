"""The audio of one connection that waits for its finals, channel by channel: when to ask for them.

A Finalize asks for the final of a segment that is still open (Deepgram's guide "Finalize"; with several
channels it names one). It is sent once for an open segment that the source pauses in, and once for one that
has become long. Only in the latter case is an answer certain to come: a channel without one is *mute*.

A segment begins at its channel's cursor. Whatever moves that, a final or a gap, is the end of it.
"""

from __future__ import annotations

import math

from trio_asr.core.results import ResultHandler

FINALIZE_S = 10.0  # a Finalize after much audio is answered within this time, or never


NONE: list[int] = []  # the channels concerned, nearly always


class OpenSegments:
    """The open segments of one connection. `most_open` (samples) makes one long.

    `deadline` is when the first channel becomes mute (`inf`: none was asked), on the caller's clock.
    """

    __slots__ = ("_asked", "_handler", "_timeline", "deadline", "most_open", "sent_until")

    def __init__(self, handler: ResultHandler, most_open: float) -> None:
        self.most_open = most_open
        self.deadline = math.inf
        self.sent_until = handler.timeline.finalized  # the sample up to which the connection was sent audio
        self._handler, self._timeline = handler, handler.timeline
        self._asked = [_Asked() for _ in handler.channels]

    def long(self) -> list[int]:
        """Return the channels of which too much audio waits, and for which no final was asked for that."""
        if self.sent_until - self._timeline.finalized < self.most_open:
            return NONE
        return [
            number
            for number in range(len(self._asked))
            if self._open(number) >= self.most_open and not self._owes(number)
        ]

    def unasked(self) -> list[int]:
        """Return the channels with an open segment that no Finalize was sent for."""
        if self.sent_until <= self._timeline.finalized:
            return NONE
        return [
            number
            for number, asked in enumerate(self._asked)
            if asked.cursor != self._timeline.cursor(number) and self._open(number)
        ]

    def ask(self, number: int) -> bool:
        """Note that a Finalize is about to be sent for a channel. Return whether its segment is long."""
        self._asked[number].cursor, self._asked[number].at = self._timeline.cursor(number), math.inf
        return self._open(number) >= self.most_open

    def asked(self, number: int, now: float) -> None:
        """Note that a Finalize was sent for a long segment, unless its final has come meanwhile."""
        asked = self._asked[number]
        if asked.cursor == self._timeline.cursor(number):
            asked.at, asked.until = now, self.sent_until
            self.settle()

    def settle(self) -> None:
        """Take note of cursors that have moved."""
        self.deadline = min(
            asked.at + FINALIZE_S if self._owes(number) else math.inf
            for number, asked in enumerate(self._asked)
        )

    def mute(self, now: float) -> list[int]:
        """Return the channels that did not answer a Finalize in time."""
        self.settle()
        return [
            number
            for number, asked in enumerate(self._asked)
            if self._owes(number) and asked.at + FINALIZE_S <= now
        ]

    def alone(self, mute: int) -> bool:
        """Return whether there are other channels than a mute one, and these are answered."""
        others = [number for number in range(len(self._asked)) if number != mute]
        return bool(others) and all(self._is_answered(number) for number in others)

    def forget(self) -> None:
        """Expect no answers any more."""
        self._asked = [_Asked() for _ in self._asked]
        self.deadline = math.inf

    def asked_until(self, number: int) -> int:
        """Return up to where a channel had been sent audio when it was asked last."""
        return self._asked[number].until

    def _open(self, number: int) -> int:
        """Return how many samples of a channel were sent and are not finalized."""
        return max(0, self.sent_until - self._timeline.cursor(number))

    def _owes(self, number: int) -> bool:
        """Return whether a channel was asked for the final of a long segment, which has not come."""
        asked = self._asked[number]
        return asked.at < math.inf and asked.cursor == self._timeline.cursor(number)

    def _is_answered(self, number: int) -> bool:
        """Return whether a channel has had finals on this connection, or needs none, and owes none."""
        return not self._owes(number) and (self._handler.channels[number].frozen or not self._open(number))


class _Asked:
    """What a channel was asked for last: the final of the segment that begins at `cursor`.

    If the segment was long, that was at a time `at` and up to sample `until`.
    """

    __slots__ = ("at", "cursor", "until")

    def __init__(self) -> None:
        self.cursor = -1
        self.at = math.inf
        self.until = 0

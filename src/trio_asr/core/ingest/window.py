"""The order of one leg's messages, for platforms that number them and may deliver them in another order.

Telnyx' page "Media Streaming over WebSockets" says so of its own; TCP keeps the order of all others. A few
messages are enough to wait for: later ones are behind what everybody has heard.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_HELD = 5  # messages: 100 ms
FIRST = 1
NEAR = 64  # a number so little below the next one is a repeat, or too late; a lower one is another beginning


class Message(NamedTuple):
    """A message of audio, and when it begins by the platform's clock (ms)."""

    audio: bytes
    at_ms: float | None


class Window:
    """The messages of one leg that wait for one before them."""

    __slots__ = ("_held", "_next", "repeats")

    def __init__(self) -> None:
        self.repeats = 0  # messages that were left out, since they were last looked at
        self._next: int | None = None
        self._held: dict[int, Message] = {}

    def __bool__(self) -> bool:
        """Return whether any message waits."""
        return bool(self._held)

    def take(self, number: int, message: Message) -> list[Message]:
        """Take the message of this number; return those whose turn it is, in order."""
        if self._next is None:  # they count from 1, and the first one may come late, too
            self._next = FIRST if FIRST < number <= FIRST + MOST_HELD else number
        if number < self._next - NEAR:
            ready = self.close()
            self._next = number + 1
            return [*ready, message]
        if number < self._next or number in self._held:
            self.repeats += 1
            return []
        self._held[number] = message
        ready = self._drain()
        while len(self._held) > MOST_HELD:
            self._next = min(self._held)
            ready += self._drain()
        return ready

    def close(self) -> list[Message]:
        """Wait no longer; return all that waited, in order."""
        ready = [self._held[number] for number in sorted(self._held)]
        if self._held:
            self._next = max(self._held) + 1
            self._held = {}
        return ready

    def _drain(self) -> list[Message]:
        ready: list[Message] = []
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        return ready

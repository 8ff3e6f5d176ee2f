"""The numbers of a client's messages of audio, where it learns what is stored, and may resume.

Entries are cut elsewhere than messages. So a message counts as stored when its last sample is. A client that
sends again from the first message that is not stored repeats the beginning of it, which is left out.
"""

from __future__ import annotations

from collections import deque


class Numbers:
    """The numbers of one socket's messages; the first is `resumed + 1`. Ends are positions of samples."""

    __slots__ = ("_ends", "_next", "_reached", "_repeated", "_skip")

    def __init__(self, resumed: int = 0) -> None:
        self._next = resumed + 1
        self._reached = resumed, 0
        self._repeated = 0  # messages up to this one are stored
        self._skip = 0  # bytes of the one after it that are stored, too
        self._ends: deque[tuple[int, int]] = deque()

    def resume(self, number: int, end: int, more: int) -> bool:
        """Learn that messages up to `number` are stored, ending at `end`, and `more` bytes of the next.

        Return whether a client that resumes can go on there. It cannot if it takes more for stored.
        """
        if number < self._next - 1:
            return False
        self._reached = number, end
        self._repeated, self._skip = number, more
        return True

    def new(self, audio: bytes) -> bytes:
        """Return what of the next message is not stored yet."""
        number = self._next
        self._next += 1
        if number <= self._repeated:
            return b""
        if not self._skip:
            return audio
        skip, self._skip = self._skip, max(0, self._skip - len(audio))
        return audio[skip:]

    def ends_at(self, position: int) -> None:
        """Note where the last message ends."""
        if self._next - 1 > self._repeated:
            self._ends.append((self._next - 1, position))

    def pass_over(self, position: int) -> None:
        """Learn that nothing before a position will be stored: what ends before it is reached at once."""
        while len(self._ends) > 1 and self._ends[1][1] <= position:
            self._ends.popleft()

    def reach(self, position: int) -> tuple[int, int]:
        """Return the last message that ends at or before a position, and where it ends."""
        while self._ends and self._ends[0][1] <= position:
            self._reached = self._ends.popleft()
        return self._reached

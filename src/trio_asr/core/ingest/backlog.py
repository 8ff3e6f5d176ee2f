"""Entries that wait for the store: bounded, oldest first."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from trio_asr.core.ingest.mixer import Piece

BATCH_BYTES = 256 * 1024  # of audio in one step: a small part of the time that the server gives a script
BATCH = 100


class Waiting(NamedTuple):
    """An entry's audio, how many samples that is, and when it was complete."""

    piece: Piece
    samples: int
    at: float


class Backlog:
    """The entries of one series that are not stored: at most `most` samples, and those that are asked for."""

    __slots__ = ("_asked", "_most", "_waiting", "samples", "size")

    def __init__(self, most: int) -> None:
        self.samples = 0  # that wait
        self.size = 0  # bytes of them, and of those that are asked for
        self._most = most
        self._waiting: deque[Waiting] = deque()
        self._asked: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def begin(self) -> int:
        """The position of the oldest entry that waits; there must be one."""
        return self._waiting[0].piece.position

    def append(self, piece: Piece, samples: int, now: float) -> int:
        """Append an entry; return how many samples had to be dropped for it."""
        self._waiting.append(Waiting(piece, samples, now))
        self.samples += samples
        self.size += len(piece.audio)
        dropped = 0
        while self.samples > self._most and len(self._waiting) > 1:
            dropped += self.drop()
        return dropped

    def drop(self) -> int:
        """Drop the oldest entry that waits; return its samples."""
        if not self._waiting:
            return 0
        oldest = self._waiting.popleft()
        self.samples -= oldest.samples
        self.size -= len(oldest.piece.audio)
        return oldest.samples

    def ask(self) -> list[Waiting]:
        """Take the next entries out, as many as one step may add."""
        size = 0
        while self._waiting and len(self._asked) < BATCH and size < BATCH_BYTES:
            one = self._waiting.popleft()
            size += len(one.piece.audio)
            self.samples -= one.samples
            self._asked.append(one)
        return self._asked

    def stored(self) -> None:
        """Forget those that were asked for: they are stored."""
        self.size -= sum(len(one.piece.audio) for one in self._asked)
        self._asked = []

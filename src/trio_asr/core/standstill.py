"""Positions that stand still: a field that a producer never fills says 0 in each of its entries.

By its position each entry but the first would be a repeat, and the whole call be left out. So a position is
not believed any more once four entries in a row have said it that sound different, or nine whatever they
sound like, until it moves. Two or three producers of one call, each with a recording of its own, are no
standstill: their positions move.

This depends on nothing but the entries, so whoever reads them again comes to the same result.
"""

from __future__ import annotations

from trio_asr.core.repeats import MOST_ALIKE
from trio_asr.wire.frames import Frame

MOST_DIFFERENT = 3  # entries in a row of one position that sound different


class Standstill:
    """The recogniser of positions that do not move among one call's frames."""

    __slots__ = ("_at", "_run", "_sounds")

    def __init__(self) -> None:
        self._at = -1  # the position of the last entry
        self._run = 0  # how many in a row have said it
        self._sounds = set[int]()  # hashes: audio that is over is not kept

    def moved(self, frame: Frame) -> None:
        """Note a frame with another position than the one before."""
        self._at, self._run = frame.position or 0, 1
        self._sounds = {hash(frame.pcm)}

    def found(self, frame: Frame) -> bool:
        """Note a frame with audio that is no known repeat. Return whether its position stands still."""
        if frame.position != self._at:
            self.moved(frame)
            return False
        self._run += 1
        if len(self._sounds) <= MOST_DIFFERENT:
            self._sounds.add(hash(frame.pcm))
        return self._run > MOST_ALIKE or len(self._sounds) > MOST_DIFFERENT

"""What a call begins with: audio, or the header of a WAVE file that is sent as it is.

Twelve bytes tell. A producer that sends fewer at a time has its first frames wait here until they are there,
so that no header is played as audio, and no audio is left out as a header.

Frames that say their position do not wait: where the next one goes depends on what is on the timeline.
"""

from __future__ import annotations

from typing import NamedTuple

from trio_asr.core.placed import Placed
from trio_asr.core.sequence import Series
from trio_asr.wire.frames import Frame
from trio_asr.wire.wave import Header

MOST_HELD = 64  # frames: twelve with audio tell, and those without bring nothing that is worth waiting for


class Piece(NamedTuple):
    """A frame that counts from byte `offset` on, and of whose bytes the first `header` are no audio."""

    placed: Placed
    offset: int
    header: int = 0


class Beginning:
    """The judge of the first frames of a call. Whether any wait is true of it."""

    __slots__ = ("_again", "_header", "_held", "_series")

    def __init__(self, series: Series, *, begins: bool, again: bool) -> None:
        """Begin where audio may be the first of a call, or `again` after an end of that call."""
        self._series, self._again = series, again
        self._header = Header(over=not (begins or again))
        self._held: list[Piece] = []

    def __bool__(self) -> bool:
        return bool(self._held)

    @property
    def over(self) -> bool:
        """Whether all that follows is audio."""
        return self._header.over and not self._held

    @property
    def header(self) -> int:
        """The bytes of the header, once all of it came."""
        return self._header.stripped if self._header.over else 0

    @property
    def frames(self) -> list[Frame]:
        """The frames that wait."""
        return [piece.placed.frame for piece in self._held]

    def take(self, placed: Placed, offset: int, *, is_news: bool) -> list[Piece]:
        """Take the next frame. Return what is to be appended, in order."""
        frame, piece = placed.frame, Piece(placed, offset)
        done = offset >= len(frame.pcm) and not is_news  # before the last end, if there was one
        if self.over or (self._again and done):
            return [piece]
        told = self._header.look(frame.pcm) or not (frame.pcm or self._held)
        self._held.append(piece)
        if told:
            return self._release()
        return [] if frame.position is None and len(self._held) < MOST_HELD else self.close()

    def close(self) -> list[Piece]:
        """Wait no longer: what is undecided is audio."""
        if self._held:
            self._header.over = True
        return self._release()

    def _release(self) -> list[Piece]:
        held, self._held = self._held, []
        return [piece._replace(header=self._strip(piece.placed.frame)) for piece in held]

    def _strip(self, frame: Frame) -> int:
        size = self._header.strip(frame.pcm)
        if size:
            self._series.shorten(frame, size)
        return size

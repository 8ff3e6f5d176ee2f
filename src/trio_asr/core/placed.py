"""Where a frame goes, once it is its turn."""

from __future__ import annotations

from typing import NamedTuple

from trio_asr.wire.frames import Frame


class Placed(NamedTuple):
    """A frame whose turn it is, and where it goes.

    Before it go `silence` bytes, or a void of so many samples. Its first `offset` bytes are on the timeline
    already; by its position alone, which is true to a sample, they were `about` so many. `late` bytes of it
    came after the silence, or the void, that stands for them.
    """

    frame: Frame
    silence: int = 0
    late: int = 0
    offset: int = 0
    void: int = 0
    about: int = 0

    @property
    def is_repeat(self) -> bool:
        """Whether all of it is on the timeline already."""
        return self.offset >= len(self.frame.pcm) > 0

"""Where a frame goes, once it is its turn."""

from __future__ import annotations

from typing import NamedTuple

from trio_asr.wire.frames import Frame


class Placed(NamedTuple):
    """A frame whose turn it is, and where it goes.

    Before it go `silence` bytes, or a void of so many samples. Its first `offset` bytes are on the timeline
    already. `late` says that it came after the silence that stands for it.
    """

    frame: Frame
    silence: int = 0
    late: bool = False
    offset: int = 0
    void: int = 0

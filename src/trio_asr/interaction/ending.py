"""How a connection ended."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Why(enum.Enum):
    """Why a connection ended."""

    DONE = "done"  # we closed it: Metadata and 1000
    CLOSE_TIMEOUT = "unanswered"  # we closed it, and the answer did not come in time
    DROPPED = "dropped"  # closed by the other side, or broken
    STALLED = "stalled"  # open but silent, or not taking audio


class Ending(NamedTuple):
    """The end of a connection: why, the close code (1006 where there was none) and the reason.

    `asked` is whether CloseStream had been sent.
    """

    why: Why
    code: int
    reason: str
    asked: bool = False

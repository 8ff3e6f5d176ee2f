"""The bounds of one call."""

from __future__ import annotations

from typing import NamedTuple


class Bounds(NamedTuple):
    """The bounds of what a call may hold, fill and wait for."""

    gap_fill_ms: int
    max_unfinalized_s: float
    reorder_ms: int = 0
    roles: tuple[str, ...] = ()  # who is on each channel, where no entry says so

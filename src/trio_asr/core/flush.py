"""The flush policy: how much audio makes a chunk, and how long less than that waits.

The old worker meant to have this policy, but checked it only when a frame arrived:

* the first chunk of a call leaves at `initial_ms` of audio, later ones at `min_chunk_ms`;
* whatever is there leaves `max_interval_ms` after the last flush, by timer, frames or no frames.

Timer deadlines are rounded *down* to a grid shared by all calls. So many calls wake together, and no gap
exceeds the interval.
"""

from __future__ import annotations

import math
from typing import Protocol

GRID_S = 0.02


class Intervals(Protocol):
    """The keys of the configuration that the policy reads, each time anew: a reload counts for live calls."""

    @property
    def initial_ms(self) -> int: ...
    @property
    def min_chunk_ms(self) -> int: ...
    @property
    def max_interval_ms(self) -> int: ...
    @property
    def max_chunk_ms(self) -> int: ...


class FlushPolicy:
    """The decision when the unsent audio of one call is due. All times are in seconds."""

    __slots__ = ("_waiting_since", "flushes", "intervals", "last_flush")

    def __init__(self, intervals: Intervals) -> None:
        self.intervals = intervals
        self.flushes = 0
        self.last_flush: float | None = None
        self._waiting_since: float | None = None  # when unsent audio was first there, since the last flush

    def arrived(self, now: float) -> None:
        """Note that there is unsent audio."""
        if self._waiting_since is None:
            self._waiting_since = now

    def flushed(self, now: float, *, remains: bool) -> None:
        """Record that a chunk left. `remains` says whether unsent audio is left."""
        self.flushes += 1
        self.last_flush = now
        self._waiting_since = now if remains else None

    def threshold_ms(self) -> int:
        """Return how much audio leaves at once, without waiting for the timer, in milliseconds."""
        return self.intervals.min_chunk_ms if self.flushes else self.intervals.initial_ms

    def threshold_samples(self, rate: int) -> int:
        """Return the same in samples, rounded up."""
        return -(-self.threshold_ms() * rate // 1000)

    def age(self, now: float) -> float:
        """Return for how long unsent audio has waited, in seconds."""
        return 0.0 if self._waiting_since is None else now - self._waiting_since

    def deadline(self, unsent_s: float) -> float:
        """Return when the unsent audio is due (`-inf`: at once, `inf`: never)."""
        if unsent_s <= 0 or self._waiting_since is None:
            return math.inf
        return -math.inf if unsent_s >= self.threshold_ms() / 1000 else self.timer()

    def timer(self) -> float:
        """Return when audio below the threshold is due that waits already."""
        if self._waiting_since is None:
            return math.inf
        begin = self._waiting_since if self.last_flush is None else self.last_flush
        due = max(begin + self.intervals.max_interval_ms / 1000, self._waiting_since)
        return on_grid(due) if due > self._waiting_since else due

    def explain(self, now: float, unsent_s: float) -> dict[str, object]:
        """Return why a flush waits, for the log: ages, audio there and audio needed, all in milliseconds."""
        since_last = None if self.last_flush is None else round((now - self.last_flush) * 1000)
        return {
            "audio_ms": round(unsent_s * 1000),
            "needed_ms": self.threshold_ms(),
            "since_last_flush_ms": since_last,
            "buffer_age_ms": round(self.age(now) * 1000),
            "max_interval_ms": self.intervals.max_interval_ms,
        }


def on_grid(when: float) -> float:
    """Round a deadline down to the grid. One that lies on the grid stays, whatever floats say."""
    return math.floor(when / GRID_S + 1e-6) * GRID_S

"""Full-jitter exponential backoff, as Deepgram advises for reconnects (guide "Recovering From Errors")."""

from __future__ import annotations

import random


class Backoff:
    """Delays of `uniform(0, min(cap, base * 2**attempt))` seconds, until `reset`."""

    def __init__(self, base_s: float, cap_s: float, rng: random.Random | None = None) -> None:
        self._base, self._cap = base_s, cap_s
        # One generator for all: seeding another costs more than a round trip to Redis.
        self._uniform = random.uniform if rng is None else rng.uniform
        self.attempt = 0

    def next(self) -> float:
        """Return the next delay in seconds."""
        limit = min(self._cap, self._base * 2 ** min(self.attempt, 30))
        self.attempt += 1
        return self._uniform(0, limit)

    def reset(self) -> None:
        """Start over: the last attempt succeeded."""
        self.attempt = 0

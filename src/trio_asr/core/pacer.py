"""The pacer: how fast a connection may be fed while its call catches up.

A call catches up after a reconnect, a restart or a wait for a permit. Deepgram takes audio at about 1.25
times real time (guide "Recovering From Errors"). Anything faster floods it.
"""

from __future__ import annotations

import math
from collections import deque


class Pacer:
    """The bound on how fast one connection is fed: `rate` times real time over any `WINDOW_S`.

    Live audio comes at real time and is never held back. A backlog goes in small chunks at even steps, from
    when it exceeds `BACKLOG_S` until less than a chunk is left. Bursts would use up the window and leave
    pauses.
    """

    __slots__ = ("_sent", "_step_until", "_total", "catching_up", "rate")

    WINDOW_S = 5.0
    BACKLOG_S = 1.0

    def __init__(self, rate: float) -> None:
        self.catching_up = False
        self.rate = rate
        self._step_until = -math.inf  # while catching up, the next chunk is not due before
        self._sent: deque[tuple[float, float]] = deque()
        self._total = 0.0

    def waiting(self, unsent_s: float, chunk_s: float) -> None:
        """Note how much audio waits, and how much of it makes a small chunk, in seconds."""
        self.catching_up = unsent_s > (chunk_s if self.catching_up else max(self.BACKLOG_S, chunk_s))

    def ready_at(self, seconds: float, now: float) -> float:
        """Return when `seconds` of audio may be sent (not after `now`: at once)."""
        ready = self._step_until if self.catching_up else -math.inf
        excess = self._total_since(now - self.WINDOW_S) + seconds - self.rate * self.WINDOW_S
        for when, sent in self._sent:
            if excess <= 1e-9:
                break
            ready = max(ready, when + self.WINDOW_S)
            excess -= sent
        return ready

    def sent(self, seconds: float, now: float) -> None:
        """Record that `seconds` of audio were sent."""
        # A window fits one chunk more than the pace allows, so the pace is that much lower.
        self._step_until = now + seconds / max(1.0, self.rate - seconds / self.WINDOW_S)
        self._sent.append((now, seconds))
        self._total += seconds

    def _total_since(self, then: float) -> float:
        while self._sent and self._sent[0][0] <= then:
            self._total -= self._sent.popleft()[1]
        return self._total

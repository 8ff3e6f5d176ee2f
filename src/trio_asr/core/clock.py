"""The map from a connection's clock to the call's timeline.

A connection counts the audio that it received, from 0 (Deepgram: "Results" `start` and `duration`, in
seconds). The timeline continues across connections, and stretches that were given up are never sent. So the
map is piecewise: a list of pairs (connection sample, timeline sample).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class ClockMap:
    """The map from one connection's seconds to timeline samples, for audio of one rate in Hz."""

    __slots__ = ("_at", "_next", "_to", "rate", "sent")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.sent = 0  # samples that this connection was sent
        self._at = [0]
        self._to = [0]
        self._next = -1  # the timeline position that would continue the last piece

    @property
    def end(self) -> int:
        """The timeline sample after the last one sent (-1 before the first)."""
        return self._next

    def sending(self, start: int, end: int) -> None:
        """Record that `start..end` of the timeline is what the connection is sent next."""
        if start != self._next:
            if self.sent == self._at[-1]:
                self._to[-1] = start
            else:
                self._at.append(self.sent)
                self._to.append(start)
        self.sent += end - start
        self._next = end

    def span(self, start_s: float, duration_s: float) -> tuple[int, int]:
        """Return the timeline samples of a range on the connection's clock.

        A range that begins where a piece begins starts in that piece. One that ends there ends in the piece
        before. What lies beyond the audio sent is cut off.
        """
        start = self._clip(start_s)
        end = max(start, self._clip(start_s + duration_s))
        return self._map(start, bisect_right(self._at, start) - 1), self._map(
            end, max(0, bisect_left(self._at, end) - 1) if end > start else bisect_right(self._at, end) - 1
        )

    def sample(self, seconds: float) -> int:
        """Return the timeline sample of a moment on the connection's clock."""
        at = self._clip(seconds)
        return self._map(at, bisect_right(self._at, at) - 1)

    def _clip(self, seconds: float) -> int:
        # Broken servers send NaN, negative and absurd values. None of them may raise.
        if not seconds > 0:
            return 0
        return self.sent if seconds * self.rate >= self.sent else round(seconds * self.rate)

    def _map(self, at: int, piece: int) -> int:
        return self._to[piece] + at - self._at[piece]

"""The last minutes, for the page's charts: a sample every few seconds, whether or not anybody watches."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from trio_asr.telemetry.counters import quantile
from trio_asr.telemetry.metrics import Metrics

STEP_S = 5.0
KEPT = 120  # samples: ten minutes
QUANTILE = 0.99


class Sample(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Calls in progress, and the 99th percentiles of the daemon's delays since the last sample, in ms."""

    calls: int
    send_ms: float | None  # from the time a chunk was due to the socket; None if nothing was sent
    commit_ms: float | None  # from a result to Redis; None if nothing was committed


class History:
    """The samples, the newest last. `number` changes with each."""

    def __init__(self, metrics: Metrics) -> None:
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self.number = 0
        self._send, self._commit = metrics.send_delay, metrics.commit_latency
        self._counts = self._send.counts(), self._commit.counts()
        self._next = 0.0

    def note(self, now: float, calls: int) -> None:
        """Take a sample if one is due. `now` is in seconds, `calls` the number in progress."""
        if now < self._next:
            return
        self._next = now + STEP_S
        before, self._counts = self._counts, (self._send.counts(), self._commit.counts())
        send, commit = (_grown(old, new) for old, new in zip(before, self._counts, strict=True))
        self.number += 1
        self.samples.append(
            Sample(calls, _late_ms(self._send.bounds, send), _late_ms(self._commit.bounds, commit))
        )


def _grown(old: Sequence[int], new: Sequence[int]) -> list[int]:
    return [after - before for before, after in zip(old, new, strict=True)]


def _late_ms(bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    late_s = quantile(bounds, counts, QUANTILE)
    # Beyond the last bound nothing is known.
    return None if late_s is None else round(min(late_s, bounds[-1]) * 1000, 2)

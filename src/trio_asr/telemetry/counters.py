"""Counters and histograms that are cheap enough for thousands of changes a second.

Those of prometheus_client take a lock for every change and search a histogram's buckets one by one. Here the
event loop does all the changing and all the reading, so plain numbers do; the registry collects them at a
scrape.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

T = TypeVar("T")


class PlainCounter(Collector):
    """A counter without labels."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self.value = 0.0
        self._name, self._text = name, text
        registry.register(self)

    def inc(self, amount: float = 1) -> None:
        """Add to the counter."""
        self.value += amount

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._text, value=self.value)


class ReadCounter(Collector):
    """A counter without labels that is kept elsewhere: `read` returns its value at a scrape."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry, read: Callable[[], float]) -> None:
        self._name, self._text, self._read = name, text, read
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._text, value=self._read())


class ReadGauge(Collector):
    """A gauge without labels of a state that is kept elsewhere: `read` returns its value at a scrape.

    A gauge that is set when a state changes goes stale when the owner of the state goes. One that is read is
    right at every scrape.
    """

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self.read: Callable[[], float] = nothing
        self._name, self._text = name, text
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(self._name, self._text, value=self.read())


def nothing() -> float:
    """Return 0, the reading of a gauge whose state has no owner."""
    return 0.0


class PlainHistogram(Collector):
    """A histogram without labels; `bounds` are the upper bounds of its buckets, without +Inf."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._name, self._text = name, text
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float) -> None:
        """Count a value in its bucket."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def bounds(self) -> tuple[float, ...]:
        """The upper bounds of the buckets, without +Inf."""
        return self._bounds

    def counts(self) -> tuple[int, ...]:
        """Return the number of values in each bucket, +Inf last."""
        return tuple(self._counts)

    def collect(self) -> Iterable[Metric]:
        names = [*map(str, self._bounds), "+Inf"]
        buckets = list(zip(names, map(float, accumulate(self._counts)), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


@dataclass(frozen=True, slots=True)
class GapMeter:
    """The counters of the gaps with one reason."""

    count: Counter
    samples: Counter
    seconds: Counter

    def add(self, samples: int, seconds: float) -> None:
        """Count one gap of this length."""
        self.count.inc()
        self.samples.inc(samples)
        self.seconds.inc(seconds)


def quantile(bounds: Sequence[float], counts: Sequence[float], q: float) -> float | None:
    """Return the value that the part `q` of the values does not exceed, taken to be even within a bucket.

    None of nothing. What lies beyond the last bound, or below an infinite one, is said to be infinite.
    """
    rank, start, below = q * sum(counts), 0.0, 0.0
    if not rank:
        return None
    for end, count in zip(bounds, counts, strict=False):
        if below + count >= rank:
            return start + (end - start) * (rank - below) / count
        below, start = below + count, end
    return math.inf


def kept(make: Callable[[str], T], beforehand: Iterable[str] = ()) -> Callable[[str], T]:
    """Return `make`, cached by label: the library's own lookup takes a lock and builds a tuple.

    The labels in `beforehand` are made at once.
    """
    known: dict[str, T] = {label: make(label) for label in beforehand}

    def child(label: str) -> T:
        found = known.get(label)
        if found is None:
            found = known[label] = make(label)
        return found

    return child


def bound(family: Counter, beforehand: Iterable[str] = ()) -> Callable[[str], Counter]:
    """Return the children of a family by label; those in `beforehand` are exported from the start, as 0."""
    return kept(family.labels, beforehand)

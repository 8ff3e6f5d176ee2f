"""Counters and histograms for what happens thousands of times a second.

prometheus_client's own take a lock for each change and go through a histogram's buckets one by one. Here all
changes, and the reading, are the event loop's: plain numbers that the registry asks for when somebody looks.
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
        self.value += amount

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._text, value=self.value)


class ReadCounter(Collector):
    """A counter without labels that somebody else keeps: `read` returns it when somebody looks."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry, read: Callable[[], float]) -> None:
        self._name, self._text, self._read = name, text, read
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._text, value=self._read())


class ReadGauge(Collector):
    """A gauge without labels of a state that somebody has: `read` returns it when somebody looks.

    What is set when a state changes is left behind when its owner goes; what is read is true at every scrape.
    """

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self.read: Callable[[], float] = nothing
        self._name, self._text = name, text
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(self._name, self._text, value=self.read())


def nothing() -> float:
    """Return what a gauge reads while nobody has its state."""
    return 0.0


class PlainHistogram(Collector):
    """A histogram without labels; `bounds` are its buckets' upper ends, the infinite one left out."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._name, self._text = name, text
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def bounds(self) -> tuple[float, ...]:
        return self._bounds

    def counts(self) -> tuple[int, ...]:
        """How many values each bucket has got, the infinite one last."""
        return tuple(self._counts)

    def collect(self) -> Iterable[Metric]:
        names = [*map(str, self._bounds), "+Inf"]
        buckets = list(zip(names, map(float, accumulate(self._counts)), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


@dataclass(frozen=True, slots=True)
class GapMeter:
    """The counters of one reason for which audio was given up."""

    count: Counter
    samples: Counter
    seconds: Counter

    def add(self, samples: int, seconds: float) -> None:
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
    """``make``, asked once for each label: the library's own lookup takes a lock and builds a tuple."""
    known: dict[str, T] = {label: make(label) for label in beforehand}

    def child(label: str) -> T:
        found = known.get(label)
        if found is None:
            found = known[label] = make(label)
        return found

    return child


def bound(family: Counter, beforehand: Iterable[str] = ()) -> Callable[[str], Counter]:
    """The children of a family by label. Those made ``beforehand`` show a 0 until something happens."""
    return kept(family.labels, beforehand)

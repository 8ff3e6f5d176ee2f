"""One scrape of the daemon's metrics page. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from trio_asr.telemetry.counters import quantile


@dataclass(frozen=True)
class Histogram:
    """Counts by upper bound, not cumulative; the last bound is infinite."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    def since(self, before: Histogram) -> Histogram:
        """Return what was observed after `before`."""
        counts = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        return Histogram(self.bounds, counts)

    def quantile(self, q: float) -> float | None:
        """Return the value that a fraction `q` of the observations does not exceed.

        See `counters.quantile`.
        """
        return quantile(self.bounds, self.counts, q)


class Page:
    """One scrape of the metrics page."""

    def __init__(self, exposition: str) -> None:
        families = text_string_to_metric_families(exposition)
        self._samples = [sample for family in families for sample in family.samples]
        self._plain = {one.name: float(one.value) for one in self._samples if not one.labels}

    def value(self, name: str) -> float:
        """Return the value of a series without labels; 0 if there is none."""
        return self._plain.get(name, 0.0)

    def histogram(self, name: str) -> Histogram:
        """Return a histogram without further labels; it has no buckets if there is none."""
        upto = [(float(one.labels["le"]), one.value) for one in self._samples if one.name == f"{name}_bucket"]
        return Histogram(tuple(bound for bound, _ in upto), tuple(_differences(count for _, count in upto)))


def _differences(cumulated: Iterable[float]) -> Iterable[float]:
    last = 0.0
    for value in cumulated:
        yield value - last
        last = value

"""Processes and counters, looked at from outside. Pure but for reading /proc."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used, user and system, all its threads."""
    return stat_cpu_s((_PROC / str(pid) / "stat").read_text())


def stat_cpu_s(line: str) -> float:
    """User and system time out of /proc/PID/stat. The name in it may hold anything, spaces included."""
    fields = line.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def rss_bytes(pid: int) -> int:
    """The memory that a process holds."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pin(pid: int, cpus: Collection[int]) -> None:
    """Let all threads of a process run on these CPUs only; threads to come inherit it."""
    for task in (_PROC / str(pid) / "task").iterdir():
        os.sched_setaffinity(int(task.name), cpus)


class Series(NamedTuple):
    """One line of a Prometheus page."""

    name: str
    labels: str
    value: float


def parse(exposition: str) -> list[Series]:
    """All lines of a page."""
    found = []
    for line in exposition.splitlines():
        if line.startswith("#") or not line:
            continue
        key, _, value = line.rpartition(" ")
        name, _, labels = key.partition("{")
        found.append(Series(name, labels.removesuffix("}"), float(value)))
    return found


@dataclass(frozen=True)
class Histogram:
    """Counts by upper bound, not cumulated; the last bound is infinite."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.counts)

    def since(self, before: Histogram) -> Histogram:
        """What was observed after `before`."""
        counts = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        return Histogram(self.bounds, counts)

    def percentile(self, percent: float) -> float:
        """The value that so many percent do not exceed, taken to be even within a bucket; NaN of nothing.

        What lies beyond the last bound is said to be infinite.
        """
        rank = self.total * percent / 100
        below, seen = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count and seen + count >= rank:
                return below + (bound - below) * (rank - seen) / count if bound < math.inf else math.inf
            below, seen = bound, seen + count
        return math.nan


class Page:
    """One reading of the daemon's metrics."""

    def __init__(self, exposition: str) -> None:
        self._series = parse(exposition)
        self._plain: Mapping[str, float] = {one.name: one.value for one in self._series if not one.labels}

    def value(self, name: str) -> float:
        """A series without labels, 0 if there is none."""
        return self._plain.get(name, 0.0)

    def summed(self, name: str) -> float:
        """The sum over all labels."""
        return sum(one.value for one in self._series if one.name == name)

    def histogram(self, name: str) -> Histogram:
        """A histogram without further labels; one without buckets if there is none."""
        upto = [
            (float(one.labels.removeprefix('le="').removesuffix('"')), one.value)
            for one in self._series
            if one.name == f"{name}_bucket"
        ]
        return Histogram(tuple(bound for bound, _ in upto), tuple(_differences(count for _, count in upto)))


def _differences(cumulated: Iterable[float]) -> Iterable[float]:
    last = 0.0
    for value in cumulated:
        yield value - last
        last = value


def exact_percentile(values: list[float], percent: float) -> float:
    """The value that so many percent do not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]

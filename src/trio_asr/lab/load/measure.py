"""Processes as seen from outside, through /proc."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process in seconds: user and system, all threads."""
    return stat_cpu_s((_PROC / str(pid) / "stat").read_text())


def stat_cpu_s(line: str) -> float:
    """Return user plus system time in seconds from a line of /proc/PID/stat.

    The process name in it may contain anything, spaces included.
    """
    fields = line.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pin(pid: int, cpus: Collection[int]) -> None:
    """Pin all threads of a process to these CPUs; new threads inherit that."""
    for task in (_PROC / str(pid) / "task").iterdir():
        os.sched_setaffinity(int(task.name), cpus)


def exact_percentile(values: list[float], percent: float) -> float:
    """Return the value that `percent` % of the values do not exceed; NaN if there are none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]

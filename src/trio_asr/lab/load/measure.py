"""Processes looked at from outside, by /proc."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path

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


def exact_percentile(values: list[float], percent: float) -> float:
    """The value that so many percent do not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]

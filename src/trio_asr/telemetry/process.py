"""What the process uses of its machine, and how much memory it may use."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from prometheus_client import ProcessCollector

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


class Process(ProcessCollector):
    """CPU, memory and files of the process.

    The library asks /proc/stat when the machine was booted and shows nothing without it. The unit hides that
    file (ProcSubset=pid), so the clock is asked.
    """

    def _boot_time(self) -> float:
        try:
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        except AttributeError as error:  # no Linux; there is no /proc either
            raise OSError from error


def memory_limit_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """Return how much memory the process may use: what its control groups allow, at most what there is.

    MemoryHigh= counts as well as MemoryMax=: beyond it a process is slowed down until it stands still.
    """
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([there, *_limits(cgroups, own)])


def _limits(cgroups: Path, own: Path) -> Iterator[int]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if path is None:
        return
    group = PurePosixPath(path)
    for one in (group, *group.parents):
        for name in ("memory.high", "memory.max"):
            try:
                text = (cgroups / one / name).read_text().strip()
            except OSError:  # the root has none; a container may not see its own
                continue
            if text.isdecimal():  # else it is "max"
                yield int(text)

"""The resources that the process uses, and its memory limit."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from prometheus_client import ProcessCollector

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


class Process(ProcessCollector):
    """CPU, memory and file descriptors of the process.

    The library reads the boot time from /proc/stat and exports nothing without it. Our systemd unit hides
    that file (ProcSubset=pid), so the boot time is taken from the clock.
    """

    def _boot_time(self) -> float:
        try:
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        except AttributeError as error:  # not Linux, so there is no /proc either
            raise OSError from error


class CpuShare:
    """The share of a core that the process takes, measured over a second or more."""

    def __init__(self) -> None:
        self._share = 0.0
        self._since: tuple[float, float] | None = None  # a time on the clock, and the CPU time used by then

    def read(self, now: float) -> float:
        """Return the share by `now`, in seconds of any clock."""
        used = time.process_time()
        if self._since is None:
            self._since = now, used
        elif now - self._since[0] >= 1:
            self._share = (used - self._since[1]) / (now - self._since[0])
            self._since = now, used
        return round(self._share, 3)


def memory_limit_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """Return the memory limit in bytes: the least of its control groups' limits and the machine's memory.

    MemoryHigh= counts as well as MemoryMax=: above it the kernel throttles a process to a standstill.
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
            except OSError:  # the root group has no limit; a container may not see its own group
                continue
            if text.isdecimal():  # else it is "max"
                yield int(text)

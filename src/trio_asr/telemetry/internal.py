"""The safety net: a bug costs the one entry, message, call or job that it happened in.

The code that handles one of those catches every exception and reports it here, with the place where it was
caught. The bug is counted by place (`asr_internal_errors_total`, which alerts) and logged at a limited rate,
so it never goes unnoticed.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio
from prometheus_client import Counter

from trio_asr.telemetry import logs
from trio_asr.telemetry.groups import leaves
from trio_asr.wire.codes import CaughtAt, ErrorKind

LOG_S = 10.0  # least time between two log lines about one place, in seconds
FRAMES = 6  # innermost frames of the traceback that are logged


class ErrorMetrics(Protocol):
    """What counts bugs."""

    @property
    def internal_errors(self) -> Callable[[CaughtAt], Counter]:
        """The counters of bugs, by where they were caught."""
        ...

    def failed(self, kind: ErrorKind, epoch_s: float) -> None:
        """Count an error, at `epoch_s` seconds since 1970."""
        ...


class InternalErrors:
    """The counter and the log of caught bugs. One instance serves the process, so the rate limit is one."""

    def __init__(self, metrics: ErrorMetrics) -> None:
        self._metrics = metrics
        self._log = logs.get("internal")
        self._last: deque[BaseException] = deque(maxlen=1)
        self._rates: dict[str, logs.Rate] = {}  # by place

    def caught(self, place: CaughtAt, error: BaseException, **names: str) -> None:
        """Count and log a bug that was caught at `place`; `names` say what it cost.

        The error's message may quote what somebody said in a call, so it is logged at DEBUG only.
        """
        leaf = leaves(error)[0]
        if leaf in self._last:
            return  # it was caught further down already, where more was known about it
        self._last.append(leaf)
        self._metrics.internal_errors(place).inc()
        self._metrics.failed(ErrorKind.INTERNAL, time.time())
        rate = self._rates.setdefault(place, logs.Rate(LOG_S))
        if rate.allow(trio.current_time()):
            self._log.error(
                "Internal error", place=place, error=type(error).__name__, at=where(error),
                suppressed=rate.skipped, **names,
            )  # fmt: skip
        self._log.debug("Internal error, in its own words", place=place, exc_info=error)


def where(error: BaseException) -> str:
    """Return where an error was raised, without its message: file, line and function, innermost first."""
    frames = traceback.extract_tb(leaves(error)[0].__traceback__)[-FRAMES:]
    return " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[::-1]
    )

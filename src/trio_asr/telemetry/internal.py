"""The net under what is done for one entry, one message, one call, one job: a bug there costs that one.

Whoever does such a thing catches what it does not foresee and brings it here, with the place where it was
caught. It is counted by place (`asr_internal_errors_total`, which alarms) and logged once in a while: it
never hides.
"""

from __future__ import annotations

import time
import traceback
from collections import deque

import trio

from trio_asr.telemetry import logs
from trio_asr.telemetry.groups import leaves
from trio_asr.telemetry.metrics import Metrics

LOG_S = 10.0  # between two lines of one place
FRAMES = 6  # of the traceback: the innermost ones


class InternalErrors:
    """Counts and logs what was caught."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = logs.get("internal")
        self._last: deque[BaseException] = deque(maxlen=1)
        self._rates: dict[str, logs.Rate] = {}  # one for each place in the code

    def caught(self, place: str, error: BaseException, **names: str) -> None:
        """Take note of an error that was not foreseen at `place`; `names` say what it cost.

        The error's own words may quote what somebody said in a call, so only DEBUG has them.
        """
        leaf = leaves(error)[0]
        if leaf in self._last:
            return  # on its way up it was caught before, where more was known of it
        self._last.append(leaf)
        self._metrics.internal_errors(place).inc()
        self._metrics.failed("internal", time.time())
        rate = self._rates.setdefault(place, logs.Rate(LOG_S))
        if rate.allow(trio.current_time()):
            self._log.error(
                "Internal error", place=place, error=type(error).__name__, at=where(error),
                suppressed=rate.skipped, **names,
            )  # fmt: skip
        self._log.debug("Internal error, in its own words", place=place, exc_info=error)


def where(error: BaseException) -> str:
    """Return where an error was raised: file, line and function, the innermost first; none of its words."""
    frames = traceback.extract_tb(leaves(error)[0].__traceback__)[-FRAMES:]
    return " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[::-1]
    )

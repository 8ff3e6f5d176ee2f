"""Reporting of a bus that does not answer."""

from __future__ import annotations

import trio

from trio_asr.bus.base import BusFault, BusUnavailable, KeyMisused
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.codes import CaughtAt, Problem

RETRY_BASE_S, RETRY_CAP_S = 0.05, 2.0  # between two attempts, in full jitter


def away(problem: Problem, error: BusUnavailable, problems: Problems, internal: InternalErrors) -> None:
    """Report `problem` with the bus, as `error` tells it: a misused key, a bug, or no answer.

    A bug is also counted as an internal error.
    """
    now = trio.current_time()
    if isinstance(error, KeyMisused):
        problems.report_key(error.key, problem, now, str(error))
        return
    if isinstance(error, BusFault):
        internal.caught(CaughtAt.BUS, error.__cause__ or error)
    problems.report(problem, now, str(error))

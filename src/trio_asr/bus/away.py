"""A bus that does not answer: what kind of trouble that is."""

from __future__ import annotations

import trio

from trio_asr.bus.base import BusFault, BusUnavailable, KeyMisused
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.codes import CaughtAt, Problem


def away(problem: Problem, error: BusUnavailable, problems: Problems, internal: InternalErrors) -> None:
    """Take note that the bus does not do what `problem` names, and why: a key, a bug, or it is not there."""
    now = trio.current_time()
    if isinstance(error, KeyMisused):
        problems.report_key(error.key, problem, now, str(error))
        return
    if isinstance(error, BusFault):
        internal.caught(CaughtAt.BUS, error.__cause__ or error)
    problems.report(problem, now, str(error))

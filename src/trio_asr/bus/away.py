"""A bus that does not answer: what kind of trouble that is."""

from __future__ import annotations

import trio

from trio_asr.bus.base import BusFault, BusUnavailable, KeyMisused
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.problems import Troubles

RETRY_BASE_S, RETRY_CAP_S = 0.05, 2.0  # between two attempts, in full jitter


def away(trouble: str, error: BusUnavailable, troubles: Troubles, internal: InternalErrors) -> None:
    """Take note that the bus does not do what `trouble` names, and why: a key, a bug, or it is not there."""
    now = trio.current_time()
    if isinstance(error, KeyMisused):
        troubles.begin_key(error.key, trouble, now, str(error))
        return
    if isinstance(error, BusFault):
        internal.caught("bus", error.__cause__ or error)
    troubles.begin(trouble, now, str(error))

"""Queries to the bus that are retried until it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from trio_asr.bus.away import RETRY_BASE_S, RETRY_CAP_S, away
from trio_asr.bus.base import BusUnavailable
from trio_asr.core.backoff import Backoff
from trio_asr.interaction.services import Services
from trio_asr.wire.codes import Problem

T = TypeVar("T")


async def patiently(
    services: Services, ask: Callable[[], Awaitable[T]], on_away: Callable[[], None] = lambda: None
) -> T:
    """Ask the bus until it answers. `on_away` is called each time that it does not."""
    backoff = Backoff(RETRY_BASE_S, RETRY_CAP_S)
    while True:
        try:
            answer = await ask()
        except BusUnavailable as error:
            on_away()
            away(Problem.REDIS, error, services.problems, services.internal)
            await trio.sleep(backoff.next())
        else:
            services.problems.resolve(Problem.REDIS, trio.current_time())
            return answer

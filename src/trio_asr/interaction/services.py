"""What every call shares."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from trio_asr.bus.away import away
from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.committer import Committer
from trio_asr.bus.lease import Lease
from trio_asr.config import Config
from trio_asr.core.backoff import Backoff
from trio_asr.deepgram.admission import Admission
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Troubles

RETRY_BASE_S, RETRY_CAP_S = 0.05, 2.0
TROUBLE = "redis"

T = TypeVar("T")


@dataclass
class Services:
    """The parts of the daemon that a call's tasks use. A reload replaces the config, nothing else changes."""

    config: Config
    admission: Admission
    committer: Committer
    lease: Lease
    metrics: Metrics
    troubles: Troubles
    internal: InternalErrors = field(init=False)

    def __post_init__(self) -> None:
        self.internal = InternalErrors(self.metrics)

    def broken_state(self, kind: str, why: str, kept_as: str, **names: str) -> None:
        """Take note of something stored that is no state of ours, and where it was put."""
        self.metrics.broken_states(kind).inc()
        self.metrics.failed("state", time.time())
        logs.get("state").error(
            "Stored state cannot be read; it was set aside", kind=kind, reason=why, kept_as=kept_as, **names
        )

    async def patiently(
        self, ask: Callable[[], Awaitable[T]], on_away: Callable[[], None] | None = None
    ) -> T:
        """Ask the bus for as long as it takes; `on_away` is called each time that it does not answer."""
        backoff = Backoff(RETRY_BASE_S, RETRY_CAP_S)
        while True:
            try:
                answer = await ask()
            except BusUnavailable as error:
                if on_away is not None:
                    on_away()
                away(TROUBLE, error, self.troubles, self.internal)
                await trio.sleep(backoff.next())
            else:
                self.troubles.end(TROUBLE, trio.current_time())
                return answer

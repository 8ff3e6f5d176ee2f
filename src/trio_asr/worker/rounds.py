"""Jobs that run once a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from trio_asr.bus.base import BusUnavailable
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.wire.codes import CaughtAt

PERIOD_S = 1.0

Job = Callable[[], Awaitable[None] | None]


async def every_second(jobs: Sequence[Job], internal: InternalErrors) -> None:
    """Run all jobs once a second, one after another. Never returns, and lets no exception out.

    A bug in a job costs one round of it. Whatever needs Redis is skipped while Redis does not answer.
    """
    while True:
        await trio.sleep(PERIOD_S)
        for job in jobs:
            try:
                asking = job()
                if asking is not None:
                    with suppress(BusUnavailable):  # the dispatcher notices and reports it
                        await asking
            except Exception as error:  # noqa: BLE001 - see above
                internal.caught(CaughtAt.HOUSEKEEPING, error, job=job.__name__)

"""Leave to connect: how many connections there may be, and whether dialling makes sense at all.

Calls beyond `deepgram.max_connections` wait first in, first out, and their audio waits with them; a call that
reconnects keeps its place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trio_asr.bus.lease import Lease
from trio_asr.metrics import Metrics
from trio_asr.provider import Provider


class Connections:
    """The provider, and the places for connections to it."""

    def __init__(self, provider: Provider, limit: int, lease: Lease, metrics: Metrics) -> None:
        self.provider = provider
        self.open = 0
        self._places = trio.CapacityLimiter(limit)
        self._lease = lease
        self._metrics = metrics

    def limit(self, places: int) -> None:
        """Change how many connections there may be; those that are open stay."""
        self._places.total_tokens = places

    @asynccontextmanager
    async def place(self, borrower: object) -> AsyncIterator[None]:
        """Hold one of the places."""
        await self._places.acquire_on_behalf_of(borrower)
        try:
            yield
        finally:
            self._places.release_on_behalf_of(borrower)

    async def may_dial(self) -> None:
        """Wait until the lease surely holds: a worker that might have been replaced dials nothing."""
        await self._lease.wait_valid()

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return self._places.statistics().tasks_waiting

    def opened(self) -> None:
        """Count a connection that opened."""
        self.open += 1
        self._metrics.connections.set(self.open)

    def closed(self) -> None:
        """Count a connection that closed."""
        self.open -= 1
        self._metrics.connections.set(self.open)

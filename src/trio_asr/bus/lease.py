"""Ownership as a worker knows it: until when its lease surely holds, and how it gets it back."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from trio_asr.bus.base import Bus, Tenure

MAX_PERIOD_S = 0.5  # a standby takes over within a second of a release
MARGIN = 0.2  # of the lease: clocks drift, and what is being dialled takes a moment


class OwnershipLost(Exception):
    """Another worker owns the calls: drop everything and stand by."""


class Lease:
    """The lease of this worker; `valid` is asked before every dial and every send.

    It counts from when a renewal was *requested*: the answer may have been on its way for long.
    `on_recovered` is called when the fence was set anew because the bus had lost its data.
    """

    def __init__(self, bus: Bus, ttl_ms: int, on_recovered: Callable[[], None] = lambda: None) -> None:
        self._bus = bus
        self._on_recovered = on_recovered
        self._ttl_ms = ttl_ms
        self._valid_until = -math.inf
        self._recovering = trio.Lock()
        self._renewed = trio.Event()
        self._lost_data = False  # the bus has, and does not have our fence again for sure
        self._owner_seen = False  # somebody else's lease
        self._missing_since: float | None = None  # the fence

    @property
    def period_s(self) -> float:
        """How often to renew, and how often a standby tries."""
        return min(self._ttl_ms / 4000, MAX_PERIOD_S)

    def valid(self, now: float) -> bool:
        """Say whether the lease surely holds now."""
        return now < self._valid_until

    async def wait_valid(self) -> None:
        """Wait until the lease surely holds."""
        while not self.valid(trio.current_time()):
            await self._renewed.wait()

    async def acquire(self) -> bool:
        """Try to become the owner.

        Where there was an owner and now there is not even a fence, the bus has lost its data. The owner, if
        it lives, sets it again with its next renewal, and has in memory what was lost: it gets the length of
        a lease to do so.
        """
        asked = trio.current_time()
        since = asked if self._missing_since is None else self._missing_since
        patient = self._owner_seen and asked - since < self._ttl_ms / 1000
        tenure = await self._bus.acquire(self._ttl_ms, patient=patient)
        self._owner_seen |= tenure is Tenure.LOST
        self._missing_since = since if tenure is Tenure.MISSING else None
        if tenure is Tenure.HELD:
            self._hold(asked)
        return tenure is Tenure.HELD

    async def renew(self) -> None:
        """Prolong the lease.

        Raises:
            OwnershipLost: another worker took over.
        """
        # One at a time: whoever finds the fence gone sets it again, and the next one finds it there.
        async with self._recovering:
            asked = trio.current_time()
            tenure = await self._bus.renew(self._ttl_ms)
            if tenure is Tenure.MISSING:
                self._lost_data = True
                if await self._bus.acquire(self._ttl_ms) is not Tenure.HELD:
                    raise OwnershipLost
            elif tenure is Tenure.LOST:
                raise OwnershipLost
            self._hold(asked)
            if self._lost_data:  # also where the answer to `acquire` was lost, and this is a later renewal
                self._lost_data = False
                self._on_recovered()

    async def release(self) -> None:
        """Give the lease back."""
        self._valid_until = -math.inf
        await self._bus.release()

    def _hold(self, asked: float) -> None:
        self._valid_until = asked + self._ttl_ms / 1000 * (1 - MARGIN)
        self._renewed.set()
        self._renewed = trio.Event()

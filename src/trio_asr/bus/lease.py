"""A worker's view of ownership: until when its lease certainly holds, and how it gets it back."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from trio_asr.bus.base import HEIR_MS, Bus, Tenure

MAX_PERIOD_S = 0.5  # between two renewals; a standby takes over within a second of a release
MARGIN = 0.2  # share of the lease that is not relied on: clocks drift, and dialling takes a moment


class OwnershipLost(Exception):
    """The loss of the calls to another worker: drop everything and stand by."""


class Lease:
    """The lease of this worker; `valid` is checked before every dial and every send.

    Its validity counts from when a renewal was *requested*, since the answer may take long. `on_recovered` is
    called after the fence was set again because the bus had lost its data.
    """

    def __init__(self, bus: Bus, ttl_ms: int, on_recovered: Callable[[], None] = lambda: None) -> None:
        self._bus = bus
        self._on_recovered = on_recovered
        self._ttl_ms = ttl_ms
        self._valid_until = -math.inf
        self._retired = False
        self._recovering = trio.Lock()
        self._renewed = trio.Event()
        self._lost_data = False  # the bus has, and it is not certain that our fence is there again
        self._owner_seen = False  # another worker has held the lease
        self._missing_since: float | None = None  # since when the fence is missing

    @property
    def renewal_s(self) -> float:
        """The interval of the renewals of a shard, in seconds: a member has many leases to renew.

        A lease that is passed on or released is seen to be, so nobody waits for the next renewal.
        """
        return self._ttl_ms / 4000

    @property
    def period_s(self) -> float:
        """The interval of renewals, and of a standby's attempts, in seconds."""
        return min(self.renewal_s, MAX_PERIOD_S)

    def valid(self, now: float) -> bool:
        """Return whether the lease certainly holds at `now`, in seconds of trio's clock."""
        return now < self._valid_until and not self._retired

    def expired(self, now: float) -> bool:
        """Return whether the lease may be another's at `now`, in seconds of trio's clock."""
        return now >= self._valid_until + self._ttl_ms / 1000 * MARGIN

    async def wait_valid(self) -> None:
        """Wait until the lease certainly holds."""
        while not self.valid(trio.current_time()):
            await self._renewed.wait()

    async def acquire(self) -> bool:
        """Try to become the owner; return whether this worker is.

        Where there was an owner and now there is not even a fence, the bus has lost its data. The owner, if
        it is alive, restores the fence with its next renewal, and has the lost data in memory. So it gets the
        length of a lease to do so.

        Raises:
            BusUnavailable: The bus does not answer.
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
        """Renew the lease.

        Raises:
            OwnershipLost: Another worker has taken over.
            BusUnavailable: The bus does not answer.
        """
        # One at a time: the first to find the fence missing restores it, and the next one finds it there.
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
            if self._lost_data:  # also in a later renewal, if the answer to `acquire` was lost
                self._lost_data = False
                self._on_recovered()

    def retire(self) -> None:
        """Send nothing more: the lease is kept only to commit what comes back until it is given away."""
        self._retired = True

    async def release(self) -> None:
        """Release the lease.

        Raises:
            BusUnavailable: The bus does not answer; a standby has to wait until the lease expires.
        """
        self._valid_until = -math.inf
        await self._bus.release()

    async def pass_on(self, heir: str, keep_ms: int = HEIR_MS) -> None:
        """Give the lease to a member, for whom it is kept for `keep_ms` before anybody may take it.

        Raises:
            BusUnavailable: The bus does not answer; the heir has to wait until the lease expires.
        """
        self._valid_until = -math.inf
        await self._bus.pass_on(heir, keep_ms)

    def _hold(self, asked: float) -> None:
        self._valid_until = asked + self._ttl_ms / 1000 * (1 - MARGIN)
        self._renewed.set()
        self._renewed = trio.Event()

"""One run: calls are fed, processes are disturbed meanwhile, and every sample is accounted for."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from trio_asr.client.redis import connect_fleet
from trio_asr.core.fleet.places import Places
from trio_asr.lab.rig.account import Account, account
from trio_asr.lab.rig.evidence import Document, Evidence, collect, events
from trio_asr.lab.rig.present import Present
from trio_asr.lab.rig.processes import Rig

POLL_S = 0.25
SETTLE_S = 3.0

#: What is done to the rig while calls are fed; its argument is the time of their first sample.
Deed = Callable[[float], Awaitable[None]]


class Produced(Protocol):
    """A call that is produced. `present` are all its samples."""

    @property
    def id(self) -> str: ...

    @property
    def rate(self) -> int: ...

    @property
    def present(self) -> Present: ...


class Producer(Protocol):
    """A producer of calls: a feeder, or callers of an ingest."""

    @property
    def calls(self) -> Sequence[Produced]: ...

    async def run(self, *, task_status: trio.TaskStatus[float] = trio.TASK_STATUS_IGNORED) -> None: ...


async def nothing(began: float) -> None:
    """Disturb nothing."""
    del began
    await trio.lowlevel.checkpoint()


class Run:
    """A run of calls on a rig whose workers are up.

    `trust_feeder` takes what was fed as the truth, for streams that are trimmed. For `by_order` see
    `account`.
    """

    def __init__(
        self, rig: Rig, feeder: Producer, *, by_order: bool = False, trust_feeder: bool = False
    ) -> None:
        self.rig = rig
        self.feeder = feeder
        self.evidence = Evidence()
        self._by_order, self._trust_feeder = by_order, trust_feeder

    async def run(self, deed: Deed = nothing, *, within: float = 300.0) -> Account:
        """Feed the calls, do the deed, and return the account.

        Both done, it waits up to `within` seconds for the account to become complete.
        """
        async with trio.open_nursery() as nursery:
            began: float = await nursery.start(self.feeder.run)
            nursery.start_soon(deed, began)
        deadline = trio.current_time() + within
        ended_at = math.inf
        while (now := trio.current_time()) < deadline:
            ended_at = min(ended_at, now) if await self.all_ended() else math.inf
            # A call that ended may resume at once, with frames that arrived while it closed.
            if now - ended_at >= SETTLE_S or (now >= ended_at and (await self.account()).complete):
                break
            await trio.sleep(POLL_S)
        return await self.account()

    async def account(self) -> Account:
        """Account for the samples fed so far."""
        seen = await self.rig.simulator.connections()
        self.evidence = await trio.to_thread.run_sync(collect, self.rig.valkey.url, seen, self.rig.places)
        calls = self.feeder.calls
        return account(
            self.evidence,
            {call.id: call.rate for call in calls},
            by_order=self._by_order,
            fed={call.id: call.present for call in calls} if self._trust_feeder else None,
        )

    async def all_ended(self) -> bool:
        """Return whether the last lifecycle event of each call is its end."""
        return await trio.to_thread.run_sync(_all_ended, self.rig.valkey.url, self._names, self.rig.places)

    @property
    def _names(self) -> Sequence[str]:
        return [call.id for call in self.feeder.calls]


def _all_ended(url: str, names: Sequence[str], places: Places) -> bool:
    seen: dict[str, list[Document]] = {}
    with connect_fleet(url) as client:
        for prefix in places.prefixes:
            seen |= events(client, prefix + "asr_events")
    life = ("started", "resumed", "ended")
    return all(
        [one["event"] for one in seen.get(name, ()) if one["event"] in life][-1:] == ["ended"]
        for name in names
    )

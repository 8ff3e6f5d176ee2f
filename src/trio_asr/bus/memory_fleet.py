"""A fleet's servers in memory: a store for each shard, and what the members say of themselves."""

from __future__ import annotations

import trio

from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.keys import holder_of
from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.config import Config


class MemoryFleet:
    """The servers, for any number of members. `away`: whether those of the control answer nobody.

    A shard's store has such a switch of its own.
    """

    def __init__(self, shards: int) -> None:
        self.stores = [MemoryStore() for _ in range(shards)]
        self.shards: int | None = None  # as the first member has written it
        self.beats: dict[str, tuple[bytes, float]] = {}  # with the time at which each expires
        self.away = False


class MemoryControl:
    """A member's access to what the fleet has in common (see `Control`)."""

    def __init__(self, fleet: MemoryFleet) -> None:
        self._fleet = fleet

    async def _arrive(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._fleet.away:
            raise BusUnavailable("away")

    async def found(self, shards: int) -> int:
        await self._arrive()
        if self._fleet.shards is None:
            self._fleet.shards = shards
        return self._fleet.shards

    async def beat(self, member: str, data: bytes, ttl_ms: int) -> None:
        await self._arrive()
        self._fleet.beats[member] = data, trio.current_time() + ttl_ms / 1000

    async def leave(self, member: str) -> None:
        await self._arrive()
        self._fleet.beats.pop(member, None)

    async def beats(self) -> list[bytes]:
        await self._arrive()
        now = trio.current_time()
        return [data for data, until in self._fleet.beats.values() if until > now]

    async def holders(self) -> list[str | None]:
        await self._arrive()
        return [
            None if store.away else holder_of((store.holder or "").encode()) for store in self._fleet.stores
        ]


class MemoryRouter:
    """A member's access to a fleet in memory (see `Router`)."""

    def __init__(self, fleet: MemoryFleet, config: Config) -> None:
        self.control = MemoryControl(fleet)
        member = config.fleet.member_name
        self._buses = [
            MemoryBus.of(store, config.of_shard(shard).redis, member=member)
            for shard, store in enumerate(fleet.stores)
        ]

    def bus(self, shard: int) -> MemoryBus:
        return self._buses[shard]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

"""What a fleet has beside its shards: the number of them, the members' beats, and who holds which lease."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar, runtime_checkable

import redis
import trio

from trio_asr.bus.base import Bus, BusFault, BusUnavailable, KeyMisused
from trio_asr.bus.connection import Command, Script
from trio_asr.bus.keys import FleetKeys, Keys, holder_of
from trio_asr.bus.line import Steps, granted
from trio_asr.bus.nodes import Node, Nodes, slot_of
from trio_asr.config.fleet import shard_prefix

# What is looked at of the members, each second; a beat tells 45 bytes of each shard at most.
MOST_BEATS, MOST_BEAT_BYTES, MOST_BYTES = 2000, 1_000_000, 4_000_000
HOLDERS_S = 1.0  # most time that a node has to say who holds its shards: the others' are not to wait for it

T = TypeVar("T")
_BEATS = Script("beats.lua")


class Control(Protocol):
    """A member's access to what the fleet has in common.

    Raises:
        BusUnavailable: By every method, when the server does not answer; `KeyMisused` when a key is not what
            the method needs.
    """

    async def found(self, shards: int) -> int:
        """Set the number of shards, unless the fleet has one; return the one that it has."""
        ...

    async def beat(self, member: str, data: bytes, ttl_ms: int) -> None:
        """Show what a member says of itself, for `ttl_ms` milliseconds."""
        ...

    async def leave(self, member: str) -> None:
        """Remove a member's beat."""
        ...

    async def beats(self) -> list[bytes]:
        """Return the beats that have not expired, in no order."""
        ...

    async def holders(self) -> list[str | None]:
        """Return for each shard the member that holds its lease.

        "" stands for a lease that is free, `heir:MEMBER` for one that is kept for a member, None for one
        whose server cannot be asked now.
        """
        ...


@runtime_checkable
class Router(Protocol):
    """A member's access to the whole fleet."""

    @property
    def control(self) -> Control: ...

    def bus(self, shard: int) -> Bus:
        """Return the bus of a shard: always the same one."""
        ...

    async def aclose(self) -> None:
        """Close the connections and release all resources, also those of each bus."""
        ...


class RedisControl:
    """The control on Redis or Valkey (see `Control`). All its keys but the leases are in one slot."""

    def __init__(self, nodes: Nodes, group: str, shards: int) -> None:
        self._nodes = nodes
        self._keys = FleetKeys(group)
        self._slot = slot_of(self._keys.fleet)
        self._leases = [Keys(group, shard_prefix(group, shard)).lease for shard in range(shards)]

    async def _ask(self, steps: Steps[T]) -> T:
        return await self._nodes.ask(self._slot, lambda node: node.line.ask(steps, urgent=True))

    async def found(self, shards: int) -> int:
        return await self._ask(self._found(shards))

    def _found(self, shards: int) -> Steps[int]:
        key = self._keys.fleet
        _, written = yield from self._of(key, ("HSETNX", key, "shards", shards), ("HGET", key, "shards"))
        if not written.isdigit():
            raise KeyMisused(key)
        return int(written)

    async def beat(self, member: str, data: bytes, ttl_ms: int) -> None:
        # The name each time: another member may just have found it without a beat, and removed it.
        name, beat = ("SADD", self._keys.beats, member), ("SET", self._keys.beat(member), data, "PX", ttl_ms)
        await self._ask(self._of(self._keys.beats, beat, name))

    async def leave(self, member: str) -> None:
        name, beat = ("SREM", self._keys.beats, member), ("DEL", self._keys.beat(member))
        await self._ask(self._of(self._keys.beats, beat, name))

    async def beats(self) -> list[bytes]:
        beats = await self._ask(self._beats())
        if beats is None:
            raise BusUnavailable(f"{self._keys.beats} has more members, or larger ones, than are looked at")
        return beats

    def _beats(self) -> Steps[list[bytes] | None]:
        """Return the beats; None where there are too many: some of them are no view of a fleet."""
        key, bounds = self._keys.beats, (MOST_BEAT_BYTES, MOST_BEATS, MOST_BYTES)
        ((head, *beats),) = granted((yield [_BEATS.on([key], self._keys.beat(""), *bounds)]))
        word, _, name = bytes(head).decode().partition(" ")
        if name != key:
            raise ValueError("an answer to another question")
        if word == "blocked":
            raise KeyMisused(key)
        return beats if word == "found" else None

    async def holders(self) -> list[str | None]:
        places: dict[Node, list[int]] = {}
        for shard, lease in enumerate(self._leases):
            with suppress(BusUnavailable):
                places.setdefault(await self._nodes.node(slot_of(lease)), []).append(shard)
        found: list[str | None] = [None] * len(self._leases)
        faults: list[BusFault] = []

        async def ask(node: Node, shards: list[int]) -> None:
            try:
                holders = await node.line.ask(self._holders(shards), urgent=True)
            except BusFault as error:
                faults.append(error)
            except BusUnavailable:
                return  # they stay unknown
            else:
                for shard, holder in zip(shards, holders, strict=True):
                    found[shard] = holder

        with trio.move_on_after(HOLDERS_S):
            async with trio.open_nursery() as nursery:
                for node, shards in places.items():
                    nursery.start_soon(ask, node, shards)
        if faults:
            raise faults[0]
        if None in found:  # perhaps it lies elsewhere by now
            silent = next((node for node, shards in places.items() if found[shards[0]] is None), None)
            await self._nodes.look(besides=silent)
        return found

    def _holders(self, shards: Sequence[int]) -> Steps[list[str | None]]:
        # MGET, since to it a key of another type is none: who wants the shard then finds out what is wrong.
        replies = yield [("MGET", self._leases[shard]) for shard in shards]
        return [None if isinstance(one, redis.ResponseError) else holder_of(one[0]) for one in replies]

    def _of(self, key: str, *commands: Command) -> Steps[list[Any]]:
        """Ask commands that need a key of the right type."""
        try:
            return granted((yield commands))
        except redis.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise KeyMisused(key) from error
            raise

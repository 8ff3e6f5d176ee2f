"""What a fleet has beside its shards: the number of them, the members' beats, and who holds which lease."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import redis

from trio_asr.bus.base import Bus, KeyMisused
from trio_asr.bus.connection import Command, PipelinedConnection, options
from trio_asr.bus.keys import FleetKeys, Keys, holder_of
from trio_asr.bus.line import Line, Steps, granted
from trio_asr.config.fleet import shard_prefix


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

    def __init__(self, url: str, group: str, shards: int) -> None:
        self._keys = FleetKeys(group)
        self._leases = [Keys(group, shard_prefix(group, shard)).lease for shard in range(shards)]
        self._line = Line("redis-control", PipelinedConnection(url, options()))

    async def found(self, shards: int) -> int:
        return await self._line.ask(self._found(shards))

    def _found(self, shards: int) -> Steps[int]:
        key = self._keys.fleet
        _, written = yield from self._of(key, ("HSETNX", key, "shards", shards), ("HGET", key, "shards"))
        if not written.isdigit():
            raise KeyMisused(key)
        return int(written)

    async def beat(self, member: str, data: bytes, ttl_ms: int) -> None:
        # The name each time: another member may just have found it without a beat, and removed it.
        name, beat = ("SADD", self._keys.beats, member), ("SET", self._keys.beat(member), data, "PX", ttl_ms)
        await self._line.ask(self._of(self._keys.beats, beat, name))

    async def leave(self, member: str) -> None:
        name, beat = ("SREM", self._keys.beats, member), ("DEL", self._keys.beat(member))
        await self._line.ask(self._of(self._keys.beats, beat, name))

    async def beats(self) -> list[bytes]:
        return await self._line.ask(self._beats())

    def _beats(self) -> Steps[list[bytes]]:
        (members,) = yield from self._of(self._keys.beats, ("SMEMBERS", self._keys.beats))
        if not members:
            return []
        keys = [self._keys.beat(member.decode("utf-8", "replace")) for member in members]
        (beats,) = granted((yield [("MGET", *keys)]))
        gone = [member for member, beat in zip(members, beats, strict=True) if beat is None]
        if gone:
            yield from self._of(self._keys.beats, ("SREM", self._keys.beats, *gone))
        return [beat for beat in beats if beat is not None]

    async def holders(self) -> list[str | None]:
        return await self._line.ask(self._holders())

    def _holders(self) -> Steps[list[str | None]]:
        # MGET, since to it a key of another type is none: who wants the shard then finds out what is wrong.
        found = granted((yield [("MGET", key) for key in self._leases]))
        return [holder_of((lease or b"").decode("utf-8", "replace")) for (lease,) in found]

    def _of(self, key: str, *commands: Command) -> Steps[list[Any]]:
        """Ask commands that need a key of the right type."""
        try:
            return granted((yield commands))
        except redis.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise KeyMisused(key) from error
            raise

    def close(self) -> None:
        """Close the connection."""
        self._line.close()

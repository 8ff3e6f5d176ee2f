"""The store of an ingest: what is known of each call, and the streams that its audio and its end go to.

A call belongs to the socket that took it last. Every write checks that, and where the call was, so that
nothing is added twice, whoever asks again, and any gateway can take a call's next socket.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import redis
import redis.exceptions

from trio_asr.bus.base import BusUnavailable, KeyMisused
from trio_asr.bus.connection import Command, PipelinedConnection, Script, options
from trio_asr.bus.line import Line, Steps
from trio_asr.bus.nodes import Nodes, slot_of
from trio_asr.core.fleet.places import Places

# A day: as long as workers keep a call's checkpoint, so that a call whose id comes again goes on behind it.
TTL_MS = 24 * 3600 * 1000
ALIVE_MS = 2000  # a socket that added audio so recently is alive
PREFIX = "trio_asr:ingest:"
MOST_DIGITS = 16  # of a position: it is below 2^53
# How a stream refuses an entry for ever: it is no stream, or somebody has used its last id.
_MISUSED = re.compile("WRONGTYPE|exhausted")
SINGLE = Places()

T = TypeVar("T")
_CLAIM, _ADD = Script("ingest_claim.lua"), Script("ingest_add.lua")


class Claim(NamedTuple):
    """A socket takes a call. `owner` is its token; `legs` are the platform's names of them, as one text."""

    call: str
    owner: str
    tenant: str
    legs: str


class Add(NamedTuple):
    """Entries of a call, and its end where `end` is not empty. `before` and `after` are positions.

    `about` is what the next socket of the call has to know. `end` is a JSON document, an entry is
    MessagePack.
    """

    call: str
    owner: str
    tenant: str
    legs: str
    before: int
    after: int
    about: bytes
    entries: tuple[bytes, ...] = ()
    end: bytes = b""


class Outcome(enum.Enum):
    """What became of a step."""

    TAKEN = "taken"
    TENANT = "tenant"  # the call is another tenant's
    LEGS = "legs"  # another socket is alive, with other legs of the call
    ADDED = "added"
    DONE = "done"  # it was added before, and the answer lost
    LOST = "lost"  # another socket has the call now
    STALE = "stale"  # the call is elsewhere: somebody has changed its state
    MISUSED = "misused"  # the key of its state has another type
    BROKEN = "broken"  # what is known of the call makes no sense


class Reply(NamedTuple):
    """The answer to a step. After `TAKEN`: the server's time (ms since 1970), and where the call was."""

    outcome: Outcome
    now_ms: int = 0
    position: int = 0
    about: bytes = b""


class CallStore(Protocol):
    """Access to the store.

    Raises:
        BusUnavailable: By `take` and `look`, when the store does not answer or takes nothing; what was asked
            for may have been done. `KeyMisused` when that is for a stream that all calls need.
    """

    def place(self, call: str) -> Hashable:
        """Return where a call is, as far as is known. What is at one place need not wait for another.

        It may be elsewhere after `take` has failed, or been asked for the first time.
        """
        ...

    async def take(self, steps: Sequence[Claim | Add]) -> list[Reply]:
        """Do each step on its own, in order; return the answers in the same order.

        All are of calls at one place.
        """
        ...

    async def look(self, call: str) -> None:
        """Return if entries of a call could be added now."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class RedisCallStore:
    """The store on Redis or Valkey. All keys of a call are in its shard, if there are shards.

    Those may lie on a cluster: each node of it is a place. A shard that its node refuses is a place of its
    own until it is served again, so that the others there do not wait for it.
    """

    def __init__(self, url: str, *, audio_stream: str, end_stream: str, places: Places = SINGLE) -> None:
        self._audio, self._ends, self._places = audio_stream, end_stream, places
        self._line = Line("redis-ingest", PipelinedConnection(url, options()))
        self._nodes = Nodes(url) if places.shards > 1 else None
        self._refused: set[int] = set()  # slots

    def _slot(self, call: str) -> int:
        return slot_of(self._places.of(call))

    def place(self, call: str) -> Hashable:
        if self._nodes is None:
            return None
        slot = self._slot(call)
        return slot if slot in self._refused else self._nodes.known(slot) or slot

    async def take(self, steps: Sequence[Claim | Add]) -> list[Reply]:
        return await self._ask(steps[0].call, self._take(steps))

    async def look(self, call: str) -> None:
        await self._ask(call, self._look(self._places.of(call)))

    async def _ask(self, call: str, steps: Steps[T]) -> T:
        if self._nodes is None:
            return await self._line.ask(steps)
        return await self._nodes.ask(self._slot(call), lambda node: node.line.ask(steps))

    def _look(self, shard: str) -> Steps[None]:
        for stream in (shard + self._audio, shard + self._ends):
            # By rights that adding needs, too. No stream takes that id; a server that takes nothing says so.
            added, removed = yield [("XADD", stream, "0-0", "m", ""), ("XDEL", stream, "0-0")]
            if isinstance(removed, redis.ResponseError) and _MISUSED.search(str(removed)):
                raise KeyMisused(stream)
            if "0-0" not in str(added):
                raise added

    def _take(self, steps: Sequence[Claim | Add]) -> Steps[list[Reply]]:
        replies = yield [self._command(step) for step in steps]
        judged: list[Reply] = []
        failures: dict[int, redis.ResponseError | BusUnavailable] = {}  # by slot
        for step, reply in zip(steps, replies, strict=True):
            try:
                judged.append(self._judged(step, reply))
            except (redis.ResponseError, BusUnavailable) as error:
                failures.setdefault(self._slot(step.call), error)
        if self._refused or failures:
            self._refused -= {self._slot(step.call) for step in steps}
            self._refused |= failures.keys()
        if failures:
            raise next(iter(failures.values()))
        return judged

    def _command(self, step: Claim | Add) -> Command:
        shard = self._places.of(step.call)
        key = shard + PREFIX + step.call
        if isinstance(step, Claim):
            return _CLAIM.on([key], step.owner, step.tenant, step.legs, ALIVE_MS, TTL_MS)
        return _ADD.on(
            [key, shard + self._audio, shard + self._ends],
            step.owner, step.before, step.after, step.about, step.tenant, step.legs, TTL_MS, step.end,
            *step.entries,
        )  # fmt: skip

    def _judged(self, step: Claim | Add, reply: Any) -> Reply:
        if isinstance(reply, redis.ResponseError):
            raise reply  # about the server, or what our user may do: the scripts take any state
        named, outcome, *found = (bytes(one) if isinstance(one, bytes) else one for one in reply)
        if named.decode() != self._places.of(step.call) + PREFIX + step.call:
            raise ValueError("an answer to another step")
        if outcome == b"blocked":
            stream, why = (one.decode() for one in found)
            raise KeyMisused(stream) if _MISUSED.search(why) else BusUnavailable(f"{stream}: {why}")
        if outcome != b"taken":
            return Reply(Outcome(outcome.decode()))
        now_ms, position, about = found
        if not (position or b"0").isdigit() or len(position) > MOST_DIGITS:
            return Reply(Outcome.BROKEN)
        return Reply(Outcome.TAKEN, int(now_ms), int(position or 0), about)

    async def aclose(self) -> None:
        self._line.close()
        if self._nodes is not None:
            self._nodes.close()

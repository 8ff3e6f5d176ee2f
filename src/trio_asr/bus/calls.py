"""The store of an ingest: what is known of each call, and the streams that its audio and its end go to.

A call belongs to the socket that took it last. Every write checks that, and where the call was, so that
nothing is added twice, whoever asks again, and any gateway can take a call's next socket.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import redis
import redis.exceptions

from trio_asr.bus.base import BusUnavailable, KeyMisused
from trio_asr.bus.connection import Command, PipelinedConnection, Script, options
from trio_asr.bus.line import Line, Steps
from trio_asr.core.fleet.places import Places

# A day: as long as workers keep a call's checkpoint, so that a call whose id comes again goes on behind it.
TTL_MS = 24 * 3600 * 1000
ALIVE_MS = 2000  # a socket that added audio so recently is alive
PREFIX = "trio_asr:ingest:"
MOST_DIGITS = 16  # of a position: it is below 2^53
# How a stream refuses an entry for ever: it is no stream, or somebody has used its last id.
_MISUSED = re.compile("WRONGTYPE|exhausted")
SINGLE = Places()
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
        BusUnavailable: By each method but `aclose`, when the store does not answer or takes nothing; what was
            asked for may have been done. `KeyMisused` when that is for a stream that all calls need.
    """

    async def take(self, steps: Sequence[Claim | Add]) -> list[Reply]:
        """Do each step on its own, in order; return the answers in the same order."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class RedisCallStore:
    """The store on Redis or Valkey. All keys of a call are in its shard, if there are shards."""

    def __init__(self, url: str, *, audio_stream: str, end_stream: str, places: Places = SINGLE) -> None:
        self._audio, self._ends, self._places = audio_stream, end_stream, places
        self._line = Line("redis-ingest", PipelinedConnection(url, options()))

    async def take(self, steps: Sequence[Claim | Add]) -> list[Reply]:
        return await self._line.ask(self._take(steps))

    def _take(self, steps: Sequence[Claim | Add]) -> Steps[list[Reply]]:
        replies = yield [self._command(step) for step in steps]
        return [self._judged(step, reply) for step, reply in zip(steps, replies, strict=True)]

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

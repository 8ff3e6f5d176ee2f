"""A member's beat: what it tells the others twice a second."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import msgspec
from msgspec import Meta

from trio_asr.config.fleet import MAX_SHARDS

DIGITS = frozenset("0123456789")

_Name = Annotated[str, Meta(min_length=1, max_length=100)]
_Shard = Annotated[int, Meta(ge=0, lt=MAX_SHARDS)]
_Count = Annotated[int, Meta(ge=0, le=2**31)]
_Seconds = Annotated[float, Meta(ge=0, le=1e12)]  # a lag may count from 1970, and more


class Load(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A shard that a member holds: for how long it has rested there, in seconds, and what it has to do.

    A shard that was nobody's has rested long enough from the start: only a hand-over disturbs calls.
    """

    rested_s: _Seconds = 0.0
    calls: _Count = 0
    lag_s: _Seconds = 0.0


class Beat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """What a member says of itself. Fields of a later version are passed over.

    `capacity` is in calls. `held` are its shards; `handing` those of them that are on their way to an heir.
    `wants` are shards of others that it asks for. `draining` is for how many seconds it has been leaving, or
    None. `generation` orders deployments. `limit` is how many connections to the provider it allows itself,
    where the fleet limits them, and `connections` how many are open. `cpu` is the share of a core that it
    takes.
    """

    member: _Name
    incarnation: _Name
    generation: _Name = "0"
    version: Annotated[str, Meta(max_length=100)] = ""
    capacity: Annotated[int, Meta(ge=1, le=100_000)] = 1
    draining: _Seconds | None = None
    held: Annotated[dict[_Shard, Load], Meta(max_length=MAX_SHARDS)] = {}
    handing: Annotated[frozenset[_Shard], Meta(max_length=MAX_SHARDS)] = frozenset()
    wants: Annotated[frozenset[_Shard], Meta(max_length=100)] = frozenset()
    connections: _Count = 0
    limit: _Count = 0
    cpu: _Seconds = 0.0

    @property
    def start(self) -> tuple[str, str]:
        """Which start of which member it is: a restarted one is another, and has nothing yet."""
        return self.member, self.incarnation

    @property
    def load(self) -> float:
        """Shards held by capacity."""
        return len(self.held) / self.capacity

    @cached_property
    def order(self) -> tuple[tuple[int, int, str], ...]:
        """A key by which later generations come later: numbers in the name count as numbers."""
        return natural(self.generation)

    def encode(self) -> bytes:
        """Return it as JSON."""
        return msgspec.json.encode(self)

    @staticmethod
    def read(data: bytes) -> Beat:
        """Return the beat that `encode` has made.

        Raises:
            ValueError: This is none, or one with a value that cannot be meant.
        """
        try:
            return _DECODER.decode(data)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(str(error)) from error


_DECODER = msgspec.json.Decoder(Beat)


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that orders texts by the numbers in them: 1.9 comes before 1.10."""
    parts, word = list[tuple[int, int, str]](), ""
    for char in text + "\0":
        if word and (char in DIGITS) != (word[-1] in DIGITS):
            parts.append((1, int(word), "") if word[0] in DIGITS else (0, 0, word))
            word = ""
        word += char
    return tuple(parts)

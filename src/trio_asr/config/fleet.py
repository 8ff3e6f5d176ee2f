"""`[fleet]`: many workers that share the calls, which are parted into shards."""

from __future__ import annotations

import os
import socket
from importlib.metadata import version
from typing import Annotated

from msgspec import Meta

from trio_asr.config.kinds import Section

VERSION = version("trio-asr")
_Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._:-]{1,100}\Z",
        extra={"allowed": "1-100 letters, digits, dots, colons, dashes and underscores"},
    ),
]


class FleetConfig(Section, frozen=True):
    """`[fleet]`: the shards, and this worker as a member."""

    shards: Annotated[int, Meta(ge=1, le=16_384)] = 1
    member: _Name | None = None
    generation: _Name | None = None
    capacity: Annotated[int, Meta(ge=1, le=100_000)] = 700
    drain_s: Annotated[float, Meta(ge=0, le=3_600)] = 60.0
    rejoin_s: Annotated[float, Meta(ge=0, le=10)] = 0.0
    handover_linger_ms: Annotated[int, Meta(ge=0, le=5_000)] = 300
    max_connections: Annotated[int, Meta(ge=0, le=1_000_000)] = 0

    @property
    def member_name(self) -> str:
        """The name of this member; without one, the host's."""
        return self.member or socket.gethostname()[:100] or f"pid-{os.getpid()}"

    @property
    def generation_name(self) -> str:
        """The deployment that this member belongs to; without one, the program's version."""
        return self.generation or VERSION


def shard_prefix(group: str, shard: int) -> str:
    """Return what every key of a shard begins with: a hash tag, which puts them all into one slot."""
    return f"{{{group}.{shard}}}:"

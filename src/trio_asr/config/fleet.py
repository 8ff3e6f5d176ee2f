"""`[fleet]`: many workers that share the calls, which are parted into shards."""

from __future__ import annotations

import functools
import os
from typing import Annotated

from msgspec import Meta

from trio_asr.config.kinds import Section

MAX_SHARDS = 16_384  # as many as a cluster has slots

# No colons: a lease that is kept for a member is told by one (`core/fleet/view.py`).
_Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._-]{1,100}\Z",
        extra={"allowed": "1-100 letters, digits, dots, dashes and underscores"},
    ),
]


class FleetConfig(Section, frozen=True):
    """`[fleet]`: the shards, and this worker as a member."""

    shards: Annotated[int, Meta(ge=1, le=MAX_SHARDS)] = 1
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
        return self.member or os.uname().nodename[:100] or f"pid-{os.getpid()}"

    @property
    def generation_name(self) -> str:
        """The deployment that this member belongs to; without one, the program's version."""
        return self.generation or program_version()


@functools.cache
def program_version() -> str:
    """Return the version of this program."""
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, and a member alone asks for it

    return version("trio-asr")


def shard_prefix(group: str, shard: int) -> str:
    """Return what every key of a shard begins with: a hash tag, which puts them all into one slot."""
    return f"{{{group}.{shard}}}:"

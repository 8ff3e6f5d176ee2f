"""Where calls are on the bus: a single worker's keys, or those of the shards of a fleet. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trio_asr.config import RedisConfig, shard_prefix
from trio_asr.core.fleet.route import shard_of

DEFAULT_GROUP = RedisConfig().consumer_group


@dataclass(frozen=True)
class Places:
    """What every key of a call begins with: the prefix of its shard, and nothing where there is only one."""

    shards: int = 1
    group: str = DEFAULT_GROUP

    def of(self, interaction_id: str) -> str:
        """Return the prefix of a call's keys."""
        return self.prefix(shard_of(interaction_id, self.shards)) if self.shards > 1 else ""

    def prefix(self, shard: int) -> str:
        """Return the prefix of a shard's keys."""
        return shard_prefix(self.group, shard) if self.shards > 1 else ""

    @property
    def prefixes(self) -> list[str]:
        """The prefixes of all shards, in order."""
        return [self.prefix(shard) for shard in range(self.shards)]


SINGLE = Places()

"""A member's access to a fleet on Redis: the bus of each shard, and the control."""

from __future__ import annotations

import trio

from trio_asr.bus.control import RedisControl
from trio_asr.bus.nodes import Nodes, slot_of
from trio_asr.bus.redis import RedisBus
from trio_asr.bus.server import SharedServer
from trio_asr.config import Config, shard_prefix


class RedisRouter:
    """A member's access to a fleet on Redis or Valkey (see `Router`)."""

    def __init__(self, config: Config) -> None:
        url, group, shards = config.redis.url, config.redis.consumer_group, config.fleet.shards
        self._nodes = Nodes(url)
        self.control = RedisControl(self._nodes, group, shards)
        self._buses = [self._bus(config, shard) for shard in range(shards)]

    def _bus(self, config: Config, shard: int) -> RedisBus:
        redis = config.of_shard(shard).redis
        prefix = shard_prefix(redis.consumer_group, shard)
        server = SharedServer(self._nodes, slot_of(prefix), redis.audio_stream, redis.call_end_stream)
        return RedisBus.of(redis, prefix=prefix, member=config.fleet.member_name, server=server)

    def bus(self, shard: int) -> RedisBus:
        return self._buses[shard]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self._nodes.close()

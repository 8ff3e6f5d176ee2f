"""A member's access to a fleet on Redis: the bus of each shard, and the control."""

from __future__ import annotations

import trio

from trio_asr.bus.control import RedisControl
from trio_asr.bus.nodes import Nodes, slot_of
from trio_asr.bus.redis import RedisBus
from trio_asr.bus.server import SharedServer
from trio_asr.config import Config
from trio_asr.config.fleet import shard_prefix


class RedisRouter:
    """A member's access to a fleet on Redis or Valkey (see `Router`)."""

    def __init__(self, config: Config) -> None:
        url, group, shards = config.redis.url, config.redis.consumer_group, config.fleet.shards
        self._nodes = Nodes(url)
        self.control = RedisControl(self._nodes, group, shards)
        self._buses: list[RedisBus] = []
        for shard in range(shards):
            prefix, redis = shard_prefix(group, shard), config.of_shard(shard).redis
            streams = redis.audio_stream, redis.call_end_stream
            bus = RedisBus(
                url,
                group=group,
                audio_stream=redis.audio_stream,
                end_stream=redis.call_end_stream,
                transcript_key=redis.transcript_key,
                shared=(redis.events_stream, redis.dead_letter_stream),
                prefix=prefix,
                member=config.fleet.member_name,
                server=SharedServer(self._nodes, slot_of(prefix), *streams),
            )
            self._buses.append(bus)

    def bus(self, shard: int) -> RedisBus:
        return self._buses[shard]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self._nodes.close()

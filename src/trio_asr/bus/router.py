"""The servers of a fleet: which shard lies where."""

from __future__ import annotations

from trio_asr.bus.control import RedisControl
from trio_asr.bus.redis import RedisBus
from trio_asr.bus.server import Node, SharedServer
from trio_asr.config import Config
from trio_asr.config.fleet import shard_prefix


class RedisRouter:
    """A member's access to a fleet on Redis or Valkey (see `Router`)."""

    def __init__(self, config: Config) -> None:
        url, group, shards = config.redis.url, config.redis.consumer_group, config.fleet.shards
        self.control = RedisControl(url, group, shards)
        self._node = Node(url)
        self._buses: list[RedisBus] = []
        for shard in range(shards):
            redis = config.of_shard(shard).redis
            bus = RedisBus(
                url,
                group=group,
                audio_stream=redis.audio_stream,
                end_stream=redis.call_end_stream,
                transcript_key=redis.transcript_key,
                shared=(redis.events_stream, redis.dead_letter_stream),
                prefix=shard_prefix(group, shard),
                member=config.fleet.member_name,
                server=SharedServer(self._node, redis.audio_stream, redis.call_end_stream),
            )
            self._buses.append(bus)

    def bus(self, shard: int) -> RedisBus:
        return self._buses[shard]

    async def aclose(self) -> None:
        self.control.close()
        self._node.close()

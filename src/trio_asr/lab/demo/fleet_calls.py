"""The calls of the fleet's demo, and what became of them on a cluster.

Every sample of a call tells which it is, and the words of the simulator name the samples that they cover. So
the transcripts show by themselves whether something is lost or there twice.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import RedisClusterException

from trio_asr.bus.keys import Keys, holder_of
from trio_asr.client.redis import RedisFailure, connect_fleet, redis_failure
from trio_asr.config import RedisConfig
from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.rig.account import Account, account
from trio_asr.lab.rig.evidence import Evidence, documents, events
from trio_asr.lab.rig.feeder import FedCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trio_asr.core.fleet.places import Places

STREAMS = RedisConfig()


def calls_of(shards: int, each: int, seconds: float) -> list[FedCall]:
    """Return `each` calls for every shard, each of so many seconds, by the order of their names."""
    room, chosen = [each] * shards, list[FedCall]()
    for number in itertools.count(1):
        name = f"call-{number}"
        if room[shard := shard_of(name, shards)]:
            room[shard] -= 1
            begin_s = len(chosen) / (shards * each)
            chosen.append(FedCall(name, number, seconds, begin_s=begin_s))
        if not any(room):
            break
    return chosen


class Cluster:
    """A client of the cluster, for a consumer. Each command is tried once."""

    def __init__(self, url: str, places: Places) -> None:
        self._url, self._places = url, places
        with _failure(url):
            self._client: Any = connect_fleet(url)

    def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(redis.RedisError):
            self._client.close()

    def holders(self) -> list[str]:
        """Return for each shard the worker that holds its lease, or "". Blocks.

        Raises:
            RedisFailure: The cluster does not answer.
        """
        pipeline = self._client.pipeline(transaction=False)
        for prefix in self._places.prefixes:
            pipeline.get(Keys(self._places.group, prefix).lease)
        with _failure(self._url):
            return [holder_of(lease) for lease in pipeline.execute()]

    def account(self, calls: Sequence[FedCall]) -> tuple[Account, Evidence]:
        """Return what has become of the calls so far, and what was published of them. Blocks.

        Raises:
            RedisFailure: The cluster does not answer.
        """
        found = Evidence()
        with _failure(self._url):
            for prefix in self._places.prefixes:
                found.events |= events(self._client, prefix + STREAMS.events_stream)
            for call in calls:
                stream = self._places.of(call.id) + STREAMS.transcript_key(call.id)
                found.transcripts[call.id] = documents(self._client, stream)
        rates = {call.id: call.rate for call in calls}
        return account(found, rates, fed={call.id: call.present for call in calls}), found


@contextlib.contextmanager
def _failure(url: str) -> Iterator[None]:
    """Turn what the client raises in the block into `RedisFailure`: some of it is no `RedisError`."""
    try:
        with redis_failure(url):
            yield
    except RedisClusterException as error:
        raise RedisFailure(f"the cluster at {url}: {error}") from error

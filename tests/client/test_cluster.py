"""The tools on a cluster: a call is played into its shard, and the transcripts of all shards are followed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trio_asr.client import consumer
from trio_asr.client.audio import Recording
from trio_asr.client.consumer import Message, TranscriptReader
from trio_asr.client.producer import Call, Source, play
from trio_asr.client.redis import RedisFailure, connect_fleet, data
from trio_asr.core.fleet.places import Places
from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.wire.audio_format import audio_format

pytestmark = pytest.mark.integration
PLACES = Places(8)


async def test_a_call_is_played_into_its_shard(cluster: EmbeddedCluster) -> None:
    """Wherever that is: the shards of these calls are on different nodes."""
    for name in ("call-001", "call-002", "call-003"):
        at = PLACES.of(name)
        source = Source(cluster.url, f"{at}audio_stream", f"{at}call_end", speed=100, fleet=True)
        await play(source, [Call(name, Recording(bytes(3200), audio_format(8000)))])
        with connect_fleet(cluster.url) as client:
            assert len(data(client, f"{at}audio_stream")) == 10
            assert json.loads(data(client, f"{at}call_end")[0])["interaction_id"] == name


def test_all_shards_are_followed(cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "SCAN_EVERY_S", 0.0)
    with connect_fleet(cluster.url) as client:
        reader = TranscriptReader(client, prefixes=PLACES.prefixes)
        reader.discover()
        for shard, prefix in enumerate(PLACES.prefixes):
            said: dict[str, Any] = {"interaction_id": str(shard), "type": "final", "text": "hello"}
            client.xadd(f"{prefix}transcript.{shard}", {"data": json.dumps(said)})
        heard = [one.interaction_id for one in reader.read() if isinstance(one, Message)]
        assert sorted(heard) == [str(shard) for shard in range(8)]
        assert reader.read() == []


def test_nobody_answers() -> None:
    with pytest.raises(RedisFailure, match=r"Redis at redis://127\.0\.0\.1:1"):
        connect_fleet("redis://127.0.0.1:1")

"""An ingest in front of a fleet: its start, and calls in each shard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.commands.test_smoke import SECRET, a_fleet, failed, smoke

from trio_asr.client.redis import connect_fleet
from trio_asr.core.fleet.places import Places
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.lab.rig.processes import rig, toml

pytestmark = pytest.mark.integration


def route(work: Path) -> dict[str, str]:
    """A route whose secret is in a file."""
    file = work / "secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    keys = {"path": "/v1/ingest", "platform": "generic", "tenant": "acme", "auth": "bearer"}
    return keys | {"token_file": str(file)}


def refused(work: Path, url: str) -> str:
    """What an ingest says that does not start with this Redis."""
    ingest = {"port": 0, "pages_port": 0, "route": [route(work)]}
    sections: dict[str, dict[str, Any]] = {"redis": {"url": url}, "fleet": {"shards": 4}, "ingest": ingest}
    (work / "config.toml").write_text(toml(sections))
    done = subprocess.run(
        [sys.executable, "-m", "trio_asr", "ingest", "--config", str(work / "config.toml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean_environment(set()),
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_another_number_of_shards_is_refused(tmp_path: Path, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset("trio_asr:{asr-worker}:fleet", "shards", 8)
    says = "fleet.shards = 4: this fleet has begun with 8 (trio_asr:{asr-worker}:fleet)"
    assert says in refused(tmp_path, redis_url)


def test_another_number_of_shards_is_refused_on_a_cluster(tmp_path: Path, cluster: EmbeddedCluster) -> None:
    """Whichever of its nodes has the key, and whichever is asked."""
    with connect_fleet(cluster.url) as client:
        client.hset("trio_asr:{asr-worker}:fleet", "shards", 8)
    for server in cluster.servers:
        assert "fleet.shards = 4: this fleet has begun with 8" in refused(tmp_path, server.url)


@pytest.mark.soak
async def test_calls_go_into_each_shard(tmp_path: Path) -> None:
    async with rig(tmp_path, places=Places(4)) as r:
        member, _ = await a_fleet(r, 4)
        gateway = r.gateway([route(tmp_path)])
        await gateway.start_and_wait()
        url = f"http://127.0.0.1:{gateway.port}"
        more = ("--tenant", "acme", "--shards", "4", "--all-shards", "--ingest-url", url)
        code, found = await smoke(r, member.http_port, *more, seconds=2, INGEST_TOKEN=SECRET)
        assert (code, failed(found)) == (0, {}), found
        with redis.Redis.from_url(r.valkey.url) as client:
            assert sorted(client.keys("*trio_asr:ingest:*")) == sorted(
                f"{{asr-worker.{shard}}}:trio_asr:ingest:{call}".encode()
                for shard, call in zip(range(4), found["interaction_ids"], strict=True)
            )


@pytest.mark.soak
async def test_calls_go_into_each_shard_of_a_cluster(tmp_path: Path, cluster: EmbeddedCluster) -> None:
    """Through an ingest, and without: the shards lie on several nodes."""
    async with rig(tmp_path, places=Places(4)) as r:
        r.valkey = cluster.primaries[0]
        member, _ = await a_fleet(r, 4)
        gateway = r.gateway([route(tmp_path)])
        await gateway.start_and_wait()
        shards = ("--shards", "4", "--all-shards")
        more = (*shards, "--tenant", "acme", "--ingest-url", f"http://127.0.0.1:{gateway.port}")
        code, found = await smoke(r, member.http_port, *more, seconds=2, INGEST_TOKEN=SECRET)
        assert (code, failed(found)) == (0, {}), found
        with connect_fleet(cluster.url) as client:
            for shard, call in enumerate(found["interaction_ids"]):
                assert client.exists(f"{{asr-worker.{shard}}}:trio_asr:ingest:{call}")
        code, found = await smoke(r, member.http_port, *shards, seconds=2)
        assert (code, failed(found)) == (0, {}), found

"""What the doctor finds in a fleet: a well one, and one fault after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.commands.test_doctor import MOCK, diagnose, of, one, tells_rights

from trio_asr.client.redis import connect_fleet
from trio_asr.commands.doctor.findings import Level
from trio_asr.commands.doctor.fleet import spans
from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.lab.rig.cluster import EmbeddedCluster

SHARDS = 4
TOKEN = "0" * 32
MEMBER = {"shards": SHARDS, "member": "a", "capacity": 100}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def settings(url: str, **more: Any) -> dict[str, dict[str, Any]]:
    return MOCK | {"redis": {"url": url, "trim": True} | more, "fleet": MEMBER}


def begun(client: Any, **holders: list[int]) -> None:
    """A fleet with these members, and the shards that they hold."""
    client.hset("trio_asr:{asr-worker}:fleet", "shards", SHARDS)
    for member, shards in holders.items():
        held = {shard: Load(9.0, 2, 0.1) for shard in shards}
        beat = Beat(member=member, incarnation="1", generation="1", capacity=700, held=held)
        client.sadd("trio_asr:{asr-worker}:beats", member)
        client.set(f"trio_asr:{{asr-worker}}:beat:{member}", beat.encode())
        for shard in shards:
            own = f"{{asr-worker.{shard}}}:trio_asr:{{asr-worker}}:"
            client.set(f"{own}lease", f"{member}/{TOKEN}", px=60_000)
            client.set(f"{own}fence", f"{member}/{TOKEN}")


async def test_a_fleet_that_works(tmp_path: Path, redis_url: str, client: redis.Redis) -> None:
    begun(client, a=[0, 1], b=[2, 3])
    before = client.dbsize()
    findings = await diagnose(tmp_path, settings(redis_url))
    found = [(finding.check, finding.says) for finding in findings]
    assert found[-10:-1] == [
        ("fleet", "4 shards, as configured"),
        ("scripts", "EVALSHA is allowed"),
        ("trim", "workers cut off the audio that is transcribed"),
        ("members", "2 beat: a (2 shards, 4 of 700 calls), b (2 shards, 4 of 700 calls)"),
        ("generation", "all members are of 1"),
        ("shards", "all 4 have a holder"),
        ("ownership", "in all 4 shards as it should be"),
        ("progress", "in all 4 shards as it should be"),
        ("consumers", "in all 4 shards as it should be"),
    ]
    assert client.dbsize() == before


async def test_a_capacity_beyond_the_connections(tmp_path: Path, redis_url: str) -> None:
    large = settings(redis_url) | {"fleet": MEMBER | {"capacity": 101}}
    findings = [finding for finding in await diagnose(tmp_path, large) if finding.level is Level.WARN]
    assert findings[0].check == "config"
    assert "capacity = 101: is above deepgram.max_connections (100): this member takes" in findings[0].says


async def test_a_fleet_that_never_began(tmp_path: Path, redis_url: str) -> None:
    findings = await diagnose(tmp_path, settings(redis_url, trim=False))
    assert not [finding for finding in findings if finding.level is Level.FAIL]
    for check, says in (
        ("fleet", "group asr-worker has not begun: no member has ever joined"),
        ("trim", "redis.trim is off: the audio of all calls stays in memory until producers cut it"),
        ("members", "nobody beats: no member is alive"),
        ("shards", "nobody holds shards 0-3"),
        ("ownership", "shards 0-3: no worker has ever run as group asr-worker"),
    ):
        assert (one(findings, check).level, one(findings, check).says) == (Level.WARN, says)


async def test_another_number_of_shards(tmp_path: Path, redis_url: str, client: redis.Redis) -> None:
    client.hset("trio_asr:{asr-worker}:fleet", "shards", 8)
    found = one(await diagnose(tmp_path, settings(redis_url)), "fleet")
    assert (found.level, found.says) == (Level.FAIL, "fleet.shards is 4, and this fleet has 8")


async def test_members_that_are_gone_of_another_deployment_or_unreadable(
    tmp_path: Path, redis_url: str, client: redis.Redis
) -> None:
    begun(client, a=[0], b=[1], c=[2])
    client.delete("trio_asr:{asr-worker}:beat:b")
    other = Beat(member="c", incarnation="1", generation="2", held={2: Load()}, draining=3.0)
    client.set("trio_asr:{asr-worker}:beat:c", other.encode())
    client.sadd("trio_asr:{asr-worker}:beats", "d")
    client.set("trio_asr:{asr-worker}:beat:d", "{}")
    findings = await diagnose(tmp_path, settings(redis_url))
    says = [(finding.level, finding.says) for finding in of(findings, "members")]
    assert says[0][0] is Level.FAIL
    assert says[0][1].startswith("d: its beat cannot be read")
    assert says[1:] == [
        (Level.OK, "2 beat: a (1 shards, 2 of 700 calls), c (1 shards, 0 of 1 calls, leaving)"),
        (Level.WARN, "1 shards are held by b, which does not beat"),
    ]
    generation = one(findings, "generation")
    assert (generation.level, generation.says) == (Level.WARN, "members of 2 deployments: 1 of 1, 1 of 2")
    assert one(findings, "shards").says == "nobody holds shard 3"
    assert one(findings, "ownership").says == "shard 3: no worker has ever run as group asr-worker"


async def test_a_shard_that_is_wrong_is_named(tmp_path: Path, redis_url: str, client: redis.Redis) -> None:
    begun(client, a=[0, 1, 2, 3])
    client.set("{asr-worker.1}:audio_stream", "no stream")
    client.xgroup_create("{asr-worker.3}:call_end", "asr-worker", "0", mkstream=True)
    client.xreadgroup("asr-worker", "consumer-9", {"{asr-worker.3}:call_end": ">"}, count=1)
    findings = await diagnose(tmp_path, settings(redis_url))
    progress, consumers = one(findings, "progress"), one(findings, "consumers")
    wrong = "shard 1: {asr-worker.1}:audio_stream is a string, not a stream"
    assert (progress.level, progress.says) == (Level.FAIL, wrong)
    assert consumers.level is Level.FAIL
    assert consumers.says.startswith("shard 3: ")


async def test_what_its_user_may_not_do_in_a_shard(
    tmp_path: Path, redis_url: str, client: redis.Redis
) -> None:
    if not tells_rights(redis_url):
        pytest.skip("this server cannot tell what a user may do")
    rules = ("on", ">a-password", "~{asr-worker.*}:*", "~trio_asr:*", "+@all", "-hsetnx", "-evalsha")
    client.execute_command("ACL", "SETUSER", "doc", *rules)  # type: ignore[no-untyped-call]
    try:
        url = redis_url.replace("redis://", "redis://doc:a-password@")
        findings = await diagnose(tmp_path, settings(url))
    finally:
        client.execute_command("ACL", "DELUSER", "doc")  # type: ignore[no-untyped-call]
    denied = one(findings, "permissions")
    assert denied.level is Level.FAIL
    own = "EVALSHA 0000000000000000000000000000000000000000, HSETNX trio_asr:{asr-worker}:fleet"
    assert denied.says == f"user doc may not: {own}"
    assert one(findings, "scripts").level is Level.FAIL


@pytest.mark.integration
@pytest.mark.usefixtures("clusters")
async def test_a_fleet_on_a_cluster(tmp_path: Path) -> None:
    """Its shards are on three nodes, none of which has a replica."""
    with EmbeddedCluster() as cluster:
        with connect_fleet(cluster.url) as client:
            begun(client, a=[0, 1], b=[2, 3])
            client.set("{asr-worker.1}:audio_stream", "no stream")
        # Nodes are told of in the order of their names, in which ports are texts. The last of them is bad.
        last = max(range(3), key=lambda number: str(cluster.servers[number].port))
        node = cluster.client(last)
        node.config_set("cluster-require-full-coverage", "yes")
        node.config_set("cluster-node-timeout", 15_000)
        node.close()
        findings = await diagnose(tmp_path, settings(cluster.servers[0].url))
    whole = "one primary that is lost with its replicas stops all"
    long = "shards of a dead primary stand still for longer than that"
    bad = f"127.0.0.1:{cluster.servers[last].port}"
    names = ", ".join(sorted(f"127.0.0.1:{server.port}" for server in cluster.servers))
    assert [(finding.check, finding.says) for finding in findings if finding.level is not Level.OK] == [
        ("durability", f"{names}: appendonly is off: a restart of Redis loses audio and transcripts"),
        ("replicas", f"{names}: a primary without a replica: its shards are lost with it"),
        (
            "coverage",
            f"{bad}: cluster-require-full-coverage yes: {whole}",
        ),
        (
            "node timeout",
            f"{bad}: cluster-node-timeout 15000: {long}",
        ),
        ("progress", "shard 1: {asr-worker.1}:audio_stream is a string, not a stream"),
    ]
    assert one(findings, "topology").says == "a node of a cluster"
    assert one(findings, "cluster").says == "16384 of 16384 slots, 3 primaries"
    assert one(findings, "shards").says == "all 4 have a holder"


@pytest.mark.integration
@pytest.mark.usefixtures("clusters")
async def test_a_cluster_as_it_should_be(tmp_path: Path) -> None:
    """For a fleet; a single worker cannot be on it, nor an ingest before one."""
    with EmbeddedCluster(replicas=True) as cluster:
        for number in range(len(cluster.servers)):
            with cluster.client(number) as node:
                node.config_set("appendonly", "yes")
        with connect_fleet(cluster.url) as client:
            begun(client, a=[0, 1], b=[2, 3])
        findings = await diagnose(tmp_path, settings(cluster.url))
        single = MOCK | {"redis": {"url": cluster.url}}
        refused = one(await diagnose(tmp_path, single), "topology")
    assert [finding for finding in findings if finding.level is not Level.OK] == []
    assert one(findings, "nodes").says == "all 6 as they should be"
    says = "this is a node of a cluster, and a single worker's keys lie on several nodes"
    assert (refused.level, refused.says) == (Level.FAIL, says)


@pytest.mark.parametrize(
    ("shards", "told"),
    [
        ([3], "shard 3"),
        ([0, 1, 2, 5], "shards 0-2, 5"),
        ([*range(0, 22, 2)], "shards 0, 2, 4, 6, 8, 10, 12, 14 and 3 more"),
    ],
)
def test_shards_as_people_write_them(shards: list[int], told: str) -> None:
    assert spans(shards) == told

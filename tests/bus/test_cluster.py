"""A fleet on a real cluster: which shard lies where; nodes that are gone, or have moved a slot."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import msgspec
import pytest
import redis
import trio
from tests.bus.bus_harness import LONG_MS, commit

from trio_asr.bus import connection, nodes
from trio_asr.bus.base import Answer, Batch, BusUnavailable, Tenure
from trio_asr.bus.nodes import slot_of
from trio_asr.bus.redis import RedisBus
from trio_asr.bus.router import RedisRouter
from trio_asr.config import Config
from trio_asr.config.fleet import FleetConfig
from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.lab.rig.valkey import EmbeddedValkey
from trio_asr.wire.ids import ORIGIN
from trio_asr.wire.records import Outcome, Stored

SHARDS = 8
GROUP = "asr-worker"
APPLIED, DONE = Answer(Outcome.APPLIED), Answer(Outcome.DONE)
T = TypeVar("T")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "LOOK_S", 0.05)


def config_of(url: str) -> Config:
    config = Config(fleet=FleetConfig(shards=SHARDS, member="a"))
    return msgspec.structs.replace(config, redis=msgspec.structs.replace(config.redis, url=url))


@asynccontextmanager
async def routed(url: str) -> AsyncIterator[RedisRouter]:
    router = RedisRouter(config_of(url))
    try:
        yield router
    finally:
        await router.aclose()


def owner_of(cluster: EmbeddedCluster, slot: int) -> int:
    """Return the place of the server that has a slot."""
    with cluster.client(0) as client:
        ranges: Any = client.execute_command("CLUSTER SLOTS")
    port = next(node[1] for first, last, node, *_ in ranges if first <= slot <= last)
    return [server.port for server in cluster.servers].index(port)


def slot(shard: int) -> int:
    return slot_of(f"{{{GROUP}.{shard}}}:audio_stream")


async def patiently(ask: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Ask until there is an answer; return it, and what went wrong before."""
    failures: list[str] = []
    with trio.fail_after(60):
        while True:
            try:
                return await ask(), failures
            except BusUnavailable as error:
                failures.append(str(error))
                await trio.sleep(0.01)


async def read_one(bus: RedisBus, after: str) -> Batch:
    batch = Batch()
    while not batch.audio:
        batch = await bus.read(after, ORIGIN)
    return batch


def test_a_slot_is_what_a_cluster_takes_it_for(cluster: EmbeddedCluster) -> None:
    keys = ("", "a", "{}", "{a}b", "x{a}", "x{}{a}", "{a", "{{a}}", "{asr-worker.7}:audio_stream", "é{ü}")
    with cluster.client(0) as client:
        for key in keys:
            assert slot_of(key) == client.execute_command("CLUSTER KEYSLOT", key)


async def test_a_cluster_that_is_still_being_formed(clusters: None) -> None:
    """Its nodes know of no slots at first. They are not single servers for that."""
    cluster = EmbeddedCluster()
    for server in cluster.servers:
        server.start()
    clients: list[Any] = [cluster.client(number) for number in range(3)]
    try:
        async with routed(cluster.url) as router:
            with pytest.raises(BusUnavailable):
                await router.control.found(SHARDS)
            await trio.to_thread.run_sync(cluster._form, clients)
            with trio.fail_after(60):
                for shard in range(SHARDS):
                    acquire = partial(router.bus(shard).acquire, LONG_MS)
                    assert (await patiently(acquire))[0] is Tenure.HELD
    finally:
        for client in clients:
            client.close()
        cluster.stop()


async def test_every_shard_lies_where_the_cluster_says(cluster: EmbeddedCluster) -> None:
    assert {owner_of(cluster, slot(shard)) for shard in range(SHARDS)} == {0, 1, 2}
    async with routed(cluster.url) as router:
        control = router.control
        assert await control.found(SHARDS) == SHARDS
        await control.beat("a", b"x", LONG_MS)
        assert await control.beats() == [b"x"]
        assert await control.holders() == [""] * SHARDS
        for shard in range(SHARDS):
            bus = router.bus(shard)
            assert await bus.acquire(LONG_MS) is Tenure.HELD
            one = commit(1, "text", stream=f"{{{GROUP}.{shard}}}:out", state=b"%d" % shard)
            assert await bus.commit([one]) == [APPLIED]
            assert await bus.load(["c1", "c2"]) == [Stored(1, b"%d" % shard), Stored()]
            with cluster.client(owner_of(cluster, slot(shard))) as client:
                added: Any = client.xadd(f"{{{GROUP}.{shard}}}:audio_stream", {"m": b"x"})
            batch = await read_one(bus, ORIGIN)
            assert [raw for raw, _ in batch.audio] == [added]
            assert [raw for raw, _ in (await bus.read_again(ORIGIN)).entries] == [added]
            await bus.show_lag(added.decode(), ORIGIN)
            await bus.trim(added.decode())
            assert await bus.misused() == []
        assert await control.holders() == ["a"] * SHARDS


async def test_another_database_than_the_first_is_refused(cluster: EmbeddedCluster) -> None:
    async with routed(cluster.url.removesuffix("/0") + "/3") as router:
        with pytest.raises(BusUnavailable, match="names database 3, but a cluster has only database 0"):
            await router.bus(0).acquire(LONG_MS)


async def test_a_slot_that_is_moved_is_found_again(cluster: EmbeddedCluster) -> None:
    """In one step, as Valkey 9 does it: the shard is away for a moment, and nothing is lost or done twice."""
    source = owner_of(cluster, slot(1))
    target = (source + 1) % 3
    async with routed(cluster.url) as router:
        bus = router.bus(1)
        assert await bus.acquire(LONG_MS) is Tenure.HELD
        out = f"{{{GROUP}.1}}:out"
        assert await bus.commit([commit(1, "1", stream=out)]) == [APPLIED]
        with cluster.client(source) as old, cluster.client(target) as new:
            name: Any = new.execute_command("CLUSTER", "MYID")
            moving = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot(1), slot(1), "NODE", name)
            try:
                old.execute_command(*moving)
            except redis.ResponseError:
                pytest.skip("this server moves no slots in one step")
            until(lambda: owner_of(cluster, slot(1)) == target)
            two, failures = await patiently(lambda: bus.commit([commit(2, "2", stream=out)]))
            assert two == [APPLIED]
            assert all("Moved" in one or "closed" in one for one in failures)
            assert await bus.renew(LONG_MS) is Tenure.HELD
            assert [fields[b"data"] for _, fields in new.xrange(out)] == [b"1", b"2"]
            new.xadd(f"{{{GROUP}.1}}:audio_stream", {"m": b"x"})
            batch, _ = await patiently(lambda: read_one(bus, ORIGIN))
            assert len(batch.audio) == 1
            holders, _ = await patiently(router.control.holders)
            assert holders[1] == "a"


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_slot_on_its_way_is_away_and_nothing_is_refused(cluster: EmbeddedCluster) -> None:
    """The old way, key by key: what lies on both sides can be asked for on neither."""
    source = owner_of(cluster, slot(2))
    target = (source + 1) % 3
    async with routed(cluster.url) as router:
        bus = router.bus(2)
        out = f"{{{GROUP}.2}}:out"
        assert await bus.acquire(LONG_MS) is Tenure.HELD
        assert await bus.commit([commit(1, "1", stream=out)]) == [APPLIED]
        with cluster.client(source) as old, cluster.client(target) as new:
            ids = [client.execute_command("CLUSTER", "MYID") for client in (old, new)]
            new.execute_command("CLUSTER", "SETSLOT", slot(2), "IMPORTING", ids[0])
            old.execute_command("CLUSTER", "SETSLOT", slot(2), "MIGRATING", ids[1])
            for _ in range(2):
                keys: Any = old.execute_command("CLUSTER", "GETKEYSINSLOT", slot(2), 1)
                with pytest.raises(BusUnavailable, match=r"TryAgain|Ask"):
                    await bus.commit([commit(1, "x", owner="c2", stream=f"{{{GROUP}.2}}:other")])
                with pytest.raises(BusUnavailable, match=r"TryAgain|Ask"):
                    await bus.read(ORIGIN, ORIGIN)
                old.migrate("127.0.0.1", cluster.servers[target].port, keys, 0, 5000)
            keys = old.execute_command("CLUSTER", "GETKEYSINSLOT", slot(2), 100)
            old.migrate("127.0.0.1", cluster.servers[target].port, keys, 0, 5000)
            for client in (new, old):
                client.execute_command("CLUSTER", "SETSLOT", slot(2), "NODE", ids[1])
            answers, _ = await patiently(lambda: bus.commit([commit(2, "2", stream=out)]))
            assert answers == [APPLIED]
            assert [fields[b"data"] for _, fields in new.xrange(out)] == [b"1", b"2"]


async def test_a_node_that_is_frozen_costs_its_own_shards_only(
    cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 2.0)
    frozen = owner_of(cluster, slot_of(f"trio_asr:{{{GROUP}}}:fleet"))
    lying = [owner_of(cluster, slot(shard)) for shard in range(SHARDS)]
    async with routed(cluster.url) as router:
        for shard in range(SHARDS):
            assert await router.bus(shard).acquire(LONG_MS) is Tenure.HELD
        cluster.servers[frozen].pause()
        try:
            stuck = next(shard for shard in range(SHARDS) if lying[shard] == frozen)
            async with trio.open_nursery() as nursery:

                async def fails() -> None:
                    with pytest.raises(BusUnavailable, match="Timeout"):
                        await router.bus(stuck).renew(LONG_MS)

                nursery.start_soon(fails)
                for shard in range(SHARDS):
                    if lying[shard] != frozen:
                        assert await router.bus(shard).renew(LONG_MS) is Tenure.HELD
                assert not nursery.cancel_scope.cancel_called
            holders = await router.control.holders()
            assert holders == [None if place == frozen else "a" for place in lying]
            with pytest.raises(BusUnavailable):
                await router.control.beats()
        finally:
            cluster.servers[frozen].resume()
        for shard in range(SHARDS):
            tenure, _ = await patiently(partial(router.bus(shard).renew, LONG_MS))
            assert tenure is Tenure.HELD


async def test_frozen_nodes_do_not_keep_others_from_saying_what_lies_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are asked beside each other: no answer of theirs is waited for."""
    urls = [f"redis://h:{number}" for number in range(6)]
    frozen, refusing, asked, thawed = set[str](), set[str](), list[str](), threading.Event()
    found = [nodes._Range(0, nodes.SLOTS - 1, urls)]

    def look(url: str) -> list[nodes._Range]:
        asked.append(url)
        if url in frozen:
            thawed.wait(60)
        if url in frozen | refusing:
            raise redis.TimeoutError("so the test says")
        return found

    monkeypatch.setattr(nodes, "_ranges_of", look)
    monkeypatch.setattr(nodes, "LOOK_S", 0.0)
    monkeypatch.setattr(nodes, "SLOW_S", 60.0)
    known = nodes.Nodes(urls[0])
    try:
        await known.node(0)
        asked.clear()
        refusing |= set(urls[1:5])
        with trio.fail_after(50):
            await known.look(besides=await known.node(0))
        assert asked == urls[1:], "in order, the one that is in doubt last"
        frozen |= set(urls[1:4])
        monkeypatch.setattr(nodes, "SLOW_S", 0.01)
        with trio.fail_after(50):
            await known.look(besides=await known.node(0))
        assert not thawed.is_set()
        frozen.update(urls)
        thawed.set()
        with pytest.raises(BusUnavailable, match="so the test says"):
            await known.look()
    finally:
        thawed.set()
        known.close()


async def test_a_primary_that_is_killed_is_replaced(clusters: None) -> None:
    """Its shards are away until then; their owner goes on with what the replica has."""
    with EmbeddedCluster(replicas=True, node_timeout_ms=2000) as cluster:
        killed = owner_of(cluster, slot(0))
        async with routed(cluster.servers[killed].url) as router:
            bus, other = (
                router.bus(0),
                router.bus(next(s for s in range(SHARDS) if owner_of(cluster, slot(s)) != killed)),
            )
            assert await bus.acquire(LONG_MS) is Tenure.HELD
            assert await other.acquire(LONG_MS) is Tenure.HELD
            out = f"{{{GROUP}.0}}:out"
            assert await bus.commit([commit(1, "1", stream=out)]) == [APPLIED]
            with cluster.client(killed) as client:
                assert client.wait(1, 5000) == 1
            cluster.servers[killed].kill()
            answers, failures = await patiently(lambda: bus.commit([commit(2, "2", stream=out)]))
            assert answers in ([APPLIED], [DONE])
            assert failures
            assert await other.renew(LONG_MS) is Tenure.HELD
            assert (await patiently(lambda: bus.renew(LONG_MS)))[0] is Tenure.HELD
            assert await bus.load(["c1"]) == [Stored(2, b"state 2 of c1")]
            with cluster.client(len(cluster.primaries) + killed) as client:  # its replica
                assert [fields[b"data"] for _, fields in client.xrange(out)] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("url", "announced", "expected"),
    [
        ("redis://h:1/0", b"n", "redis://n:2"),
        ("rediss://u:p%40@h:1?db=0&ssl_cert_reqs=none", b"n", "rediss://u:p%40@n:2?ssl_cert_reqs=none"),
        ("redis://:secret@h", b"", "redis://:secret@h:2"),
        ("redis://h:1", None, "redis://h:2"),
        ("redis://h:1", b"?", "redis://h:2"),
        ("redis://h:1", b"::1", "redis://[::1]:2"),
    ],
)
def test_the_url_of_a_node(url: str, announced: bytes | None, expected: str) -> None:
    """The user, the password and the options of the one that is known; its host where none is announced."""
    assert nodes._place(url, "h", announced, 2) == expected


async def test_servers_that_do_not_answer_say_why(new_valkey: Callable[[], EmbeddedValkey]) -> None:
    """To all shards, of which one has asked; and all is well once one answers."""
    server = new_valkey()
    server.kill()
    async with routed(server.url) as router:
        for shard in range(3):
            with pytest.raises(BusUnavailable, match="ConnectionError"):
                await router.bus(shard).acquire(LONG_MS)
        with pytest.raises(BusUnavailable, match="ConnectionError"):
            await router.control.beats()
        server.start()
        tenure, _ = await patiently(partial(router.bus(0).acquire, LONG_MS))
        assert tenure is Tenure.HELD

"""What a fleet has in common, held against the real server and the one in memory alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import msgspec
import pytest
import redis
import trio
from tests.bus.bus_harness import LONG_MS, commit
from trio.abc import Clock

from trio_asr.bus import control as control_module
from trio_asr.bus.base import Answer, BusUnavailable, KeyMisused, Tenure
from trio_asr.bus.control import Router
from trio_asr.bus.memory_fleet import MemoryFleet, MemoryRouter
from trio_asr.bus.router import RedisRouter
from trio_asr.config import Config
from trio_asr.config.fleet import FleetConfig
from trio_asr.wire.ids import ORIGIN
from trio_asr.wire.records import Outcome, Stored

SHARDS = 3
SHORT_MS = 60
Join = Callable[[str], Router]


def config_of(url: str, member: str) -> Config:
    config = Config(fleet=FleetConfig(shards=SHARDS, member=member))
    return msgspec.structs.replace(config, redis=msgspec.structs.replace(config.redis, url=url))


@pytest.fixture(params=["memory", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
async def join(clock: Clock | None, request: pytest.FixtureRequest) -> AsyncIterator[Join]:
    """Let a member join an empty fleet, of either kind."""
    memory = MemoryFleet(SHARDS)
    url = "" if clock is not None else request.getfixturevalue("redis_url")
    async with AsyncExitStack() as stack:

        def joined(member: str) -> Router:
            config = config_of(url, member)
            router = MemoryRouter(memory, config) if clock is not None else RedisRouter(config)
            stack.push_async_callback(router.aclose)
            return router

        yield joined


async def test_the_number_of_shards_is_written_once(clock: Clock | None, join: Join) -> None:
    assert await join("a").control.found(SHARDS) == SHARDS
    assert await join("b").control.found(SHARDS + 1) == SHARDS


async def test_beats_are_seen_by_all_until_they_expire(clock: Clock | None, join: Join) -> None:
    a, b = join("a").control, join("b").control
    assert await a.beats() == []
    await a.beat("a", b"a 1", LONG_MS)
    await b.beat("b", b"b 1", SHORT_MS)
    await a.beat("a", b"a 2", LONG_MS)
    assert sorted(await a.beats()) in ([b"a 2", b"b 1"], [b"a 2"])  # a busy machine may take that long
    await trio.sleep(2 * SHORT_MS / 1000)
    assert await b.beats() == [b"a 2"]
    await b.beat("b", b"b 2", LONG_MS)
    assert sorted(await a.beats()) == [b"a 2", b"b 2"]
    await a.leave("a")
    assert await b.beats() == [b"b 2"]
    await a.leave("a")
    await b.leave("b")
    assert await a.beats() == []


async def test_who_holds_which_shard(clock: Clock | None, join: Join) -> None:
    a, b = join("a"), join("b")
    assert await a.control.holders() == ["", "", ""]
    assert await a.bus(0).acquire(LONG_MS) is Tenure.HELD
    assert await b.bus(1).acquire(LONG_MS) is Tenure.HELD
    assert await a.bus(2).acquire(SHORT_MS) is Tenure.HELD
    await trio.sleep(2 * SHORT_MS / 1000)
    assert await b.control.holders() == ["a", "b", ""]
    await a.bus(0).pass_on("b", LONG_MS)
    await b.bus(1).release()
    assert await a.control.holders() == ["heir:b", "", ""]
    assert await b.bus(0).acquire(LONG_MS) is Tenure.HELD
    assert await a.control.holders() == ["b", "", ""]


async def test_shards_have_nothing_in_common(clock: Clock | None, join: Join) -> None:
    a, b = join("a"), join("b")
    assert await a.bus(0).acquire(LONG_MS) is Tenure.HELD
    assert await b.bus(1).acquire(LONG_MS) is Tenure.HELD
    for router, shard in ((a, 0), (b, 1)):
        one = commit(1, f"of {shard}", owner="c1", stream=f"out {shard}", state=b"%d" % shard)
        assert await router.bus(shard).commit([one]) == [Answer(Outcome.APPLIED)]
    for shard in (0, 1):
        assert await a.bus(shard).load(["c1"]) == [Stored(1, b"%d" % shard)]
        assert await a.bus(shard).live_calls() == [b"c1"]
    assert await a.bus(2).load(["c1"]) == [Stored()]
    assert await a.bus(2).live_calls() == []
    assert await a.bus(1).commit([commit(2, "x")]) == [Answer(Outcome.FENCED)]


# -- in memory only ------------------------------------------------------------------------------------------


async def test_servers_may_be_away(autojump_clock: Clock) -> None:
    """The control or one shard's store, and with it only what is there."""
    fleet = MemoryFleet(SHARDS)
    router = MemoryRouter(fleet, config_of("", "a"))
    assert await router.bus(1).acquire(LONG_MS) is Tenure.HELD
    fleet.stores[1].away = True
    assert await router.control.holders() == ["", None, ""]
    with pytest.raises(BusUnavailable):
        await router.bus(1).renew(LONG_MS)
    with pytest.raises(BusUnavailable):
        await router.bus(1).read(ORIGIN, ORIGIN)
    assert await router.bus(2).acquire(LONG_MS) is Tenure.HELD
    fleet.stores[1].away, fleet.away = False, True
    for ask in (router.control.holders, router.control.beats):
        with pytest.raises(BusUnavailable):
            await ask()
    assert await router.bus(1).renew(LONG_MS) is Tenure.HELD


# -- on the real server only ---------------------------------------------------------------------------------


@pytest.fixture
async def router(redis_url: str) -> AsyncIterator[RedisRouter]:
    router = RedisRouter(config_of(redis_url, "a"))
    yield router
    await router.aclose()


async def test_a_number_of_shards_that_is_none(redis_url: str, router: RedisRouter) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset("trio_asr:{asr-worker}:fleet", "shards", "many")
        with pytest.raises(KeyMisused, match="fleet"):
            await router.control.found(SHARDS)
        client.delete("trio_asr:{asr-worker}:fleet")
        client.set("trio_asr:{asr-worker}:fleet", "8")
        with pytest.raises(KeyMisused, match="fleet"):
            await router.control.found(SHARDS)
        client.delete("trio_asr:{asr-worker}:fleet")
        assert await router.control.found(SHARDS) == SHARDS
        assert client.hgetall("trio_asr:{asr-worker}:fleet") == {b"shards": b"3"}


async def test_names_whose_beat_has_expired_are_dropped(redis_url: str, router: RedisRouter) -> None:
    control = router.control
    with redis.Redis.from_url(redis_url) as client:
        client.sadd("trio_asr:{asr-worker}:beats", "gone", b"\xff")
        await control.beat("a", b"x", LONG_MS)
        assert await control.beats() == [b"x"]
        assert client.smembers("trio_asr:{asr-worker}:beats") == {b"a"}
        assert 0 < client.pttl("trio_asr:{asr-worker}:beat:a") <= LONG_MS
        client.delete("trio_asr:{asr-worker}:beats")
        client.set("trio_asr:{asr-worker}:beats", "x")
        for ask in (control.beats, lambda: control.beat("a", b"x", LONG_MS)):
            with pytest.raises(KeyMisused, match="beats"):
                await ask()


async def test_what_others_put_among_the_beats_is_bounded(
    redis_url: str, router: RedisRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat that is too large is an empty one, and thousands of names without a beat are removed at once."""
    control, names, beat = router.control, "trio_asr:{asr-worker}:beats", "trio_asr:{asr-worker}:beat:"
    await control.beat("a", b"x", LONG_MS)
    with redis.Redis.from_url(redis_url) as client:
        client.sadd(names, *(f"gone-{number}" for number in range(10_000)), "large", "most", "other")
        client.set(beat + "large", b"x" * (control_module.MOST_BEAT_BYTES + 1))
        client.set(beat + "most", b"x" * control_module.MOST_BEAT_BYTES)
        client.hset(beat + "other", "x", "y")
        found = await control.beats()
        assert sorted(map(len, found)) == [0, 1, control_module.MOST_BEAT_BYTES]
        assert client.smembers(names) == {b"a", b"large", b"most"}
        for number in range(4):
            client.sadd(names, f"b{number}")
            client.set(f"{beat}b{number}", b"x" * control_module.MOST_BEAT_BYTES)
        with pytest.raises(BusUnavailable, match=r"^trio_asr:\{asr-worker\}:beats has more members"):
            await control.beats()
        client.delete(*(f"{beat}b{number}" for number in range(4)))
        assert len(await control.beats()) == 3
        monkeypatch.setattr(control_module, "MOST_BEATS", 3)
        assert len(await control.beats()) == 3
        await control.beat("b", b"x", LONG_MS)
        with pytest.raises(BusUnavailable, match="has more members"):
            await control.beats()


async def test_who_may_not_read_the_beats_sees_no_empty_fleet(redis_url: str, router: RedisRouter) -> None:
    await router.control.beat("a", b"x", LONG_MS)
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-mget")
        try:
            with pytest.raises(BusUnavailable, match=r"(?i)permission|can't run this command"):
                await router.control.beats()
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+mget")
        assert await router.control.beats() == [b"x"]


async def test_the_names_of_a_shards_keys(redis_url: str, router: RedisRouter) -> None:
    """As docs and dashboards have them; a lease of another type is nobody's until it is wanted."""
    bus = router.bus(2)
    with redis.Redis.from_url(redis_url) as client:
        assert await bus.acquire(LONG_MS) is Tenure.HELD
        assert await bus.commit([commit(1, owner="c1"), commit(1, owner="")]) == [Answer(Outcome.APPLIED)] * 2
        assert await bus.set_aside("c1") == "{asr-worker.2}:trio_asr:{asr-worker}:broken:c1"
        prefix = "{asr-worker.2}:trio_asr:{asr-worker}:"
        names = ("lease", "fence", "live", "reader", "broken:c1")
        assert sorted(client.keys()) == sorted((prefix + name).encode() for name in names)
        assert client.get(prefix + "lease") == client.get(prefix + "fence")
        assert str(client.get(prefix + "lease")).startswith("b'a/")
        client.delete(prefix + "lease")
        client.hset(prefix + "lease", "x", "y")
        assert await router.control.holders() == ["", "", ""]
        with pytest.raises(KeyMisused, match="lease"):
            await bus.acquire(LONG_MS)

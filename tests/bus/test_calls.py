"""The store of an ingest, on the real server and in memory alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
import trio
from tests.bus.bus_harness import AUDIO, ENDS
from trio.abc import Clock

from trio_asr.bus import calls
from trio_asr.bus.base import BusFault, BusUnavailable, KeyMisused
from trio_asr.bus.calls import PREFIX, Add, CallStore, Claim, Outcome, RedisCallStore, Reply
from trio_asr.bus.memory import MemoryStore
from trio_asr.bus.memory_calls import MemoryCallStore
from trio_asr.client.redis import connect_fleet
from trio_asr.core.fleet.places import Places
from trio_asr.lab.rig.cluster import EmbeddedCluster

CLAIM = Claim("call", "one", "tenant", "in,out")
OTHER = CLAIM._replace(owner="two")
END = b'{"interaction_id":"call"}'


def add(before: int, after: int, *entries: bytes, owner: str = "one", end: bytes = b"") -> Add:
    about = f"about {after}".encode()
    return Add("call", owner, "tenant", "in,out", before, after, about, entries, end)


class Stores:
    """A server, and stores on it."""

    def __init__(
        self,
        make: Callable[[], CallStore],
        entries: Callable[[str], list[list[bytes]]],
        lose: Callable[[], Any],
    ) -> None:
        self.make, self.entries, self.lose = make, entries, lose


@pytest.fixture
async def stores(clock: Clock | None, request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if clock is not None:
        store = MemoryStore()
        memory = MemoryCallStore(store, audio_stream=AUDIO, end_stream=ENDS)

        def lose() -> None:
            store.streams.clear()
            memory.calls.clear()

        yield Stores(lambda: memory, lambda name: [fields for _, fields in store.streams.get(name, [])], lose)
        return
    url = request.getfixturevalue("redis_url")
    client = redis.Redis.from_url(url)
    made: list[RedisCallStore] = []

    def make() -> CallStore:
        made.append(RedisCallStore(url, audio_stream=AUDIO, end_stream=ENDS))
        return made[-1]

    def entries(name: str) -> list[list[bytes]]:
        found: list[Any] = client.xrange(name)  # type: ignore[assignment]
        return [[part for pair in fields.items() for part in pair] for _, fields in found]

    yield Stores(make, entries, client.flushall)
    for one in made:
        await one.aclose()
    client.close()


async def outcomes(store: CallStore, *steps: Claim | Add) -> list[Outcome]:
    return [reply.outcome for reply in await store.take(steps)]


async def test_a_call_from_its_claim_to_its_end(clock: Clock | None, stores: Stores) -> None:
    store = stores.make()
    (reply,) = await store.take([CLAIM])
    assert reply._replace(now_ms=0) == Reply(Outcome.TAKEN)
    assert reply.now_ms > 1_600_000_000_000
    assert await outcomes(store, add(0, 800, b"e1", b"e2"), add(900, 950, b"e3"), add(950, 950, end=END)) == [
        Outcome.ADDED, Outcome.STALE, Outcome.STALE,
    ]  # fmt: skip
    assert await outcomes(store, add(800, 900, b"e3", end=END)) == [Outcome.ADDED]
    assert stores.entries(AUDIO) == [[b"m", b"e1"], [b"m", b"e2"], [b"m", b"e3"]]
    assert stores.entries(ENDS) == [[b"data", END]]


async def test_what_is_asked_for_again_is_done_once(clock: Clock | None, stores: Stores) -> None:
    """A claim, entries, and an end: with the last entries or on its own."""
    store = stores.make()
    assert await outcomes(store, CLAIM, CLAIM, add(0, 800, b"e1"), add(0, 800, b"e1")) == [
        Outcome.TAKEN, Outcome.TAKEN, Outcome.ADDED, Outcome.DONE,
    ]  # fmt: skip
    last = add(800, 900, b"e2", end=END)
    assert await outcomes(store, last, last, add(900, 900, end=END)) == [
        Outcome.ADDED, Outcome.DONE, Outcome.DONE,
    ]  # fmt: skip
    assert len(stores.entries(AUDIO)) == 2
    assert stores.entries(ENDS) == [[b"data", END]]


async def test_the_next_socket_takes_the_call_and_learns_where_it_is(
    clock: Clock | None, stores: Stores
) -> None:
    one, two = stores.make(), stores.make()
    await outcomes(one, CLAIM, add(0, 800, b"e1"))
    (reply,) = await two.take([OTHER])
    assert (reply.outcome, reply.position, reply.about) == (Outcome.TAKEN, 800, b"about 800")
    assert await outcomes(one, add(800, 900, b"late"), add(800, 800, end=END)) == [Outcome.LOST, Outcome.LOST]
    assert await outcomes(two, add(800, 2400, b"e2", owner="two")) == [Outcome.ADDED]
    assert stores.entries(AUDIO) == [[b"m", b"e1"], [b"m", b"e2"]]
    assert stores.entries(ENDS) == []


async def test_a_call_that_goes_on_behind_its_end_ends_again(clock: Clock | None, stores: Stores) -> None:
    store = stores.make()
    await outcomes(store, CLAIM, add(0, 800, b"e1", end=END), OTHER)
    assert await outcomes(store, add(800, 800, owner="two", end=END)) == [Outcome.DONE]  # it brought nothing
    assert await outcomes(store, add(800, 900, b"e2", owner="two"), add(900, 900, owner="two", end=END)) == [
        Outcome.ADDED,
        Outcome.ADDED,
    ]
    assert len(stores.entries(ENDS)) == 2


async def test_another_tenant_does_not_get_the_call(clock: Clock | None, stores: Stores) -> None:
    store = stores.make()
    await outcomes(store, CLAIM, add(0, 800, b"e1"))
    assert await outcomes(store, OTHER._replace(tenant="somebody"), add(800, 900, b"e2")) == [
        Outcome.TENANT, Outcome.ADDED,
    ]  # fmt: skip


async def test_other_legs_of_a_call_are_refused_while_its_socket_is_alive(
    clock: Clock | None, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other_legs = stores.make(), OTHER._replace(legs="out")
    await outcomes(store, CLAIM, add(0, 800, b"e1"))
    assert await outcomes(store, other_legs, CLAIM, add(800, 900, b"e2")) == [
        Outcome.LEGS, Outcome.TAKEN, Outcome.ADDED,
    ]  # fmt: skip
    await outcomes(store, add(900, 900, end=END))
    assert await outcomes(store, other_legs) == [Outcome.TAKEN]
    monkeypatch.setattr(calls, "ALIVE_MS", -1)
    monkeypatch.setattr("trio_asr.bus.memory_calls.ALIVE_MS", -1)
    await outcomes(store, add(900, 950, b"e3", owner="two"))
    assert await outcomes(store, CLAIM) == [Outcome.TAKEN]


async def test_what_the_server_forgot_is_restored(clock: Clock | None, stores: Stores) -> None:
    store = stores.make()
    await outcomes(store, CLAIM, add(0, 800, b"e1"))
    stores.lose()
    assert await outcomes(store, add(800, 900, b"e2"), OTHER) == [Outcome.ADDED, Outcome.TAKEN]
    (reply,) = await store.take([OTHER])
    assert (reply.position, reply.about) == (900, b"about 900")
    assert stores.entries(AUDIO) == [[b"m", b"e2"]]


# -- the real server alone -----------------------------------------------------------------------------------


async def test_a_key_of_another_type_concerns_its_call_alone(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.set(PREFIX + "call", "something")
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS)
    other = CLAIM._replace(call="other")
    assert await outcomes(store, CLAIM, other, add(0, 8, b"e"), add(0, 8, b"e")._replace(call="other")) == [
        Outcome.MISUSED, Outcome.TAKEN, Outcome.MISUSED, Outcome.ADDED,
    ]  # fmt: skip
    await store.aclose()
    client.close()


@pytest.mark.parametrize("stream", [AUDIO, ENDS])
async def test_a_stream_of_another_type_is_named_and_nothing_is_added(redis_url: str, stream: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.set(stream, "something")
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS)
    await outcomes(store, CLAIM)
    with pytest.raises(KeyMisused, match=stream):
        await store.take([add(0, 800, b"e1", end=END)])
    with pytest.raises(KeyMisused, match=stream):
        await store.look("call")
    client.delete(stream)
    await store.look("call")
    assert await outcomes(store, add(0, 800, b"e1", end=END)) == [Outcome.ADDED]
    assert client.xlen(AUDIO) == client.xlen(ENDS) == 1
    await store.aclose()
    client.close()


@pytest.mark.parametrize(
    ("field", "value", "outcome"),
    [
        ("pos", "abc", Outcome.BROKEN),
        ("pos", "9" * 30, Outcome.BROKEN),
        ("pos", "-5", Outcome.BROKEN),
        ("at", "never", Outcome.TAKEN),
        ("about", b"\xc1", Outcome.TAKEN),
    ],
)
async def test_a_state_that_makes_no_sense_concerns_its_call_alone(
    redis_url: str, field: str, value: str | bytes, outcome: Outcome
) -> None:
    client = redis.Redis.from_url(redis_url)
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS)
    await outcomes(store, CLAIM, add(0, 800, b"e1"))
    client.hset(PREFIX + "call", field, value)
    other = CLAIM._replace(call="other")
    assert await outcomes(store, OTHER, other, add(0, 8, b"e2")._replace(call="other")) == [
        outcome, Outcome.TAKEN, Outcome.ADDED,
    ]  # fmt: skip
    await store.aclose()
    client.close()


async def test_a_stream_whose_ids_are_used_up_is_named_and_ends_no_call(redis_url: str) -> None:
    """Whoever added the last id there is, it is not the calls' fault."""
    client = redis.Redis.from_url(redis_url)
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS)
    client.xadd(AUDIO, {"x": 1}, id=f"{2**64 - 1}-{2**64 - 1}")
    await outcomes(store, CLAIM)
    with pytest.raises(KeyMisused, match=AUDIO):
        await store.take([add(0, 800, b"e1")])
    client.delete(AUDIO)
    assert await outcomes(store, add(0, 800, b"e1")) == [Outcome.ADDED]
    await store.aclose()
    client.close()


@pytest.mark.parametrize("right", ["xadd", "evalsha", "time", "hset", "hdel", "pexpire"])
async def test_a_right_that_is_missing_ends_no_call(redis_url: str, right: str) -> None:
    client: Any = redis.Redis.from_url(redis_url)
    client.execute_command("ACL", "SETUSER", "ingest", "on", ">secret", "~*", "+@all", f"-{right}")
    url = redis_url.replace("redis://", "redis://ingest:secret@")
    store = RedisCallStore(url, audio_stream=AUDIO, end_stream=ENDS)
    try:
        with pytest.raises(BusUnavailable):
            await store.take([CLAIM, add(0, 800, b"e1")])
        client.execute_command("ACL", "SETUSER", "ingest", f"+{right}")
        assert set(await outcomes(store, CLAIM, add(0, 800, b"e1"))) <= {
            Outcome.TAKEN, Outcome.ADDED, Outcome.DONE,
        }  # fmt: skip
        assert client.xlen(AUDIO) == 1
    finally:
        client.execute_command("ACL", "DELUSER", "ingest")
    await store.aclose()
    client.close()


async def test_a_call_that_could_not_go_on_behind_its_end_for_lack_of_a_right(redis_url: str) -> None:
    """Nothing of the step is done then, not even the position: done later, it gets its next end."""
    client: Any = redis.Redis.from_url(redis_url)
    client.execute_command("ACL", "SETUSER", "ingest", "on", ">secret", "~*", "+@all")
    url = redis_url.replace("redis://", "redis://ingest:secret@")
    store = RedisCallStore(url, audio_stream=AUDIO, end_stream=ENDS)
    try:
        await outcomes(store, CLAIM, add(0, 800, b"e1", end=END))
        before = client.hgetall(PREFIX + "call")
        client.execute_command("ACL", "SETUSER", "ingest", "-hdel")
        with pytest.raises(BusUnavailable):
            await store.take([add(800, 900, b"e2")])
        assert (client.xlen(AUDIO), client.hgetall(PREFIX + "call")) == (1, before)
        client.execute_command("ACL", "SETUSER", "ingest", "+hdel")
        assert await outcomes(store, add(800, 900, b"e2"), add(900, 900, end=END)) == [Outcome.ADDED] * 2
        assert client.xlen(ENDS) == 2
    finally:
        client.execute_command("ACL", "DELUSER", "ingest")
    await store.aclose()
    client.close()


async def test_a_look_adds_nothing_and_tells_whether_something_could_be_added(redis_url: str) -> None:
    """With a stream that is not there, one without entries, and one with some."""
    client: Any = redis.Redis.from_url(redis_url)
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS)
    await store.look("call")
    assert client.exists(AUDIO, ENDS) == 0
    client.xgroup_create(AUDIO, "group", mkstream=True)
    client.xadd(ENDS, {"data": "x"})
    await store.look("call")
    assert (client.xlen(AUDIO), client.xlen(ENDS)) == (0, 1)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(BusUnavailable, match="maxmemory"):
            await store.look("call")
    finally:
        client.config_set("maxmemory", 0)
    await store.look("call")
    await store.aclose()
    client.close()


async def test_scripts_that_the_server_forgot_are_loaded_again(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS)
    await outcomes(store, CLAIM)
    client.script_flush()
    assert await outcomes(store, add(0, 800, b"e1"), CLAIM) == [Outcome.ADDED, Outcome.TAKEN]
    await store.aclose()
    client.close()


async def test_a_server_that_is_not_there() -> None:
    store = RedisCallStore("redis://127.0.0.1:1/0", audio_stream=AUDIO, end_stream=ENDS)
    with pytest.raises(BusUnavailable), trio.fail_after(60):
        await store.take([CLAIM])
    await store.aclose()


@pytest.mark.parametrize(
    "reply", [[b"trio_asr:ingest:other", b"added"], [PREFIX.encode() + b"call", b"?"], 5, []]
)
async def test_an_answer_that_makes_no_sense(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, reply: object
) -> None:
    """It is a fault, and the connection is not used again."""
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS)
    assert await outcomes(store, CLAIM) == [Outcome.TAKEN]
    closed = list[bool]()
    with monkeypatch.context() as patched:
        patched.setattr(store._line._connection, "ask", lambda *_, **__: [reply])
        patched.setattr(store._line._connection, "close", lambda: closed.append(True))
        with pytest.raises(BusFault):
            await store.take([add(0, 800, b"e1")])
    assert closed == [True]
    assert await outcomes(store, add(0, 800, b"e1")) == [Outcome.ADDED]
    await store.aclose()


async def test_a_state_lives_a_day_longer_than_its_call(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS)
    await outcomes(store, CLAIM)
    for step in (add(0, 800, b"e1"), add(800, 800, end=END)):
        client.persist(PREFIX + "call")
        await outcomes(store, step)
        ttl = client.ttl(PREFIX + "call")
        assert isinstance(ttl, int)
        assert 86_390 <= ttl <= 86_400
    await store.aclose()
    client.close()


# -- a fleet -------------------------------------------------------------------------------------------------


async def test_all_keys_of_a_call_are_in_its_shard(redis_url: str) -> None:
    """`call` is in shard 6 of 8, `call-001` in 7: one round has steps of both."""
    client = redis.Redis.from_url(redis_url)
    store = RedisCallStore(redis_url, audio_stream=AUDIO, end_stream=ENDS, places=Places(8, "g"))
    steps = (CLAIM, add(0, 800, b"e1", b"e2", end=END))
    other = [step._replace(call="call-001") for step in steps]
    assert await outcomes(store, *steps, *other) == [Outcome.TAKEN, Outcome.ADDED] * 2
    keys: Any = client.keys()
    assert {*keys} == {
        f"{{g.{shard}}}:{key}".encode()
        for shard, call in ((6, "call"), (7, "call-001"))
        for key in (AUDIO, ENDS, PREFIX + call)
    }
    assert client.xlen(f"{{g.6}}:{AUDIO}") == client.xlen(f"{{g.7}}:{AUDIO}") == 2
    await store.aclose()
    client.close()


def on_cluster(url: str) -> RedisCallStore:
    return RedisCallStore(url, audio_stream=AUDIO, end_stream=ENDS, places=Places(8))


async def patiently(store: CallStore, step: Claim | Add) -> Outcome:
    with trio.fail_after(60):
        while True:
            try:
                return (await outcomes(store, step))[0]
            except BusUnavailable:
                await trio.sleep(0.05)


@pytest.mark.integration
async def test_a_shard_that_is_refused_is_a_place_of_its_own(cluster: EmbeddedCluster) -> None:
    """Its stream has another type; the others on its node do not wait for it, and it joins them again."""
    store = on_cluster(cluster.url)
    calls = [f"c{n}" for n in range(40)]
    for call in calls:
        assert await outcomes(store, CLAIM._replace(call=call)) == [Outcome.TAKEN]
    at = Places(8)
    one = calls[0]
    other = next(c for c in calls if at.of(c) != at.of(one) and store.place(c) == store.place(one))
    assert len({store.place(call) for call in calls}) == 3
    steps = [add(0, 8, b"e")._replace(call=call) for call in (one, other)]
    with connect_fleet(cluster.url) as client:
        client.set(at.of(one) + AUDIO, "something")
        with pytest.raises(KeyMisused):
            await store.take(steps)
        assert store.place(one) != store.place(other)
        assert await outcomes(store, steps[1]) == [Outcome.DONE]
        client.delete(at.of(one) + AUDIO)
        assert await outcomes(store, steps[0]) == [Outcome.ADDED]
        assert store.place(one) == store.place(other)
    await store.aclose()


@pytest.mark.integration
@pytest.mark.soak
@pytest.mark.usefixtures("clusters")
async def test_a_primary_that_is_killed_in_mid_call_is_replaced() -> None:
    """The call goes on at its replica; what was added is neither lost nor doubled."""
    with EmbeddedCluster(replicas=True, node_timeout_ms=2000) as cluster:
        shard = Places(8).of("call")
        with connect_fleet(cluster.url) as client:
            port = client.get_node_from_key(shard + AUDIO).port
        killed = [server.port for server in cluster.servers].index(port)
        store = on_cluster(cluster.servers[killed].url)
        assert await outcomes(store, CLAIM, add(0, 800, b"e1")) == [Outcome.TAKEN, Outcome.ADDED]
        with cluster.client(killed) as client:
            assert client.wait(1, 5000) == 1
        cluster.servers[killed].kill()
        assert await patiently(store, add(800, 1600, b"e2")) in (Outcome.ADDED, Outcome.DONE)
        assert await patiently(store, add(1600, 1600, end=END)) in (Outcome.ADDED, Outcome.DONE)
        with cluster.client(len(cluster.primaries) + killed) as client:
            assert [fields[b"m"] for _, fields in client.xrange(shard + AUDIO)] == [b"e1", b"e2"]
            assert client.xlen(shard + ENDS) == 1
        await store.aclose()

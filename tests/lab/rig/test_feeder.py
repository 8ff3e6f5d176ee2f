"""What bad producers put on the streams, looked at as it lies there."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import redis
import trio

from trio_asr.bus.nodes import slot_of
from trio_asr.client.producer import Entries
from trio_asr.core.fleet.places import Places
from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.lab.rig.evidence import Piece, audio, collect
from trio_asr.lab.rig.feeder import SECOND_SERIES, FedCall, Feeder, Mode, calls
from trio_asr.lab.rig.legs import LEG, ROLES, separated
from trio_asr.lab.rig.producing import Due
from trio_asr.lab.rig.shape import PLAIN, TWO_LEGS, Shape
from trio_asr.simulator.stamps import read
from trio_asr.wire.audio_format import Encoding, audio_format

EPOCH_MS = 1_700_000_000_000


def entries(mode: Mode, seconds: float = 4.0, shape: Shape = PLAIN, **more: float) -> list[Due]:
    made = list(FedCall("a", 3, seconds, mode, begin_s=1.0, shape=shape, **more).entries(EPOCH_MS))  # type: ignore[arg-type]
    assert [entry.due for entry in made] == sorted(entry.due for entry in made)
    return made


def frames(made: list[Due]) -> list[dict[str, Any]]:
    """The documents, each with its audio as bytes."""
    out = []
    for _, ends, (field, data) in made:
        document = msgspec.msgpack.decode(data) if field == "m" else msgspec.json.decode(data)
        if not ends:
            audio = document["audio"]
            out.append(document | {"audio": base64.b64decode(audio) if isinstance(audio, str) else audio})
    return out


def runs(documents: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    return read(b"".join(one["audio"] for one in documents))


def legs(documents: list[dict[str, Any]], encoding: Encoding = "mulaw") -> list[list[tuple[int, int, int]]]:
    form = audio_format(8000, encoding, 2)
    audio = separated(form, b"".join(one["audio"] for one in documents))
    return [read(leg, form.width // 2) for leg in audio]


def test_a_plain_call() -> None:
    made = entries(Mode.PLAIN)
    assert len(made) == 201
    assert [made[0].due, made[-1].due] == pytest.approx([1.02, 5.0])
    assert made[-1].ends
    documents = frames(made)
    assert [one["seq"] for one in documents] == list(range(1, 201))
    assert runs(documents) == [(3, 0, 32_000)]
    assert {len(one["audio"]) for one in documents} == {320}


def test_twice_is_byte_for_byte() -> None:
    made = [entry.entry for entry in entries(Mode.TWICE) if not entry.ends]
    assert made[::2] == made[1::2]
    assert len(made) == 400


def test_disorder_swaps_and_loses_nothing() -> None:
    numbers = [one["seq"] for one in frames(entries(Mode.DISORDER))]
    assert numbers[:10] == [1, 2, 3, 5, 4, 6, 7, 8, 9, 11]
    assert sorted(numbers) == list(range(1, 201))


def test_a_tenth_is_missing() -> None:
    kept = len(frames(entries(Mode.MISSING, 40.0)))
    assert 0.87 < kept / 2000 < 0.93


def test_two_series_are_interleaved() -> None:
    documents = frames(entries(Mode.INTERLEAVED))
    assert {run[0] for run in runs(documents)} == {3, 3 + SECOND_SERIES}
    assert sorted(one["seq"] for one in documents) == sorted([*range(1, 201)] * 2)


def test_odd_frames_are_cut_in_mid_sample() -> None:
    documents = frames(entries(Mode.ODD))
    assert len(documents[0]["audio"]) == 577
    assert [one["seq"] for one in documents] == list(range(1, len(documents) + 1))
    assert runs(documents) == [(3, 0, 32_000)]


@pytest.mark.parametrize(
    ("mode", "ends"),
    [
        (Mode.NO_END, []),
        (Mode.END_EARLY, [3.0, 5.0]),
        (Mode.END_TWICE, [5.0, 5.1]),
        (Mode.END_LATE, [15.0]),
        (Mode.END_UNKNOWN, [4.0] * 20 + [5.0]),
    ],
)
def test_ends(mode: Mode, ends: list[float]) -> None:
    made = entries(mode)
    assert [entry.due for entry in made if entry.ends] == pytest.approx(ends)
    assert runs(frames(made)) == [(3, 0, 32_000)]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.mark.integration
async def test_it_feeds_in_real_time(redis_url: str, client: redis.Redis) -> None:
    feeder = Feeder(redis_url, calls(3, 0.5))
    began = trio.current_time()
    await feeder.run()
    assert trio.current_time() - began > 1.0
    assert (feeder.accepted, feeder.troubles) == (75, 0)
    assert {name: [read(piece.audio) for piece in pieces] for name, pieces in audio(client).items()} == {
        f"call-00{number}": [[(number, 0, 4000)]] for number in (1, 2, 3)
    }
    assert client.xlen("call_end") == 3


@pytest.mark.integration
async def test_it_cuts_the_stream_as_careless_producers_do(redis_url: str, client: redis.Redis) -> None:
    await Feeder(redis_url, calls(1, 0.5), maxlen=5).run()
    assert client.xlen("audio_stream") == 5


@pytest.mark.integration
async def test_each_call_goes_into_its_shard(redis_url: str, client: redis.Redis) -> None:
    """`call-001` is in shard 7 of 8, `call-002` in 5, `call-003` in 3."""
    places = Places(8)
    await Feeder(redis_url, calls(3, 0.5), places).run()
    shards = {"call-001": 7, "call-002": 5, "call-003": 3}
    for name, shard in shards.items():
        assert list(audio(client, f"{{asr-worker.{shard}}}:audio_stream")) == [name]
        assert client.xlen(f"{{asr-worker.{shard}}}:call_end") == 1
    assert {*collect(redis_url, {"connections": [], "most_open": 0}, places).audio} == {*shards}
    assert not client.exists("audio_stream", "call_end")


@pytest.mark.integration
async def test_repeats_of_a_producer_count_once(redis_url: str, client: redis.Redis) -> None:
    await Feeder(redis_url, calls(1, 0.5, Mode.TWICE)).run()
    assert client.xlen("audio_stream") == 50
    (piece,) = audio(client)["call-001"]
    assert piece.format.plain
    assert read(piece.audio) == [(1, 0, 4000)]


@pytest.mark.integration
@pytest.mark.parametrize("mode", [Mode.PLAIN, Mode.MIXED, Mode.CHANGE])
async def test_what_two_legs_put_on_redis_is_read_back(
    redis_url: str, client: redis.Redis, mode: Mode
) -> None:
    call = FedCall("a", 3, 0.4, mode, shape=Shape(2, "alaw", Entries.MSGPACK), at_s=0.2)
    await Feeder(redis_url, [call]).run()
    form = audio_format(8000, "alaw", 2)
    pieces = audio(client)["a"]
    if mode is Mode.CHANGE:
        before = pieces.pop(0)
        assert before == Piece(audio_format(8000), (), before.audio)
        assert read(before.audio) == [(3, 0, 1600)]
    (piece,) = pieces
    assert (piece.format, piece.roles) == (form, ROLES)
    first = 1600 if mode is Mode.CHANGE else 0
    assert [read(leg, 1) for leg in separated(form, piece.audio)] == [
        [(3, first, 3200)], [(3 + LEG, first, 3200)],
    ]  # fmt: skip


def test_all_of_a_call_at_once() -> None:
    made = entries(Mode.AT_ONCE)
    assert {entry.due for entry in made} == {1.0}
    assert made[-1].ends
    assert runs(frames(made)) == [(3, 0, 32_000)]


# -- two legs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["linear16", "mulaw", "alaw"])
@pytest.mark.parametrize("written", list(Entries))
def test_two_legs_have_stamps_of_their_own(encoding: Encoding, written: Entries) -> None:
    documents = frames(entries(Mode.PLAIN, shape=Shape(2, encoding, written, positions=True)))
    assert [one["position"] for one in documents] == list(range(0, 32_000, 160))
    assert {(one["channels"], *one["roles"]) for one in documents} == {(2, *ROLES)}
    assert legs(documents, encoding) == [[(3, 0, 32_000)], [(3 + LEG, 0, 32_000)]]


def test_what_a_plain_call_says_has_not_changed() -> None:
    field, document = entries(Mode.PLAIN)[0].entry
    assert field == "data"
    assert document.startswith(
        b'{"tenant_id":"tenant-3","interaction_id":"a","seq":1,"timestamp_ms":1700000000000,'
        b'"sample_rate":8000,"encoding":"pcm16","audio":"'
    )


def test_entries_may_be_mixed() -> None:
    made = [entry for entry in entries(Mode.MIXED, shape=TWO_LEGS) if not entry.ends]
    assert [one.entry.field for one in made[:4]] == ["data", "m", "data", "m"]
    assert legs(frames(made)) == [[(3, 0, 32_000)], [(3 + LEG, 0, 32_000)]]


def test_one_channel_may_be_silent_for_a_while() -> None:
    documents = frames(entries(Mode.SILENT, shape=TWO_LEGS, at_s=1.0, for_s=2.0))
    assert legs(documents) == [[(3, 0, 32_000)], [(3 + LEG, 0, 8000), (3 + LEG, 24_000, 32_000)]]
    assert set(separated(audio_format(8000, "mulaw", 2), documents[50]["audio"])[1]) == {0xFF}


def test_a_hole_is_one_in_time_and_position() -> None:
    made = [
        one for one in entries(Mode.HOLE, shape=Shape(positions=True), at_s=1.0, for_s=2.0) if not one.ends
    ]
    documents = frames(made)
    assert [one["position"] for one in documents] == [*range(0, 8000, 160), *range(24_000, 32_000, 160)]
    assert [made[49].due, made[50].due] == pytest.approx([2.0, 4.02])
    assert runs(documents) == [(3, 0, 8000), (3, 24_000, 32_000)]


def test_what_is_scrambled_is_all_there_and_can_be_put_in_order_again() -> None:
    documents = frames(entries(Mode.SCRAMBLED, shape=Shape(2, "mulaw", positions=True)))
    assert not any("seq" in one for one in documents)
    positions = [one["position"] for one in documents]
    assert positions != sorted(positions)
    placed: dict[int, bytes] = {}
    for one in documents:
        for i in range(0, len(one["audio"]), 2):
            sample = one["audio"][i : i + 2]
            assert placed.setdefault(one["position"] + i // 2, sample) == sample  # overlaps agree
    ordered = b"".join(placed[at] for at in range(32_000))
    assert legs([{"audio": ordered}]) == [[(3, 0, 32_000)], [(3 + LEG, 0, 32_000)]]
    assert sum(len(one["audio"]) // 2 for one in documents) > 1.2 * 32_000


@asynccontextmanager
async def moving(cluster: EmbeddedCluster, slot: int) -> AsyncIterator[Callable[[], None]]:
    """Open the way of a slot to another node; the function moves its keys. In the end the slot is there."""
    with cluster.client(0) as client:
        ranges: Any = client.execute_command("CLUSTER SLOTS")
    port = next(node[1] for first, last, node, *_ in ranges if first <= slot <= last)
    source = [server.port for server in cluster.servers].index(port)
    target = (source + 1) % 3

    def keys() -> None:
        while found := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            old.migrate("127.0.0.1", cluster.servers[target].port, found, 0, 5000)

    with cluster.client(source) as old, cluster.client(target) as new:
        ids: list[Any] = [client.execute_command("CLUSTER", "MYID") for client in (old, new)]
        new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        yield keys
        keys()
        for client in (new, old):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])


def bytes_of(cluster: EmbeddedCluster, places: Places) -> dict[str, int]:
    """The audio of each call, without repeats, in bytes."""
    found = collect(cluster.url, {"connections": [], "most_open": 0}, places).audio
    return {name: sum(len(piece.audio) for piece in pieces) for name, pieces in found.items()}


@pytest.mark.integration
async def test_the_shards_of_a_cluster_are_fed_while_one_of_them_moves(cluster: EmbeddedCluster) -> None:
    """Its feeder asks anew where the shard is; nothing is lost, and what comes again is a repeat."""
    places, fed = Places(8), calls(8, 2.0)
    feeder = Feeder(cluster.url, fed, places)
    async with trio.open_nursery() as nursery:
        await nursery.start(feeder.run)
        await trio.sleep(0.5)
        async with moving(cluster, slot_of(places.of(fed[0].id))):
            pass
    assert bytes_of(cluster, places) == {call.id: 2 * call.samples for call in fed}
    assert feeder.accepted == 8 * 100


@pytest.mark.integration
async def test_a_shard_whose_keys_have_gone_ahead_of_its_slot_is_fed_there(cluster: EmbeddedCluster) -> None:
    places = Places(8)
    fed = [FedCall("call-1", 1, 2.0, Mode.NO_END)]  # an end in its batch would have to wait for the slot
    feeder = Feeder(cluster.url, fed, places)
    async with moving(cluster, slot_of(places.of("call-1"))) as keys:
        async with trio.open_nursery() as nursery:
            await nursery.start(feeder.run)
            await trio.sleep(0.5)
            keys()
        assert feeder.accepted == 100  # all, before the slot is there
    assert bytes_of(cluster, places) == {"call-1": 32_000}

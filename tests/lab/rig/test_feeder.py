"""What bad producers put on the streams, looked at as it lies there."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis
import trio

from trio_asr.lab.rig.evidence import audio
from trio_asr.lab.rig.feeder import SECOND_SERIES, Entry, FedCall, Feeder, Mode, calls
from trio_asr.simulator.stamps import read

EPOCH_MS = 1_700_000_000_000


def entries(mode: Mode, seconds: float = 4.0) -> list[Entry]:
    made = list(FedCall("a", 3, seconds, mode, begin_s=1.0).entries(EPOCH_MS))
    assert [entry.due for entry in made] == sorted(entry.due for entry in made)
    return made


def frames(made: list[Entry]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(entry.data) for entry in made if not entry.ends]


def runs(documents: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    return read(b"".join(base64.b64decode(one["audio"]) for one in documents))


def test_a_plain_call() -> None:
    made = entries(Mode.PLAIN)
    assert len(made) == 201
    assert [made[0].due, made[-1].due] == pytest.approx([1.02, 5.0])
    assert made[-1].ends
    documents = frames(made)
    assert [one["seq"] for one in documents] == list(range(1, 201))
    assert runs(documents) == [(3, 0, 32_000)]
    assert {len(one["audio"]) for one in documents} == {len(base64.b64encode(bytes(320)))}


def test_twice_is_byte_for_byte() -> None:
    made = [entry.data for entry in entries(Mode.TWICE) if not entry.ends]
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
    assert len(base64.b64decode(documents[0]["audio"])) == 577
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
    assert {name: read(pcm) for name, pcm in audio(client).items()} == {
        f"call-00{number}": [(number, 0, 4000)] for number in (1, 2, 3)
    }
    assert client.xlen("call_end") == 3


@pytest.mark.integration
async def test_it_cuts_the_stream_as_careless_producers_do(redis_url: str, client: redis.Redis) -> None:
    await Feeder(redis_url, calls(1, 0.5), maxlen=5).run()
    assert client.xlen("audio_stream") == 5


@pytest.mark.integration
async def test_repeats_of_a_producer_count_once(redis_url: str, client: redis.Redis) -> None:
    await Feeder(redis_url, calls(1, 0.5, Mode.TWICE)).run()
    assert client.xlen("audio_stream") == 50
    assert read(audio(client)["call-001"]) == [(1, 0, 4000)]


def test_all_of_a_call_at_once() -> None:
    made = entries(Mode.AT_ONCE)
    assert {entry.due for entry in made} == {1.0}
    assert made[-1].ends
    assert runs(frames(made)) == [(3, 0, 32_000)]

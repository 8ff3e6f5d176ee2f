from __future__ import annotations

import base64
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis
import trio
from trio.testing import MockClock

from trio_asr.client import producer
from trio_asr.client.audio import Recording
from trio_asr.client.producer import Call, Entries, Source, play
from trio_asr.client.redis import RedisFailure
from trio_asr.wire.audio_format import audio_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_asr.lab.rig.valkey import EmbeddedValkey

PCM = bytes(range(256)) * 5  # 640 samples: four frames of 20 ms
MONO = Recording(PCM)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


def documents(client: redis.Redis, stream: str) -> list[dict[str, Any]]:
    entries: Any = client.xrange(stream)
    return [json.loads(fields[b"data"]) for _, fields in entries]


def test_frame_is_what_producers_write() -> None:
    field, document = Call("c1", MONO, tenant_id="t").frame(0, 20, 1234)
    frame = json.loads(document)
    assert field == "data"
    assert list(frame) == [
        "tenant_id", "interaction_id", "seq", "timestamp_ms", "sample_rate", "encoding", "audio",
    ]  # fmt: skip
    assert frame | {"audio": ""} == {
        "tenant_id": "t",
        "interaction_id": "c1",
        "seq": 1,
        "timestamp_ms": 1234,
        "sample_rate": 8000,
        "encoding": "pcm16",
        "audio": "",
    }
    assert base64.b64decode(frame["audio"]) == PCM[:320]


@pytest.mark.parametrize("frame_ms", [1, 20, 33, 100, 5000])
def test_frames_together_are_the_recording(frame_ms: int) -> None:
    call = Call("c1", MONO)
    frames = [json.loads(call.frame(n, frame_ms, 0).document) for n in range(call.frame_count(frame_ms))]
    assert b"".join(base64.b64decode(frame["audio"]) for frame in frames) == PCM
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))


def two_legs(entries: Entries) -> Call:
    recording = Recording(PCM, audio_format(8000, "mulaw", 2))
    return Call("c1", recording, "t", ("customer", "agent"), entries, positions=True)


def test_two_legs_say_what_they_are() -> None:
    field, document = two_legs(Entries.JSON).frame(3, 20, 1234)
    frame = json.loads(document)
    audio = base64.b64decode(frame.pop("audio"))
    assert (field, audio) == ("data", PCM[960:])
    assert frame == {
        "tenant_id": "t",
        "interaction_id": "c1",
        "seq": 4,
        "timestamp_ms": 1234,
        "sample_rate": 8000,
        "encoding": "mulaw",
        "channels": 2,
        "roles": ["customer", "agent"],
        "position": 480,
    }


def test_messagepack_holds_the_same_and_the_audio_as_it_is() -> None:
    for number in range(4):
        field, document = two_legs(Entries.MSGPACK).frame(number, 20, 1234)
        plain = json.loads(two_legs(Entries.JSON).frame(number, 20, 1234).document)
        assert field == "m"
        expected = plain | {"audio": base64.b64decode(plain["audio"])}
        assert msgspec.msgpack.decode(document) == expected


def test_end_names_the_call() -> None:
    field, document = Call("c1", MONO, entries=Entries.MSGPACK).end(99)
    assert field == "data"
    assert json.loads(document) == {
        "interaction_id": "c1",
        "tenant_id": "demo",
        "call_sid": "c1",
        "stream_sid": "c1",
        "reason": "stopped",
        "timestamp_ms": 99,
    }


@pytest.mark.parametrize("wrong", [{"frame_ms": 0}, {"speed": 0.0}, {"speed": -1.0}, {"speed": float("nan")}])
def test_a_source_that_cannot_play_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Source("redis://127.0.0.1", **wrong)


async def test_calls_are_played_side_by_side_and_ended(redis_url: str, client: redis.Redis) -> None:
    long, short = Call("long", Recording(PCM * 3)), Call("short", MONO)
    await play(Source(redis_url, speed=20), [long, short])

    frames = documents(client, "audio_stream")
    for call in (long, short):
        own = [frame for frame in frames if frame["interaction_id"] == call.interaction_id]
        assert b"".join(base64.b64decode(frame["audio"]) for frame in own) == call.recording.audio
    assert [frame["interaction_id"] for frame in frames[:4]] == ["long", "short"] * 2
    assert [end["interaction_id"] for end in documents(client, "call_end")] == ["short", "long"]


async def test_no_end_and_other_streams(redis_url: str, client: redis.Redis) -> None:
    source = Source(redis_url, audio_stream="other", call_end_stream="ends", speed=20, send_end=False)
    await play(source, [Call("c1", MONO)])
    assert client.xlen("other") == 4
    assert client.keys() == [b"other"]


async def test_frames_come_in_real_time(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no drift added up, though each publication takes 7 ms."""
    came: list[float] = []

    async def run_sync(job: Any, *args: object) -> None:
        await trio.sleep(0.007)
        if job is producer._publish:
            came.append(round(trio.current_time() - 0.007, 6))

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    async with trio.open_nursery() as nursery:
        start = await nursery.start(play, Source("redis://127.0.0.1:1"), [Call("c1", Recording(PCM * 5))])
    assert came == [round(start + 0.02 * n, 6) for n in range(1, 21)]


async def test_frames_do_not_come_before_they_were_spoken(redis_url: str, client: redis.Redis) -> None:
    async with trio.open_nursery() as nursery:
        before = time.time()
        start = await nursery.start(play, Source(redis_url), [Call("c1", Recording(PCM * 5))])
        assert start <= trio.current_time()
    entries: Any = client.xrange("audio_stream")
    arrivals = [int(entry_id.partition(b"-")[0]) for entry_id, _ in entries]
    assert len(arrivals) == 20
    assert all(at - before * 1000 >= 20 * n - 1 for n, at in enumerate(arrivals, 1))
    assert all(b >= a for a, b in itertools.pairwise(arrivals))


async def test_no_redis_is_one_clear_failure() -> None:
    with pytest.raises(RedisFailure, match=r"redis://\*+@127\.0\.0\.1:1.*refused"):
        await play(Source("redis://:secret@127.0.0.1:1/0"), [Call("c1", MONO)])


async def test_a_redis_that_dies_ends_the_play(new_valkey: Any) -> None:
    server: EmbeddedValkey = new_valkey()
    with pytest.RaisesGroup(RedisFailure):
        async with trio.open_nursery() as nursery:
            await nursery.start(play, Source(server.url), [Call("c1", Recording(PCM * 100))])
            await trio.to_thread.run_sync(server.kill)

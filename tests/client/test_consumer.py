from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from trio_asr.client import consumer
from trio_asr.client.consumer import Event, Message, TranscriptReader

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(redis_url: str, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url, protocol=request.param)
    yield client
    client.close()


def say(client: redis.Redis, call: str, text: str, kind: str = "final", stream: str | None = None) -> None:
    document = {"interaction_id": call, "tenant_id": "t", "seq": 1, "type": kind, "text": text}
    client.xadd(stream or f"transcript.{call}", {"data": json.dumps(document)})


def event(client: redis.Redis, call: str, name: str) -> None:
    client.xadd("asr_events", {"data": json.dumps({"event": name, "interaction_id": call})})


def texts(items: list[Message | Event]) -> list[str]:
    return [item.text if isinstance(item, Message) else item.event for item in items]


def test_one_call_is_read_from_its_beginning_and_on(client: redis.Redis) -> None:
    say(client, "a", "hello")
    say(client, "b", "somebody else")
    reader = TranscriptReader(client)
    reader.follow("a")
    assert texts(reader.read()) == ["hello"]
    say(client, "a", "hell", kind="partial")
    say(client, "a", "hello again")
    assert texts(reader.read()) == ["hell", "hello again"]
    assert reader.read() == []


def test_all_calls_from_now_on_and_a_new_one_by_its_event(client: redis.Redis) -> None:
    say(client, "old", "before")
    event(client, "old", "started")
    reader = TranscriptReader(client)
    reader.discover()
    assert reader.read() == []
    say(client, "old", "after")
    event(client, "new", "started")
    say(client, "new", "first words")
    assert sorted(texts(reader.read() + reader.read())) == ["after", "first words", "started"]


def test_a_new_call_is_found_by_scan_where_nobody_writes_events(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "SCAN_EVERY_S", 0.0)
    reader = TranscriptReader(client)
    reader.discover()
    say(client, "new", "from the first word")
    assert texts(reader.read()) == ["from the first word"]


def test_from_start_reads_what_was_said_before(client: redis.Redis) -> None:
    say(client, "a", "before")
    reader = TranscriptReader(client, from_start=True)
    reader.discover()
    assert texts(reader.read()) == ["before"]


def test_streams_without_recent_news_are_left_alone(client: redis.Redis) -> None:
    client.xadd("transcript.ancient", {"data": "{}"}, id="1000000-0")
    reader = TranscriptReader(client, from_start=True)
    reader.discover()
    assert b"transcript.ancient" not in reader._positions


def test_another_template_with_glob_characters(client: redis.Redis) -> None:
    say(client, "a", "mine", stream="t[1]*a.text")
    say(client, "a", "not mine", stream="t1xa.text")
    reader = TranscriptReader(client, template="t[1]*{interaction_id}.text", from_start=True)
    reader.discover()
    assert texts(reader.read()) == ["mine"]


@pytest.mark.parametrize(
    "fields", [{"data": "no json"}, {"other": "1"}, {"data": b"\xff"}, {"data": '{"type": 1}'}]
)
def test_what_is_no_transcript_is_passed_over(client: redis.Redis, fields: dict[Any, Any]) -> None:
    client.xadd("transcript.a", fields)
    say(client, "a", "still read")
    reader = TranscriptReader(client)
    reader.follow("a")
    assert texts(reader.read()) == ["still read"]


def test_reading_leaves_no_trace(client: redis.Redis) -> None:
    say(client, "a", "hello")
    reader = TranscriptReader(client)
    reader.discover()
    reader.read()
    assert client.keys() == [b"transcript.a"]
    assert client.xinfo_groups("transcript.a") == []


def test_a_message_of_two_people_says_who_speaks(client: redis.Redis) -> None:
    for more in ({}, {"channel": 1}, {"channel": 0, "role": "customer"}):
        document = {"interaction_id": "a", "type": "final", "text": "hi"} | more
        client.xadd("transcript.a", {"data": json.dumps(document)})
    reader = TranscriptReader(client)
    reader.follow("a")
    who = [item.who for item in reader.read() if isinstance(item, Message)]
    assert who == [None, "channel 1", "customer"]


FLEET = tuple(f"{{g.{shard}}}:" for shard in range(12))


def test_all_shards_of_a_fleet_are_followed(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "SCAN_EVERY_S", 0.0)
    say(client, "old", "before", stream="{g.1}:transcript.old")
    reader = TranscriptReader(client, prefixes=FLEET)
    reader.discover()
    say(client, "old", "after", stream="{g.1}:transcript.old")
    say(client, "new", "first words", stream="{g.11}:transcript.new")
    say(client, "other", "no shard of ours", stream="{g.12}:transcript.other")
    say(client, "other", "another fleet", stream="{h.1}:transcript.other")
    say(client, "other", "a single worker", stream="transcript.other")
    assert sorted(texts(reader.read() + reader.read())) == ["after", "first words"]


def test_an_event_tells_the_shard_of_its_call(client: redis.Redis) -> None:
    """Also where the producers have a formula of their own."""
    reader = TranscriptReader(client, prefixes=FLEET)
    reader.discover()
    client.xadd("{g.7}:asr_events", {"data": json.dumps({"event": "started", "interaction_id": "a"})})
    say(client, "a", "hello", stream="{g.7}:transcript.a")
    assert texts(reader.read() + reader.read()) == ["started", "hello"]

"""The two commands as processes, as a person would use them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import wave
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis
from click.testing import CliRunner

from trio_asr.cli import cli
from trio_asr.samples import shipped_samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "trio_asr"]


def two_legs(path: Path) -> Path:
    """Silence on the first channel, a loud level on the other."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes((bytes(2) + (-0x4567).to_bytes(2, "little", signed=True)) * 800)
    return path


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
    )


def test_feed_plays_a_recording_and_ends_the_call(redis_url: str, client: redis.Redis) -> None:
    audio = shipped_samples()[0].audio
    done = run("feed", str(audio), "--speed", "100", "--frame-ms", "40", REDIS_URL=redis_url)
    assert done.returncode == 0, done.stderr
    call = re.search(r"as call (billing-[0-9a-f]{6}) onto audio_stream", done.stdout)
    assert call
    assert done.stdout.endswith("Done: 438 frames, call ended.\n")
    assert client.xlen("audio_stream") == 438
    ends: Any = client.xrange("call_end")
    assert json.loads(ends[0][1][b"data"])["interaction_id"] == call[1]


def test_feed_plays_two_legs_in_g711_and_messagepack(
    tmp_path: Path, redis_url: str, client: redis.Redis
) -> None:
    audio = two_legs(tmp_path / "legs.wav")
    done = run(
        "feed", str(audio), "--encoding", "alaw", "--roles", "customer, agent", "--entries", "msgpack",
        "--position", "--speed", "100", REDIS_URL=redis_url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.match(rf"Playing {audio} \(0\.1 s, alaw, two channels\) as call legs-", done.stdout)
    entries: Any = client.xrange("audio_stream")
    documents = [msgspec.msgpack.decode(fields[b"m"]) for _, fields in entries]
    assert [one["position"] for one in documents] == [0, 160, 320, 480, 640]
    assert {(one["encoding"], one["channels"], *one["roles"]) for one in documents} == {
        ("alaw", 2, "customer", "agent")
    }
    assert b"".join(one["audio"] for one in documents) == b"\xd5\x24" * 800


def test_feed_can_break_off(redis_url: str, client: redis.Redis) -> None:
    audio = str(shipped_samples()[0].audio)
    done = run(
        "feed", audio, "--interaction", "x", "--no-end", "--speed", "500", "--audio-stream", "other",
        "--redis-url", redis_url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert client.keys() == [b"other"]


def test_feed_puts_a_call_into_its_shard(redis_url: str, client: redis.Redis) -> None:
    """CRC-32 of `call-001` is 3453537975: the last of 8 shards."""
    audio = str(shipped_samples()[0].audio)
    done = run(
        "feed", audio, "--interaction", "call-001", "--speed", "500", "--shards", "8", REDIS_URL=redis_url,
        REDIS_CONSUMER_GROUP="g",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "onto {g.7}:audio_stream at" in done.stdout
    assert {*client.keys()} == {b"{g.7}:audio_stream", b"{g.7}:call_end"}


def test_watch_looks_for_a_call_in_its_shard(redis_url: str, client: redis.Redis) -> None:
    document = {"interaction_id": "call-001", "type": "final", "text": "hello", "start_ms": 0}
    client.xadd("{g.7}:transcript.call-001", {"data": json.dumps(document)})
    with subprocess.Popen(
        [*COMMAND, "watch", "call-001", "--redis-url", redis_url, "--shards", "8", "--group", "g"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert "Following call-001" in process.stdout.readline()
        assert process.stdout.readline().split() == ["0.0s", "call-001", "final", "hello"]
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere.wav"], 2, "does not exist"),
        ([__file__], 1, "not a recording that can be decoded"),
        ([str(shipped_samples()[0].audio), "--redis-url", "redis://127.0.0.1:1"], 1, "Connection refused"),
        ([str(shipped_samples()[0].audio), "--redis-url", "http://x"], 2, "allowed is a redis://"),
        ([str(shipped_samples()[0].audio), "--speed", "0"], 2, "--speed"),
        ([str(shipped_samples()[0].audio), "--rate", "3999"], 2, "--rate"),
        ([str(shipped_samples()[0].audio), "--roles", "a,b"], 1, "one channel, and --roles names 2"),
        ([str(shipped_samples()[0].audio), "--roles", "a,"], 1, "names 2"),
        ([str(shipped_samples()[0].audio), "--encoding", "opus"], 2, "--encoding"),
        ([str(shipped_samples()[0].audio), "--interaction", "{id}"], 1, "takes no such call"),
        ([str(shipped_samples()[0].audio), "--interaction", ""], 1, "has 0 characters, not 1..256"),
        ([str(shipped_samples()[0].audio), "--interaction", "x" * 257], 1, "has 257 characters"),
        ([str(shipped_samples()[0].audio), "--interaction", "a\x07"], 1, "unusable characters"),
    ],
)
def test_feed_says_what_is_wrong(arguments: list[str], code: int, says: str) -> None:
    done = CliRunner().invoke(cli, ["feed", *arguments])
    assert done.exit_code == code
    assert says in done.stderr


def test_a_refusal_is_a_line_of_the_process() -> None:
    done = run("feed", __file__)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


def test_watch_needs_a_redis() -> None:
    done = run("watch", "--redis-url", "redis://:secret@127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "refused" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["c1"]], ids=["all", "one"])
def test_watch_follows_and_ctrl_c_is_a_good_end(
    redis_url: str, client: redis.Redis, arguments: list[str]
) -> None:
    def say(kind: str, text: str, **more: Any) -> None:
        document = {"interaction_id": "c1", "seq": 1, "type": kind, "text": text, "start_ms": 1250} | more
        client.xadd("transcript.c1", {"data": json.dumps(document)})

    with subprocess.Popen(
        [*COMMAND, "watch", *arguments, "--redis-url", redis_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "Following" in process.stdout.readline()
        meta = {"platform": "twilio", "from": "+49\x1b301"}
        started = {"event": "started", "interaction_id": "c1", "meta": meta}
        client.xadd("asr_events", {"data": json.dumps(started)})
        if not arguments:
            assert process.stdout.readline() == "c1: twilio, from +49 301\n"
        say("partial", "hel")
        say("final", "hello")
        assert process.stdout.readline().split() == ["1.2s", "c1", "interim", "hel"]
        assert process.stdout.readline().split() == ["1.2s", "c1", "final", "hello"]
        say("final", "hi", channel=1, role="agent", end_ms=4000)
        say("partial", "good mor", channel=0, end_ms=2000)
        say("final", "good morning", channel=0, end_ms=2000)
        assert process.stdout.readline().split() == ["1.2s", "c1", "final", "agent", "hi"]
        assert process.stdout.readline().split() == ["1.2s", "c1", "interim", "channel", "0", "good", "mor"]
        late = ["1.2s", "c1", "final", "channel", "0", "(earlier)", "good", "morning"]
        assert process.stdout.readline().split() == late
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()  # leaving the block waits for it, without a bound
        assert process.stderr.read() == ""

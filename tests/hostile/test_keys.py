"""Every key of ours on Redis, written by somebody else: what is broken costs its call alone, and is said.

On a real Valkey and the real clock. What is stored belongs to us, but a rollback, a tool or a hand may have
written it; no such value may end the daemon, or keep the rest of the calls from being read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest
import redis
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.hostile import daemon_harness, junk
from tests.hostile.daemon_harness import (
    AUDIO,
    DEAD,
    ENDS,
    EVENTS,
    PREFIX,
    DaemonHarness,
    Producer,
    RedisBackend,
    run_daemon,
)

from trio_asr.client.http import get

GOOD_STATE: dict[str, Any] = {
    "place": {
        "finalized": 8000,
        "entry": "1-1",
        "offset": 0,
        "rate": 8000,
        "rate_from": 0,
        "rate_us": 0,
        "at": 16000,
    },
    "seq": 3,
    "connection": 1,
    "tenant_id": "tenant",
}
ENTRY = str(2**62)
BOUNDED = settings(max_examples=examples(8), deadline=None, suppress_health_check=junk.UNHEALTHY)


def state(**place: Any) -> bytes:
    """A checkpoint with something wrong in its place."""
    return msgspec.json.encode({**GOOD_STATE, "place": {**GOOD_STATE["place"], **place}})


def top(**more: Any) -> bytes:
    return msgspec.json.encode({**GOOD_STATE, **more})


#: What is stored of a call: the hash, or a key of another type.
BROKEN: dict[str, dict[str, bytes] | str] = {
    "cut": {"rev": b"4", "state": state()[:-20]},
    "empty-object": {"rev": b"4", "state": b'{"place":5}'},
    "list": {"rev": b"4", "state": b"[]"},
    "null": {"rev": b"4", "state": b"null"},
    "text": {"rev": b"4", "state": b"\xff\x00"},
    "deep": {"rev": b"4", "state": junk.nested(5000)},
    "entry-x": {"rev": b"4", "state": state(entry="x")},
    "entry-empty": {"rev": b"4", "state": state(entry="")},
    "entry-large": {"rev": b"4", "state": state(entry="9" * 400 + "-1")},
    "entry-number": {"rev": b"4", "state": state(entry=5)},
    "ended-x": {"rev": b"4", "state": top(ended="x")},
    "at-below": {"rev": b"4", "state": state(at=5)},
    "at-beyond": {"rev": b"4", "state": state(at=2**40)},
    "finalized-negative": {"rev": b"4", "state": state(finalized=-5)},
    "finalized-large": {"rev": b"4", "state": state(finalized=2**62)},
    "rate-0": {"rev": b"4", "state": state(rate=0)},
    "rate-negative": {"rev": b"4", "state": state(rate=-1)},
    "rate-from-beyond": {"rev": b"4", "state": state(rate_from=2**40)},
    "offset-negative": {"rev": b"4", "state": state(offset=-1)},
    "seq-negative": {"rev": b"4", "state": top(seq=-1)},
    "rev-abc": {"rev": b"abc", "state": state()},
    "rev-5000-digits": {"rev": junk.DIGITS, "state": state()},
    "rev-float": {"rev": b"1.5", "state": state()},
    "rev-only": {"rev": b"4"},
    "state-only": {"state": state()},
    "a-string": "string",
    "a-list": "list",
    "a-stream": "stream",
}
#: Not readable, but as well taken for a call that begins: nothing of it can be used.
MAY_BE_FRESH = {"rev-only", "state-only"}


def put(client: redis.Redis, key: str, value: dict[str, bytes] | str | bytes) -> None:
    """Write a key, of whatever type."""
    client.delete(key)
    if isinstance(value, dict):
        client.hset(key, mapping=cast("Any", value))
    elif value == "list":
        client.rpush(key, "in the way")
    elif value == "stream":
        client.xadd(key, {"in": "the way"})
    elif value == "hash":
        client.hset(key, "in", "the way")
    else:
        client.set(key, value)


async def test_a_checkpoint_that_cannot_be_read_is_set_aside_and_its_call_begins_afresh(
    redis_url: str,
) -> None:
    backend = RedisBackend(redis_url)
    broken = {name: Producer(backend, f"bad-{name}", 100 + i) for i, name in enumerate(BROKEN)}
    for name, value in BROKEN.items():
        put(backend.client, f"{PREFIX}call:bad-{name}", value)
        backend.client.sadd(f"{PREFIX}live", f"bad-{name}")
    async with run_daemon(backend) as one:

        async def beside() -> None:
            for producer in broken.values():
                producer.speak(0.5)
            await trio.sleep(0.5)
            for producer in broken.values():
                producer.speak(0.5)
                producer.end()

        await one.three_good_calls(beside, seconds=2.0)
        await one.ended(*broken.values(), within=200)
        one.is_whole(*broken.values())
        aside = {name for name in BROKEN if backend.client.exists(f"{PREFIX}broken:bad-{name}")}
        assert aside | MAY_BE_FRESH == {*BROKEN}
        told = {event["interaction_id"].removeprefix("bad-") for event in one.events("checkpoint_broken")}
        assert told | MAY_BE_FRESH == {*BROKEN}
        assert _total(one, "asr_broken_states_total") >= len(BROKEN) - len(MAY_BE_FRESH)


def _total(one: DaemonHarness, name: str) -> float:
    """A counter's sum over its labels."""
    return sum(
        sample.value
        for family in one.metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    )


READERS: dict[str, dict[str, bytes] | str] = {
    "cut": {"rev": b"4", "state": b'{"audio_floor":"1-'},
    "floor-x": {"rev": b"4", "state": b'{"audio_floor":"x","end_floor":"y"}'},
    "floor-large": {"rev": b"4", "state": b'{"audio_floor":"' + b"9" * 300 + b'-0"}'},
    "junk-x": {"rev": b"4", "state": b'{"audio_junk":"x"}'},
    "another-shape": {"rev": b"4", "state": b"[[]]"},
    "rev-abc": {"rev": b"abc", "state": b"{}"},
    "a-string": "string",
    "a-stream": "stream",
}


@pytest.mark.parametrize("name", READERS)
async def test_a_reader_that_cannot_be_read_is_begun_again(name: str, redis_url: str) -> None:
    """What was there before the start is read, from the beginning as nothing says more."""
    backend = RedisBackend(redis_url)
    put(backend.client, f"{PREFIX}reader", READERS[name])
    before = Producer(backend, "before", 9)
    before.speak(0.5)
    async with run_daemon(backend) as one:
        await one.three_good_calls(seconds=1.0)
        before.speak(0.5)
        before.end()
        await one.ended(before)
        one.is_whole(before)


async def test_a_member_of_live_that_is_no_call_is_taken_out(redis_url: str) -> None:
    backend = RedisBackend(redis_url)
    members = [b"\xff\xfe", b"", b"{x}", b"x" * 300, b"new\nline", b"nobody"]
    backend.client.sadd(f"{PREFIX}live", *members)
    async with run_daemon(backend) as one:
        await one.three_good_calls(seconds=1.0)
        left = set(cast("set[bytes]", backend.client.smembers(f"{PREFIX}live")))
        assert not left & set(members[:5])


async def reasons(one: DaemonHarness) -> list[str]:
    """What /ready says."""
    _, body = await get(one.daemon.port, "/ready")
    return list(msgspec.json.decode(body)["reasons"])


SHARED = {
    f"{PREFIX}live": "string",
    f"{PREFIX}fence": "list",
    f"{PREFIX}lease": "hash",
    ENDS: "string",
    EVENTS: "list",
    DEAD: "hash",
}


@pytest.mark.parametrize("key", SHARED)
async def test_a_key_that_all_need_of_another_type_is_named_and_waited_for(key: str, redis_url: str) -> None:
    """Nothing is given up meanwhile, and all goes on once it is mended."""
    backend = RedisBackend(redis_url)
    config = daemon_harness.settings(backend, max_unfinalized_s=5.0)
    async with run_daemon(backend, config) as one:

        async def spoil() -> None:
            await trio.sleep(1.0)
            kept = backend.client.exists(key) and backend.client.rename(key, "kept")
            put(backend.client, key, SHARED[key])
            backend.add(AUDIO, b"junk for the dead letters")
            await _until(lambda: _named(one, key), within=100)
            await trio.sleep(6.0)
            await _until(lambda: _named(one, key), within=100)
            backend.client.delete(key)
            if kept and key != f"{PREFIX}lease":  # that had a time to live
                backend.client.rename("kept", key)
            await _until(lambda: _calm(one), within=100)

        await one.three_good_calls(spoil, seconds=10.0)
        assert one.events("gap") == []
        assert one.daemon.role == "active"


@pytest.mark.parametrize("key", SHARED)
async def test_a_key_that_all_need_of_another_type_at_the_start(key: str, redis_url: str) -> None:
    """The daemon says so, and goes to work as soon as it is mended."""
    backend = RedisBackend(redis_url)
    put(backend.client, key, SHARED[key])

    async def mend() -> None:
        await trio.sleep(1.0)
        backend.client.delete(key)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mend)
        async with run_daemon(backend) as one:
            await one.three_good_calls(seconds=4.0)


async def test_the_readers_state_of_another_type_is_set_aside_in_mid_run(redis_url: str) -> None:
    """What is in memory takes its place: nothing is lost, and nobody has to mend it."""
    backend = RedisBackend(redis_url)
    async with run_daemon(backend) as one:

        async def spoil() -> None:
            await trio.sleep(1.0)
            backend.client.delete(f"{PREFIX}reader")
            put(backend.client, f"{PREFIX}reader", "string")
            with trio.fail_after(100):
                while backend.client.type(f"{PREFIX}reader") != b"hash":  # noqa: ASYNC110 (Redis is asked)
                    await trio.sleep(0.1)
            assert backend.client.type(f"{PREFIX}broken:") == b"string"

        await one.three_good_calls(spoil, seconds=5.0)
        assert one.counted("asr_broken_states_total", kind="reader") == 1


async def _named(one: DaemonHarness, key: str) -> bool:
    return any(reason.startswith(f"key {key} for") for reason in await reasons(one))


async def _calm(one: DaemonHarness) -> bool:
    return await reasons(one) == []


async def _until(question: Callable[[], Awaitable[bool]], within: float) -> None:
    with trio.fail_after(within):
        while not await question():  # noqa: ASYNC110 (it is a question to the pages)
            await trio.sleep(0.1)


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
async def test_a_transcript_of_another_type_is_that_calls_alone(kind: str, redis_url: str) -> None:
    backend = RedisBackend(redis_url)
    put(backend.client, "transcript.bad", kind)
    async with run_daemon(backend) as one:

        async def beside() -> None:
            await Producer(backend, "bad", 9).talk(2)
            backend.client.delete("transcript.bad")

        await one.three_good_calls(beside, seconds=2.0)
        bad = Producer(backend, "bad", 9, samples=2 * daemon_harness.RATE)
        bad.end()
        await one.ended(bad)
        one.is_whole(bad)


NAMES = ["call:bad", "call:good-1", "reader", "live", "call:", "broken:bad", "other"]
stored = st.one_of(
    st.sampled_from(["list", "stream", "hash"]),
    st.binary(max_size=20),
    st.fixed_dictionaries(
        {},
        optional={
            "rev": st.one_of(st.integers().map(lambda n: str(n).encode()), junk.values),
            "state": st.one_of(
                junk.values,
                st.builds(junk.cut, st.just(state()), st.integers(0, 300), st.integers(0, 255)),
                st.dictionaries(
                    st.sampled_from(list(GOOD_STATE["place"])), st.integers() | st.text(max_size=5)
                ).map(lambda place: state(**place)),
            ),
            "x": st.binary(max_size=5),
        },
    ).filter(bool),
)


@BOUNDED
@given(st.dictionaries(st.sampled_from(NAMES), stored, min_size=1))
def test_any_keys_at_a_start(redis_url: str, keys: dict[str, Any]) -> None:
    """The daemon starts and works. (A key that all need of another type it waits for: another test's.)"""

    async def main() -> None:
        backend = RedisBackend(redis_url)
        backend.client.flushdb()
        for name, value in keys.items():
            if name != "live" and (name != "reader" or isinstance(value, dict)):
                put(backend.client, PREFIX + name, value)
        backend.client.sadd(f"{PREFIX}live", "bad", "good-1", b"\xff")
        bad = Producer(backend, "bad", 9)
        async with run_daemon(backend) as one:

            async def beside() -> None:
                await bad.talk(1)
                bad.end()

            # A checkpoint that can be read is believed: of such a call only the others' wholeness is asked.
            others = [one.producer(number) for number in (2, 3)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(beside)
                for producer in others:
                    nursery.start_soon(producer.talk, 1.0)
            for producer in others:
                producer.end()
            await one.ended(*others, within=200)
            one.is_whole(*others)

    trio.run(main)

"""From the streams to the calls: junk, ends, idle calls, failures, starts. On the autojump clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from tests.call_harness import whole
from tests.worker_harness import (
    AUDIO,
    ENDS,
    EchoLink,
    EchoProvider,
    Producer,
    RoughBus,
    WorkerHarness,
    run_worker,
    settings,
)
from trio.testing import MockClock

from trio_asr.bus import memory
from trio_asr.bus.memory import MemoryStore
from trio_asr.config import Config, InteractionConfig
from trio_asr.config.sections import FlushConfig, RedisConfig
from trio_asr.interaction import interaction
from trio_asr.interaction.interaction import Interaction
from trio_asr.simulator.stamps import stamp
from trio_asr.wire.records import Stored
from trio_asr.worker import restarts

GOOD = {"interaction_id": "x", "seq": 1, "sample_rate": 8000, "audio": "AAAA"}


def frame(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def complete(on: WorkerHarness, producer: Producer) -> bool:
    """Say whether every sample of a call is in exactly one final, in order, at its own time."""
    finals = on.finals(producer)
    at = 0
    for final in finals:
        if final["start_ms"] != at:
            return False
        at = final["end_ms"]
    seqs = [final["seq"] for final in finals]
    return whole(finals, producer.samples, producer.number) and seqs == sorted(set(seqs))


class SlowToLoad(RoughBus):
    load_s = 0.0

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        await trio.sleep(self.load_s)
        return await super().load(owners)


# -- junk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (None, "no_data", "no field 'data'"),
        (b"", "json", ""),
        (b"{", "json", ""),
        (b"[1]", "json", ""),
        (b"\xff\xfe", "json", ""),
        (b"[" * 100_000, "json", ""),
        (frame(interaction_id=None), "interaction_id", "None is not a string"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "interaction_id"}).encode(), "interaction_id", ""),
        (frame(interaction_id=7), "interaction_id", "7 is not a string"),
        (frame(interaction_id=""), "interaction_id", "0 characters"),
        (frame(interaction_id="{x}"), "interaction_id", "unusable"),
        (frame(interaction_id="a\0b"), "interaction_id", "unusable"),
        (frame(interaction_id="x" * 1_000_000), "interaction_id", "1000000 characters"),
        (frame(audio="?"), "audio", "base64"),
        (frame(audio=None), "audio", "base64"),
        (frame(audio=[256]), "audio", "list of bytes"),
        (frame(sample_rate=0), "sample_rate", "0 is not within"),
        (frame(sample_rate=-8000), "sample_rate", ""),
        (frame(sample_rate=10**30), "sample_rate", ""),
        (frame(sample_rate="fast"), "sample_rate", ""),
        (frame(encoding="opus"), "encoding", "opus"),
        (frame(audio="A" * 3_000_000), "too_large", "3000"),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, bytes) else value or "-",
)
async def test_junk_is_dead_lettered_once(
    autojump_clock: MockClock, data: bytes | None, kind: str, reason: str
) -> None:
    """With the reason and cut to 4 KB; a call in progress notices nothing; a restart does not repeat it."""
    store, entry = MemoryStore(), ""
    for start in range(2):
        async with run_worker(store=store) as on:
            call = on.producer(start + 1)
            call.speak(0.5)
            entry = entry or store.add(AUDIO, data, other=b"field")
            call.speak(0.5)
            await on.finish(call)
            await trio.sleep(1)
            assert complete(on, call)
            (letter,) = on.dead_letters()
            assert (letter["stream"], letter["entry"], letter["kind"]) == (AUDIO, entry, kind)
            assert reason in letter["reason"]
            assert len(letter["reason"]) < 300
            assert len(letter["data"]) <= 4096
            assert on.counted("asr_dead_letters_total", reason=kind) == (not start)
            assert on.calls.interactions == {}, "junk is nobody's call"


@pytest.mark.parametrize(
    "data",
    [None, b"{", b"null", b'{"interaction_id": null}', b'{"interaction_id": "{a}"}', b"{}"],
)
async def test_a_bad_end_is_dead_lettered_once(autojump_clock: MockClock, data: bytes | None) -> None:
    async with run_worker() as on:
        call = on.producer()
        call.speak(0.5)
        entry = on.store.add(ENDS, data)
        await trio.sleep(3)
        assert [(letter["stream"], letter["entry"]) for letter in on.dead_letters()] == [(ENDS, entry)]
        await on.finish(call)
        assert complete(on, call)


async def test_thousands_of_junk_entries(autojump_clock: MockClock) -> None:
    """All are dead-lettered, in order, and a call among them goes on."""
    async with run_worker() as on:
        call = on.producer()
        for i in range(3000):
            on.store.add(AUDIO, b"junk %d" % i)
            if i % 300 == 0:
                call.speak(0.1)
        await on.finish(call)
        await trio.sleep(2)
        assert [letter["data"] for letter in on.dead_letters()] == [f"junk {i}" for i in range(3000)]
        assert complete(on, call)


async def test_hostile_ids_stay_apart(autojump_clock: MockClock) -> None:
    """Ids are text, never paths, formats or patterns: calls of similar names do not mix. (requirements 7)"""
    names = ["../a", "a/b", "a.b", "a*b", "%s", "a b", "ключ", "x" * 256]
    async with run_worker() as on:
        producers = [on.producer(i + 1, name) for i, name in enumerate(names)]
        for _ in range(10):
            for producer in producers:
                producer.speak(0.1)
        for producer in producers:
            producer.end()
        await on.over(*producers)
        assert all(complete(on, producer) for producer in producers)
        assert on.dead_letters() == []
        assert len(on.provider.links) == len(names)


# -- ends ----------------------------------------------------------------------------------------------------


async def test_an_end_read_together_with_the_last_frames(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        call = on.producer()
        for _ in range(7):
            call.speak(0.1)
        await on.finish(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        assert on.events(call)[-1]["reason"] == "call_end"
        assert on.events(call)[-1]["duration_ms"] == 700


async def test_an_end_read_before_the_last_frames(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full read of audio beside the end: frames before the end, by its id, are still to be read."""
    monkeypatch.setattr(memory, "READ_COUNT", 5)
    store = MemoryStore()
    call = Producer(store, "call-1", 1)
    for _ in range(23):
        call.speak(0.1)
    call.end()
    async with run_worker(store=store) as on:
        await on.over(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        assert len(on.provider.links) == 1


async def test_frames_within_the_grace_belong_to_the_call(autojump_clock: MockClock) -> None:
    """The producer's last frames may be added after its end; the same connection takes them."""
    async with run_worker(settings(end_grace_ms=500)) as on:
        call = on.producer()
        call.speak(0.5)
        call.end()
        await trio.sleep(0.49)
        call.speak(0.25)
        await on.over(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        assert len(on.provider.links) == 1


async def test_frames_after_the_grace_get_a_new_connection(autojump_clock: MockClock) -> None:
    """The times go on, and the call ends again."""
    async with run_worker() as on:
        call = on.producer()
        call.speak(1.5)
        await on.finish(call)
        call.speak(0.5)
        await on.finish(call)
        assert complete(on, call)
        assert [final["connection"] for final in on.finals(call)] == [1, 1, 2]
        assert on.happened(call) == ["started", "ended", "resumed", "ended"]


async def test_frames_while_the_call_closes(autojump_clock: MockClock) -> None:
    """They wait until it is closed and then open it again; none is lost, and its second end counts."""
    provider = EchoProvider()
    async with run_worker(provider=provider) as on:
        call = on.producer()
        call.speak(0.5)
        call.end()
        provider.mute = True  # CloseStream goes unanswered for `close_timeout_ms`
        await trio.sleep(5)
        call.speak(0.5)
        await trio.sleep(1)
        call.speak(0.5)
        call.end()
        await trio.sleep(1)
        provider.mute = False
        await trio.sleep(30)
        assert complete(on, call)
        assert on.counted("asr_late_frames_total") == 2
        assert on.calls.interactions == {}
        assert on.happened(call) == ["started", "ended", "resumed", "ended"]
        assert on.events(call)[-1]["reason"] == "call_end"


async def test_late_frames_read_together_with_a_call_that_is_unknown(autojump_clock: MockClock) -> None:
    """Their call is over before Redis has said what it knows of the other; neither loses anything."""
    provider, store = EchoProvider(), MemoryStore()
    bus = SlowToLoad(store)
    async with run_worker(provider=provider, store=store, bus=bus) as on:
        call, other = on.producer(1), on.producer(2)
        call.speak(0.5)
        call.end()
        provider.mute = True
        await trio.sleep(5)
        bus.load_s = 60
        call.speak(0.5)
        other.speak(0.5)
        await trio.sleep(1)
        provider.mute = False
        assert call.id in on.calls.interactions
        await trio.sleep(40)
        bus.load_s = 0
        await trio.sleep(60)
        await on.finish(call, other)
        assert complete(on, call)
        assert complete(on, other)
        assert on.happened(call) == ["started", "ended", "resumed", "ended"]


async def test_half_a_sample_at_the_end_joins_the_late_frames(autojump_clock: MockClock) -> None:
    """Requirements 7: a call that goes on after its end goes on at the very byte."""
    provider = EchoProvider()
    async with run_worker(provider=provider) as on:
        call, pcm = on.producer(), stamp(1, 0, 8000)
        call.publish(pcm[:7001])
        call.end()
        provider.mute = True
        await trio.sleep(5)
        call.publish(pcm[7001:])
        call.end()
        await trio.sleep(1)
        provider.mute = False
        call.samples = 8000
        await trio.sleep(60)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended", "resumed", "ended"]


async def test_an_end_of_a_call_with_several_in_one_read(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        producers = [on.producer(i) for i in range(1, 6)]
        for producer in producers:
            producer.speak(0.5)
            producer.end()
        await on.over(*producers)
        assert all(complete(on, producer) for producer in producers)


async def test_ends_that_end_nothing(autojump_clock: MockClock) -> None:
    """Of unknown calls, twice, before the first frame, after the end: each changes nothing."""
    async with run_worker() as on:
        call, unknown = on.producer(1), on.producer(2)
        unknown.end()
        call.end()  # before its first frame
        await trio.sleep(2)
        call.speak(0.5)
        await trio.sleep(2)
        assert list(on.calls.interactions) == [call.id]
        call.end()
        call.end()
        await on.over(call)
        call.end()
        await trio.sleep(2)
        assert on.happened(call) == ["started", "ended"]
        assert on.events(unknown) == []
        assert complete(on, call)


async def test_an_end_applied_before_a_restart_does_not_end_the_resumed_call(
    autojump_clock: MockClock,
) -> None:
    """The ends are read again from their floor; one that was committed is not applied to what came after."""
    store = MemoryStore()
    async with run_worker(store=store) as on:
        call, other = on.producer(1), on.producer(2)
        other.speak(0.5)
        call.speak(0.5)
        await on.finish(call)
        call.speak(0.5)
        await trio.sleep(0.3)
    async with run_worker(store=store) as on:
        await trio.sleep(5)
        assert call.id in on.calls.interactions
        await on.finish(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended", "resumed", "ended"]


async def test_an_idle_call_ends_and_later_audio_resumes_it(autojump_clock: MockClock) -> None:
    """Without `call_end`, at the timeout after the last frame; times go on."""
    async with run_worker(settings(idle_timeout_ms=10_000)) as on:
        call = on.producer()
        await call.talk(1.0)
        began = trio.current_time()
        await on.over(call)
        assert 9 <= trio.current_time() - began <= 12
        assert on.events(call)[-1]["reason"] == "idle"
        await call.talk(0.5)
        await on.finish(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended", "resumed", "ended"]


async def test_a_call_is_not_idle_while_its_frames_are_held(autojump_clock: MockClock) -> None:
    """Chunks may be longer than the idle time."""
    flush = FlushConfig(min_chunk_ms=5000, max_interval_ms=8000, max_chunk_ms=5000)
    config = Config(flush=flush, interaction=InteractionConfig(idle_timeout_ms=1000))
    async with run_worker(config) as on:
        call = on.producer()
        await call.talk(12)
        assert on.happened(call) == ["started"]
        await on.over(call)
        assert on.events(call)[-1]["reason"] == "idle"
        assert complete(on, call)


async def test_a_call_is_not_idle_while_it_cannot_be_transcribed(autojump_clock: MockClock) -> None:
    """Neither while Redis is away, nor while there is audio and no connection."""
    provider = EchoProvider()
    async with run_worker(settings(idle_timeout_ms=5_000), provider=provider) as on:
        call = on.producer()
        call.speak(1.0)
        await trio.sleep(3)
        on.bus.away = True
        await trio.sleep(20)
        assert call.id in on.calls.interactions
        on.bus.away = False
        await trio.sleep(3)
        assert call.id in on.calls.interactions
        await on.over(call)
        provider.refuse = True
        call.speak(1.0)
        await trio.sleep(20)
        assert call.id in on.calls.interactions
        provider.refuse = False
        await on.over(call)
        assert complete(on, call)


# -- failures ------------------------------------------------------------------------------------------------


def fail_once(provider: EchoProvider, number: int, *, after: int) -> None:
    """Let the connection of a call raise, once, when it has had so many bytes."""

    def inspect(link: EchoLink, pcm: bytes) -> None:
        heard = {run.call for run in link._ears[0]._reader.runs}
        if heard == {number} and link.audio_bytes >= after:
            provider.inspect = lambda link, pcm: None
            raise RuntimeError("so the test says")

    provider.inspect = inspect


async def test_a_failing_call_restarts_from_its_checkpoint(autojump_clock: MockClock) -> None:
    """And disturbs no other: audio that came meanwhile is read again, in order. (requirements 6)"""
    provider = EchoProvider()
    async with run_worker(provider=provider) as on:
        call, other = on.producer(1), on.producer(2)
        fail_once(provider, 1, after=24_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 10)
            nursery.start_soon(other.talk, 10)
        await on.finish(call, other)
        assert complete(on, call)
        assert complete(on, other)
        assert on.happened(call) == on.happened(other) == ["started", "ended"]
        assert [final["connection"] for final in on.finals(other)] == [1] * len(on.finals(other))
        assert len(provider.links) == 3
        assert all(link.closed for link in provider.links)
        assert on.counted("asr_errors_total", kind="internal") == 1


@pytest.mark.parametrize("quiet_s", [0.0, 0.5, 3.0])
async def test_a_call_that_failed_before_its_end(autojump_clock: MockClock, quiet_s: float) -> None:
    """Its end waits until its frames were read again."""
    provider = EchoProvider()
    async with run_worker(provider=provider) as on:
        call = on.producer()
        fail_once(provider, 1, after=16_000)
        await call.talk(1.2)
        call.speak(0.7)
        await trio.sleep(quiet_s)
        await on.finish(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        assert len(provider.links) == 2


async def test_a_call_that_fails_with_every_connection(autojump_clock: MockClock) -> None:
    """It tries again, less and less often; nothing is lost, and the others do not notice."""
    provider = EchoProvider()
    attempts = []

    def inspect(link: EchoLink, pcm: bytes) -> None:
        if {run.call for run in link._ears[0]._reader.runs} == {1}:
            attempts.append(trio.current_time())
            raise RuntimeError("so the test says")

    provider.inspect = inspect
    async with run_worker(provider=provider) as on:
        call, other = on.producer(1), on.producer(2)
        call.speak(0.9)
        await other.talk(30)
        await trio.sleep(170)
        assert 3 <= len(attempts) <= 60
        assert other.id in on.calls.interactions or complete(on, other)
        provider.inspect = lambda link, pcm: None
        await trio.sleep(61)
        await on.finish(call, other)
        assert complete(on, call)
        assert complete(on, other)


async def test_a_call_that_restarts_knows_its_repeats(autojump_clock: MockClock) -> None:
    """An entry added twice is a repeat also where the first one lies before the checkpoint."""
    provider = EchoProvider()
    async with run_worker(provider=provider) as on:
        call = on.producer()
        fail_once(provider, 1, after=20_000)
        for _ in range(30):
            added = call.envelope(0.1)
            on.store.add(AUDIO, added)
            await trio.sleep(0.1)
            earlier = on.store.messages(AUDIO)[-8:][0]
            on.store.add(AUDIO, earlier)
        await on.finish(call)
        assert len(provider.links) == 2
        assert complete(on, call)


async def test_a_kill_while_a_call_waits_to_restart(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floor has waited for it, though the other calls went on."""
    monkeypatch.setattr(restarts, "RESTART_BASE_S", 1e9)
    monkeypatch.setattr(restarts, "RESTART_CAP_S", 1e9)
    store, provider = MemoryStore(), EchoProvider()
    async with run_worker(store=store, provider=provider) as on:
        call, other = on.producer(1), on.producer(2)
        fail_once(provider, 1, after=24_000)
        await call.talk(3)
        await other.talk(20)
    async with run_worker(store=store) as on:
        await on.finish(call, other)
        assert complete(on, call)
        assert complete(on, other)


async def test_a_full_channel_is_its_calls_failure_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that does not take its frames is restarted, and reads again what it could not take."""
    monkeypatch.setattr(interaction, "BATCHES", 3)
    read, stuck = Interaction._read, {"call-1"}

    async def read_unless_stuck(self: Interaction) -> None:
        if self.call.id in stuck:
            stuck.clear()
            await trio.sleep_forever()
        await read(self)

    monkeypatch.setattr(Interaction, "_read", read_unless_stuck)
    async with run_worker() as on:
        call, other = on.producer(1), on.producer(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 3)
            nursery.start_soon(other.talk, 3)
        assert on.counted("asr_overruns_total") == 1
        await on.finish(call, other)
        assert complete(on, call)
        assert complete(on, other)
        assert len(on.provider.links) == 2
        assert on.happened(call) == on.happened(other) == ["started", "ended"]


# -- starts --------------------------------------------------------------------------------------------------


async def test_the_first_start_skips_what_is_old(autojump_clock: MockClock) -> None:
    """Older than `max_backlog_s`: counted, and the rest of the call is transcribed."""
    store = MemoryStore()
    call = Producer(store, "call-1", 1)
    for _ in range(4):
        call.speak(0.5)
        await trio.sleep(10)
    for attempt in range(2):
        async with run_worker(Config(redis=RedisConfig(max_backlog_s=25)), store=store) as on:
            if not attempt:
                await trio.sleep(2)
                assert on.counted("asr_backlog_skipped_total") == 2
                continue
            # No later start skips anything: what it begins with is what was not finished.
            await on.finish(call)
            assert on.counted("asr_backlog_skipped_total") == 0
            words = " ".join(final["text"] for final in on.finals(call)).split()
            assert words[0].startswith("c1:8000-")
            assert words[-1].endswith("-16000")
            assert on.finals(call)[0]["start_ms"] == 0


async def test_the_first_start_leaves_old_junk_alone(autojump_clock: MockClock) -> None:
    """What other programs left on the stream long ago is skipped as old, not dead-lettered; new junk is."""
    store = MemoryStore()
    store.add(AUDIO, b"{")
    await trio.sleep(100)
    entry = store.add(AUDIO, b"{")
    async with run_worker(Config(redis=RedisConfig(max_backlog_s=25)), store=store) as on:
        await trio.sleep(2)
        assert on.counted("asr_backlog_skipped_total") == 1
        assert [letter["entry"] for letter in on.dead_letters()] == [entry]


@pytest.mark.parametrize("away_s", [0.0, 3.0, 700.0])
async def test_a_kill_in_mid_call(autojump_clock: MockClock, away_s: float) -> None:
    """The next start goes on from the checkpoint, however long after; nothing is lost or said twice."""
    store = MemoryStore()
    async with run_worker(store=store) as on:
        calls = [on.producer(i) for i in range(1, 4)]
        async with trio.open_nursery() as nursery:
            for i, call in enumerate(calls):
                nursery.start_soon(call.talk, 2.3 + i)
    await trio.sleep(away_s)
    calls[0].speak(0.3)
    calls[0].end()
    async with run_worker(store=store) as on:
        await trio.sleep(3)
        for call in calls[1:]:
            call.speak(0.1)
            call.end()
        await on.over(*calls)
        for call in calls:
            assert complete(on, call)
            assert on.happened(call) == ["started", "ended"]
            assert [final["seq"] for final in on.finals(call)] == list(range(1, len(on.finals(call)) + 1))


async def test_kills_at_many_instants(autojump_clock: MockClock) -> None:
    store, instants = MemoryStore(), [0.01 * 1.45**i for i in range(14)]
    call = Producer(store, "call-1", 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.talk, 12)
        for instant in instants:
            async with run_worker(store=store):
                await trio.sleep(instant)
    async with run_worker(store=store) as on:
        await on.finish(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]

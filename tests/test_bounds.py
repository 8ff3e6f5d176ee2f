"""Memory is flat and Redis bounded, whatever lasts for ever: hours, thousands of calls, on a jumping clock.

Each test compares the memory in use early in a run with that at its end.
`pytest -s -m soak` shows the figures of `docs/bounds.md`.
"""

from __future__ import annotations

import itertools
import logging
import time
import tracemalloc
from collections.abc import Iterator, Sized
from typing import Any

import pytest
import trio
from tests.bounds_harness import LeanCall, LeanProvider, MemoryUse, consume, memory_use
from tests.worker_harness import AUDIO, DEAD_LETTERS, ENDS, RATE, WorkerHarness, read, run_worker
from trio.testing import MockClock

from trio_asr.bus import memory
from trio_asr.config import Config, DeepgramConfig, FlushConfig, InteractionConfig, PublishConfig, RedisConfig
from trio_asr.core import past
from trio_asr.interaction import connection
from trio_asr.wire.frames import check_id
from trio_asr.worker import rounds, stored

pytestmark = pytest.mark.soak

EVENTS = 100

figures: list[str] = []


@pytest.fixture(autouse=True)
def scale(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no test runner gather the log, and the events stream be short."""
    monkeypatch.setattr(stored, "EVENTS_MAXLEN", EVENTS)
    logging.disable(logging.CRITICAL)
    for number in range(check_id.cache_parameters()["maxsize"]):
        check_id(f"known-{number}")  # or whichever test comes first would see this grow to its bound
    tracemalloc.start()
    yield
    tracemalloc.stop()
    logging.disable(logging.NOTSET)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let simulated hours cost less: frames of 5 s are no pause, and nobody looks every second."""
    monkeypatch.setattr(connection, "PAUSE_S", 20.0)
    monkeypatch.setattr(memory, "BLOCK_S", 10.0)
    monkeypatch.setattr(rounds, "PERIOD_S", 10.0)


@pytest.fixture(scope="module", autouse=True)
def summary() -> Iterator[None]:
    """Show the figures in the end."""
    yield
    print("", *figures, sep="\n")  # noqa: T201 (what `-s` is for)


def note(what: str, before: MemoryUse, after: MemoryUse, **others: object) -> None:
    """Note a line of figures."""
    rest = ", ".join(f"{name} {value}" for name, value in others.items())
    figures.append(
        f"{what}: {before.blocks} -> {after.blocks} blocks, "
        f"{before.held / 1e6:.2f} -> {after.held / 1e6:.2f} MB; {rest}"
    )


def settings(chunk_ms: int = 5000, **interaction: Any) -> Config:
    """Return settings under which the store holds no audio that nobody needs."""
    return Config(
        interaction=InteractionConfig(**interaction),
        redis=RedisConfig(trim=True),
        deepgram=DeepgramConfig(catchup_rate=2.0),
        flush=FlushConfig(min_chunk_ms=chunk_ms, max_interval_ms=8000, max_chunk_ms=5000),
        publish=PublishConfig(words=True),
    )


def keys(on: WorkerHarness) -> int:
    """Count what the daemon holds in Redis for calls in progress."""
    return len(on.store.live) + len([owner for owner in on.store.states if owner])


async def test_a_call_of_ten_hours(autojump_clock: MockClock, patient: None) -> None:
    """Memory is flat, and times are true to the end, though a float32 has 4 ms steps there."""
    segment = 10_960  # 1.37 s: no multiple of anything
    async with run_worker(settings(), provider=LeanProvider(segment / RATE)) as on:
        call = LeanCall(on.store, "long", frame_s=5.0)
        finals, worst, sizes = 0, 0.0, []
        for _ in range(20):
            await call.talk(1800)
            for final in await consume(on):
                for key, true in (("start_ms", finals), ("end_ms", finals + 1)):
                    for shown in (final, final["words"][0]):
                        worst = max(worst, abs(shown[key] - true * segment * 1000 / RATE))
                finals += 1
            sizes.append(memory_use())
        assert finals == call.samples // segment
        assert worst < 30
        assert on.counted("asr_gap_seconds_total", reason="skipped") == 0
        assert not sizes[-1].grew(sizes[4])
        assert max(map(len, on.store.streams.values())) <= EVENTS
        note("one call of 10 h", sizes[4], sizes[-1], finals=finals, largest_shift_ms=round(worst, 1))


async def test_ten_thousand_calls_that_nobody_ends(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end by the idle timeout, and leave nothing behind but their id for a while."""
    monkeypatch.setattr(past, "MAX_PAST", 1000)
    monkeypatch.setattr(past, "MAX_TAUGHT", 1000)
    provider = LeanProvider()
    async with run_worker(settings(idle_timeout_ms=1000), provider=provider) as on:
        sizes, most, began = [], 0, time.monotonic()
        for batch in range(40):
            for number in range(250):
                rate = 8000 + number  # as no telephone has
                LeanCall(on.store, f"call-{batch}-{number}", frame_s=0.2, rate=rate).speak()
            for _ in range(5):
                await trio.sleep(1)
                most = max(most, keys(on))
            await consume(on)
            sizes.append(memory_use())
        seconds = time.monotonic() - began
        assert not sizes[-1].grew(sizes[20])
        assert most <= 500
        assert not on.calls.interactions
        assert keys(on) == 0
        assert provider.made == 10_000
        assert remembered(on) <= 1000
        per_second = round(10_000 / seconds)
        note("10,000 calls that nobody ends", sizes[20], sizes[-1], live_keys=most, calls_per_s=per_second)


def remembered(on: WorkerHarness) -> int:
    """Count what is kept by a call's name, in all places."""
    calls, committer, admission = on.calls, on.committer, on.calls._services.admission
    kept: list[Sized] = [calls.past._calls, calls._restarts._strikes, calls.waiting, admission._queries]
    kept += [committer._ready, committer._refused, committer._drains, on.dispatcher._ends]
    return sum(map(len, kept))


@pytest.mark.parametrize(
    ("what", "provider"),
    [
        ("handshakes never answered", LeanProvider(status=0)),
        ("503 for ever", LeanProvider(status=503)),
        ("connected, mute for ever", LeanProvider(mute=True)),
        ("never a final", LeanProvider(vague=True)),
    ],
)
async def test_a_provider_that_never_answers(
    autojump_clock: MockClock, patient: None, what: str, provider: LeanProvider
) -> None:
    """At the bound the oldest becomes gaps, one after the other; nothing grows, and the call lives on."""
    bound_s = 30.0
    async with run_worker(settings(max_unfinalized_s=bound_s), provider=provider) as on:
        await trio.sleep(1)
        call = LeanCall(on.store, "call", frame_s=5.0)
        sizes = []
        await call.talk(5)
        timeline = on.calls.interactions["call"].call.timeline
        for _ in range(8):
            await call.talk(1800)
            assert bound_s - 7 < timeline.unfinalized / RATE <= bound_s
            assert timeline.held_bytes <= 2 * RATE * bound_s
            await consume(on)
            sizes.append(memory_use())
        gaps = [event for event in read(on.store, "asr_events") if event["event"] == "gap"]
        assert len(on.store.streams["asr_events"]) <= EVENTS
        assert all(one["end_ms"] == other["start_ms"] for one, other in itertools.pairwise(gaps))
        assert gaps[-1]["end_ms"] == timeline.ms(timeline.finalized)
        assert {gap["reason"] for gap in gaps} == {"retention"}
        given_up_s = on.counted("asr_gap_seconds_total", reason="retention")
        assert given_up_s == pytest.approx(timeline.finalized / RATE)
        assert not sizes[-1].grew(sizes[1])
        note(f"4 h, {what}", sizes[1], sizes[-1], given_up_s=round(given_up_s), connections=provider.made)


async def test_all_calls_together_hold_no_more_than_the_total(autojump_clock: MockClock) -> None:
    """The largest give up their oldest, and each call's gaps leave no hole."""
    limit, count = 1_000_000, 20
    limits = settings(max_unfinalized_s=60, max_unfinalized_total_mb=1)
    async with run_worker(limits, provider=LeanProvider(status=503)) as on:
        calls = [LeanCall(on.store, f"call-{number}") for number in range(count)]
        most, sizes = 0, []
        for second in range(500):
            for call in calls:
                call.speak()
            await trio.sleep(1)
            most = max(most, sum(slot.call.timeline.held_bytes for slot in on.calls.interactions.values()))
            if second % 100 == 99:
                await consume(on)
                sizes.append(memory_use())
        inflow = count * 2 * RATE  # between two looks
        assert limit / 2 < most <= limit + 2 * inflow
        assert not sizes[-1].grew(sizes[2])  # the memory for repeats is full by then
        events = read(on.store, "asr_events")
        assert len(events) <= EVENTS
        for call in calls:
            gaps = [e for e in events if e["event"] == "gap" and e["interaction_id"] == call.id]
            assert all(one["end_ms"] == other["start_ms"] for one, other in itertools.pairwise(gaps))
            assert gaps
            assert {gap["reason"] for gap in gaps} == {"memory"}
        note("20 calls over a total of 1 MB", sizes[2], sizes[-1], most_bytes_held=most)


async def test_eight_hours_of_reconnects(autojump_clock: MockClock, patient: None) -> None:
    """Admission are numbered on, nothing is lost, nothing grows."""
    provider = LeanProvider(abort_s=12.0)
    async with run_worker(settings(2500), provider=provider) as on:
        call = LeanCall(on.store, "call", frame_s=2.5)
        sizes, end_ms = [], 0
        for _ in range(24):
            await call.talk(1200)
            for final in await consume(on):
                if final["type"] == "final":
                    assert abs(final["start_ms"] - end_ms) <= 1
                    end_ms = final["end_ms"]
            sizes.append(memory_use())
        assert on.calls.interactions["call"].call.connection == provider.made > 2500
        assert end_ms > call.samples * 1000 / RATE - 20_000
        assert not sizes[-1].grew(sizes[5])
        note("8 h of aborted connections", sizes[5], sizes[-1], connections=provider.made)


async def test_tens_of_thousands_of_junk_entries(autojump_clock: MockClock) -> None:
    """They go to a stream that has a bound; the call beside them does not notice."""
    huge = b"x" * (3 * 1024 * 1024)
    junk = (
        b"",
        b"no json",
        b"[1, 2]",
        b"\xff\xfe" * 5000,
        b"[" * 100_000,
        huge,
        b'{"interaction_id": 7, "audio": ""}',
        b'{"interaction_id": "{x}", "audio": ""}',
        b'{"interaction_id": "' + b"x" * 5000 + b'", "audio": ""}',
        b'{"interaction_id": "x", "audio": "===="}',
        b'{"interaction_id": "x", "audio": "", "sample_rate": 1}',
        b'{"interaction_id": "x", "audio": "", "encoding": "opus"}',
        None,
    )
    async with run_worker(settings(500), provider=LeanProvider()) as on:
        call = LeanCall(on.store, "call", frame_s=0.5)
        sizes: list[MemoryUse] = []
        ends = [0]
        for _ in range(40):
            for index in range(500):
                on.store.add(AUDIO, junk[index % len(junk)])
                on.store.add(ENDS, junk[index % len(junk)])
            await call.talk(10)
            ends += [final["end_ms"] for final in await consume(on)]
            sizes.append(memory_use())
        assert {b - a for a, b in itertools.pairwise(ends)} == {1000}
        assert ends[-1] >= 399_000
        letters = on.store.streams[DEAD_LETTERS]
        assert len(letters) == 10_000
        assert max(len(fields[1]) for _, fields in letters) < 64 * 1024
        assert on.reader_outbox.dropped == 0
        assert list(on.calls.interactions) == ["call"]
        assert not sizes[-1].grew(sizes[30])
        note("40,000 junk entries", sizes[30], sizes[-1], dead_letters=len(letters))


async def test_a_thousand_ended_calls_without_a_connection(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody will ever transcribe is given up after the patience that audio has."""
    monkeypatch.setattr(past, "MAX_PAST", 100)
    monkeypatch.setattr(past, "MAX_TAUGHT", 100)
    limits = settings(max_unfinalized_s=30)
    async with run_worker(limits, provider=LeanProvider(status=503)) as on:
        sizes, full = [], []
        for wave in range(4):
            for number in range(1000):
                call = LeanCall(on.store, f"call-{wave}-{number}", frame_s=0.5)
                call.speak()
                call.end()
            await trio.sleep(25)
            assert len(on.calls.interactions) == 1000
            assert keys(on) == 2000
            full.append(memory_use())
            await trio.sleep(30)
            await consume(on)
            assert not on.calls.interactions
            assert keys(on) == 0
            sizes.append(memory_use())
        assert on.counted("asr_gap_seconds_total", reason="retention") == pytest.approx(2000)
        assert read(on.store, "asr_events")[-1]["event"] == "ended"
        assert not sizes[-1].grew(sizes[0])
        note("4 times 1000 ended calls, no connection", sizes[0], sizes[-1], blocks_between=full[-1].blocks)


async def test_thousands_of_ends_of_unknown_calls(autojump_clock: MockClock) -> None:
    """They are forgotten as soon as the audio before them was read."""
    async with run_worker(settings(), provider=LeanProvider()) as on:
        sizes = []
        for batch in range(8):
            for number in range(2500):
                LeanCall(on.store, f"nobody-{batch}-{number}", frame_s=0.02).end()
            await trio.sleep(5)
            await consume(on)
            sizes.append(memory_use())
        assert remembered(on) == 0
        assert not on.calls.interactions
        assert keys(on) == 0
        assert not sizes[-1].grew(sizes[1])
        note("20,000 ends of unknown calls", sizes[1], sizes[-1], keys=keys(on))


async def test_calls_that_are_stuck_do_not_hold_up_those_that_are_not(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold more than half of the total; a full batch then made reading wait for them, for ever."""
    monkeypatch.setattr(memory, "READ_COUNT", 50)
    limits = settings(500, max_unfinalized_s=30, max_unfinalized_total_mb=1)
    provider = LeanProvider(status=503, only=16_000)
    async with run_worker(limits, provider=provider) as on:
        stuck = [LeanCall(on.store, f"stuck-{number}", rate=16_000) for number in range(2)]
        for call in stuck:
            await call.talk(15)
        await trio.sleep(30)
        call = LeanCall(on.store, "call", frame_s=0.1)
        call.speak(100)
        await trio.sleep(15)
        call.end()
        await trio.sleep(5)
        assert "call" not in on.calls.interactions


async def test_what_redis_refuses_for_hours(autojump_clock: MockClock, patient: None) -> None:
    """Transcripts that cannot be published become one gap after a while, not thousands."""
    async with run_worker(settings(max_unfinalized_s=30), provider=LeanProvider()) as on:
        await trio.sleep(1)
        call = LeanCall(on.store, "call", frame_s=5.0)
        await call.talk(60)
        on.bus.refused = {"call"}
        for _ in range(4):
            await call.talk(1800)
            await consume(on)
        waiting = on.calls.interactions["call"].call.outbox.waiting
        assert waiting < 100
        on.bus.refused = set()
        await trio.sleep(30)
        gaps = [event for event in read(on.store, "asr_events") if event["event"] == "gap"]
        assert [gap["reason"] for gap in gaps] == ["unpublished"]
        assert gaps[0]["end_ms"] - gaps[0]["start_ms"] > 7_000_000
        first = min(final["start_ms"] for final in await consume(on))
        assert first == gaps[0]["end_ms"]
        figures.append(f"2 h of refused commits: {waiting} wait in the end")

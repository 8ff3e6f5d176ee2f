"""What producers do: late frames, numbers that say nothing, file headers, streams cut when all was read."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable

import msgspec
import pytest
import trio
from tests.worker.test_dispatcher import complete
from tests.worker_harness import AUDIO, RATE, Producer, WorkerHarness, run_worker
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.config import Config, InteractionConfig
from trio_asr.simulator.stamps import stamp

FRAME = RATE // 50
QUIET = bytes(2 * FRAME)


def put(store: MemoryStore, pcm: bytes, seq: int | None, at: float | None, **more: object) -> None:
    """Add a frame of the call "call-1" as any producer may."""
    document = {"interaction_id": "call-1", "sample_rate": RATE, "audio": base64.b64encode(pcm).decode()}
    said = {"seq": seq, "timestamp_ms": at} | more
    store.add(AUDIO, msgspec.json.encode(document | {k: v for k, v in said.items() if v is not None}))


def received(on: WorkerHarness) -> int:
    """How many samples the call "call-1" has."""
    return on.calls.interactions["call-1"].call.timeline.received


async def shuffled(call: Producer, order: Iterable[int], frame_s: float = 0.02) -> None:
    """Add frames 0, 1, ... in this order, one after the other in real time."""
    order = list(order)
    envelopes = [call.envelope(frame_s) for _ in range(max(order) + 1)]
    for n in order:
        call._store.add(AUDIO, envelopes[n])
        await trio.sleep(frame_s)


async def test_frames_that_come_after_newer_ones(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        call = on.producer()
        await shuffled(call, [*range(9), 20, *range(9, 20), *range(21, 60), *range(70, 90), *range(60, 70)])
        await shuffled(call, [1, 0, 3, 2, 5, 4])
        await on.finish(call)
        assert call.samples == 96 * FRAME
        assert complete(on, call)
        assert on.counted("asr_holes_filled_seconds_total") == on.counted("asr_audio_late_seconds_total") == 0


@pytest.mark.parametrize("wait_ms", [0, 600, 1000])
async def test_what_does_not_come_is_waited_for_by_timer(wait_ms: int, autojump_clock: MockClock) -> None:
    config = Config(interaction=InteractionConfig(reorder_ms=wait_ms))
    async with run_worker(config) as on:
        for n in (0, 1, 4):
            put(on.store, stamp(1, n * FRAME, FRAME), n, n * 20)
        await trio.sleep(0.01)
        if wait_ms:
            assert received(on) == 2 * FRAME
            await trio.sleep(wait_ms / 1000 - 0.0101)
            assert received(on) == 2 * FRAME
            await trio.sleep(0.0002)
        assert received(on) == 5 * FRAME
        assert on.counted("asr_holes_filled_seconds_total") == pytest.approx(0.04)


async def test_a_late_frame_that_is_held_back_for_a_chunk_has_come_in_time(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        call = on.producer()
        await call.talk(2, 0.02)  # a connection is up, and frames wait for what makes a chunk
        order = [0, 1, 2, *range(4, 33), 3, *range(33, 80)]
        await shuffled(call, order)
        await on.finish(call)
        assert complete(on, call)


async def test_the_end_of_a_call_waits_for_nothing(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        call = on.producer()
        call.speak(0.5)
        call._seq += 1
        lost = 0.5
        call.samples += round(lost * RATE)
        call.speak(0.5)
        await on.finish(call)
        finals = on.finals(call)
        assert finals[-1]["end_ms"] == 1500
        assert trio.current_time() < 3


async def test_a_reload_changes_how_long_is_waited(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        for n in (0, 2):
            put(on.store, stamp(1, n * FRAME, FRAME), n, n * 20)
        await trio.sleep(0.01)
        on.calls.interactions["call-1"].reload(Config(interaction=InteractionConfig(reorder_ms=0)))
        put(on.store, stamp(1, 3 * FRAME, FRAME), 3, 60)
        await trio.sleep(0.6)
        assert received(on) == 4 * FRAME


# -- numbers that say nothing --------------------------------------------------------------------------------


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("cycle", [1, 100])
async def test_silence_under_numbers_that_come_round(
    cycle: int, timed: bool, autojump_clock: MockClock
) -> None:
    async with run_worker() as on:
        for n in range(200):
            pcm = QUIET if 50 <= n < 150 else stamp(1, n * FRAME, FRAME)
            put(on.store, pcm, n % cycle, 1.7e12 + n * 20 + 0.25 if timed else None)
            await trio.sleep(0.02)
        await trio.sleep(0.6)
        assert received(on) == 200 * FRAME


async def test_two_that_take_in_one_call_side_by_side(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        for n in range(200):
            pcm = QUIET if 50 <= n < 150 else stamp(1, n * FRAME, FRAME)
            put(on.store, pcm, n, 1.7e12 + n * 20)
            put(on.store, pcm, n, 1.7e12 + n * 20 + 7)
            await trio.sleep(0.02)
        await trio.sleep(0.6)
        assert received(on) == 200 * FRAME
        assert on.counted("asr_duplicates_dropped_total") == 200


@pytest.mark.parametrize("text", [False, True])
async def test_a_hole_between_times_with_a_fraction(text: bool, autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        for n in [*range(10), *range(20, 30)]:
            at = 1_700_000_000_000.4 + n * 20.1
            put(on.store, stamp(1, n * FRAME, FRAME), n, None, timestamp_ms=str(at) if text else at)
        await trio.sleep(1)
        assert received(on) == 30 * FRAME


async def test_more_than_two_channels_go_to_the_dead_letters(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        put(on.store, QUIET, 1, 0, channels=3)
        await trio.sleep(1)
        (letter,) = on.dead_letters()
        assert letter["kind"] == "channels"
        assert on.counted("asr_dead_letters_total", reason="channels") == 1


# -- file headers --------------------------------------------------------------------------------------------


def header(*more: bytes) -> bytes:
    extra = b"".join(more)
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + fmt + extra + b"data" + struct.pack("<I", 0)


@pytest.mark.parametrize("size", [11, 13, 44, 320, 321, 2000])
@pytest.mark.parametrize("more", [(), (b"LIST" + struct.pack("<I", 25) + bytes(26),)])
async def test_the_header_of_a_file_is_no_audio(
    size: int, more: tuple[bytes, ...], autojump_clock: MockClock
) -> None:
    """Also over a restart, wherever it happens; and where one stands in mid-call it is what was sent."""
    store, pcm = MemoryStore(), header(*more) + stamp(1, 0, RATE)
    call = Producer(store, "call-1", 1)
    async with run_worker(store=store) as on:
        for at in range(0, len(pcm), size):
            call.publish(pcm[at : at + size])
        call.samples = RATE
        await trio.sleep(0.35)
        assert received(on) == RATE
    async with run_worker(store=store) as on:
        await trio.sleep(40)
        await on.finish(call)
        assert complete(on, call)


# -- streams that are cut when all was read -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "dropped"])
@pytest.mark.parametrize("restart", [False, True])
async def test_no_alarm_for_what_was_read(how: str, restart: bool, autojump_clock: MockClock) -> None:
    store = MemoryStore()
    call = Producer(store, "call-1", 1)
    async with run_worker(store=store) as on:
        await call.talk(3)
        await trio.sleep(70)
        assert on.calls.interactions == {}
        if not restart:
            if how == "cut":
                store.streams[AUDIO].clear()
            else:
                del store.streams[AUDIO]
            await trio.sleep(5)
            await call.talk(1)
            await trio.sleep(70)
            assert on.counted("asr_input_trimmed_total") == 0
            assert complete(on, call)
    if restart:
        store.streams[AUDIO].clear()
        async with run_worker(store=store) as on:
            await trio.sleep(5)
            await call.talk(1)
            await trio.sleep(70)
            assert on.counted("asr_input_trimmed_total") == 0
            assert complete(on, call)


@pytest.mark.parametrize("lost", [0, 1])
async def test_what_was_read_and_cut_before_a_restart_is_no_alarm(
    autojump_clock: MockClock, lost: int
) -> None:
    """The stream is not even empty any more when the worker is back; what came and went meanwhile is lost."""
    store = MemoryStore()
    async with run_worker(store=store) as on:
        call = on.producer()
        await call.talk(1)
        await on.finish(call)
        await trio.sleep(2)
    for _ in range(lost):
        store.add(AUDIO, b"x")
    store.streams[AUDIO].clear()
    store.add(AUDIO, b"y")
    async with run_worker(store=store) as on:
        await trio.sleep(2)
        assert on.counted("asr_input_trimmed_total") == lost


async def test_an_alarm_for_what_was_added_and_cut_between_two_reads(autojump_clock: MockClock) -> None:
    async with run_worker() as on:
        call = on.producer()
        await call.talk(1)
        await trio.sleep(5)
        call.speak(0.1)
        call.speak(0.1)
        on.store.streams[AUDIO].clear()
        await trio.sleep(5)
        assert on.counted("asr_input_trimmed_total") == 1
        call.speak(0.1)
        await trio.sleep(5)
        assert on.counted("asr_input_trimmed_total") == 1

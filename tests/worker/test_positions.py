"""Streams that begin again below what was read of them: emptied, or without their end after a failover."""

from __future__ import annotations

import pytest
import trio
from tests.worker.test_catchup import burst
from tests.worker.test_dispatcher import complete
from tests.worker_harness import AUDIO, ENDS, Producer, run_worker, settings
from trio.testing import MockClock

from trio_asr.bus import memory
from trio_asr.bus.memory import EPOCH_MS, MemoryStore
from trio_asr.wire import ids


def lose(store: MemoryStore, stream: str, count: int) -> None:
    """Forget the last entries of a stream."""
    del store.streams[stream][-count:]


def clock_back(monkeypatch: pytest.MonkeyPatch, store: MemoryStore, seconds: float) -> None:
    """Let the server's clock be an earlier one, of which no id is known any more."""
    monkeypatch.setattr(memory, "EPOCH_MS", EPOCH_MS - round(seconds * 1000))
    last = max((kept[-1][0].decode() for kept in store.streams.values() if kept), key=ids.key, default="0-0")
    store.last_id = (ids.milliseconds(last), int(last.partition("-")[2]))


@pytest.mark.parametrize(("lost", "back_s"), [(7, 3.0), (8, 3.0), (20, 3.0), (41, 3.0), (60, 2.0), (61, 1.5)])
async def test_a_failover_that_lost_the_end_of_the_audio(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, lost: int, back_s: float
) -> None:
    """New entries lie below our position: they are read; what was read before is not told twice."""
    async with run_worker() as on:
        call, other = on.producer(1), on.producer(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 5)
            nursery.start_soon(other.talk, 5)
        lose(on.store, AUDIO, lost)
        clock_back(monkeypatch, on.store, back_s)
        position = on.dispatcher._at.audio
        assert ids.key(call.speak(0.1)) < ids.key(position)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 5)
            nursery.start_soon(other.talk, 5)
        assert on.counted("asr_streams_begun_again_total") == 1
        await on.finish(call, other)
        assert complete(on, call)
        assert complete(on, other)
        assert on.happened(call) == on.happened(other) == ["started", "ended"]


async def test_a_failover_that_lost_the_end_of_the_ends(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_worker() as on:
        call, other = on.producer(1), on.producer(2)
        other.speak(0.5)
        await on.finish(other)
        await call.talk(2)
        lose(on.store, ENDS, 1)
        monkeypatch.setattr(memory, "EPOCH_MS", EPOCH_MS - 60_000)
        on.store.last_id = (0, 0)
        end = call.end()
        assert ids.key(end) < ids.key(on.dispatcher._at.ends)
        await trio.sleep(1)
        await on.over(call)
        assert complete(on, call)
        assert on.events(call)[-1]["reason"] == "call_end"


async def test_bad_ends_of_a_stream_that_has_begun_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are junk of their own, though their ids are below that of the junk before."""
    async with run_worker() as on:
        call = on.producer(1)
        await call.talk(1)
        on.store.add(ENDS, b"{")
        await trio.sleep(2)
        on.store.streams[ENDS].clear()
        monkeypatch.setattr(memory, "EPOCH_MS", EPOCH_MS - 60_000)
        on.store.last_id = (0, 0)
        on.store.add(ENDS, b"[")
        await trio.sleep(3)
        assert [letter["data"] for letter in on.dead_letters()] == ["{", "["]


async def test_a_server_that_was_emptied_and_has_an_earlier_clock(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All frames after it are read, junk is told, and an end ends its call."""
    async with run_worker() as on:
        call, gone = on.producer(1), on.producer(2)
        on.store.add(AUDIO, b"{")
        await call.talk(3)
        burst(gone, 0.5)
        await trio.sleep(1)
        on.store.streams[AUDIO].clear()
        on.store.streams.pop(ENDS, None)
        monkeypatch.setattr(memory, "EPOCH_MS", EPOCH_MS - 3_600_000)
        on.store.last_id = (0, 0)
        on.store.add(AUDIO, b"[")
        await call.talk(3)
        call.end()
        await trio.sleep(2)
        await on.over(call)
        assert complete(on, call)
        assert [letter["data"] for letter in on.dead_letters()] == ["{", "["]
        late = on.producer(3)
        late.speak(0.5)
        late.end()
        await trio.sleep(1)
        await on.over(late)
        assert complete(on, late)


@pytest.mark.parametrize("kill", [True, False])
async def test_an_earlier_clock_and_a_kill(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kill: bool
) -> None:
    """The states are of the time before: a start goes back, too, and the call goes on."""
    store = MemoryStore()
    call = Producer(store, "call-1", 1)
    async with run_worker(store=store) as on:
        await call.talk(3)
        await trio.sleep(3)
        assert on.checkpoint(call).place.finalized >= 16_000
    store.streams[AUDIO].clear()
    store.streams.pop(ENDS, None)
    monkeypatch.setattr(memory, "EPOCH_MS", EPOCH_MS - 3_600_000)
    store.last_id = (0, 0)
    async with run_worker(store=store) as on:
        await call.talk(3)
        if not kill:
            call.end()
            await trio.sleep(2)
            await on.over(call)
    async with run_worker(store=store) as on:
        if kill:
            call.end()
            await trio.sleep(2)
        await on.over(call)
        finals = on.finals(call)
        words = " ".join(final["text"] for final in finals).split()
        assert words[-1].endswith(f"-{call.samples}")
        assert len(words) == len(set(words))
        assert on.happened(call)[-1] == "ended"


async def test_positions_of_streams_that_go_on_stay(autojump_clock: MockClock) -> None:
    """Silence is no new beginning, nor is a stream of which all was trimmed."""
    async with run_worker(settings()) as on:
        call = on.producer(1)
        await call.talk(2)
        await trio.sleep(20)
        on.store.streams[AUDIO].clear()
        await trio.sleep(5)
        assert on.counted("asr_streams_begun_again_total") == 0
        await call.talk(2)
        await on.finish(call)
        assert complete(on, call)

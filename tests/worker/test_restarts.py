"""Calls that fail and begin anew: how often, from where, and when they give audio up."""

from __future__ import annotations

import itertools

import pytest
import trio
from tests.worker.test_catchup import until
from tests.worker.test_dispatcher import complete
from tests.worker_harness import EchoLink, EchoProvider, run_worker
from trio.testing import MockClock

from trio_asr.core.call import Call
from trio_asr.wire.records import Checkpoint, Stored, encode
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.worker import restarts
from trio_asr.worker.restarts import _Strikes, needed_after, replayed_from


def test_some_before_it_is_read_for_its_repeats() -> None:
    assert replayed_from("10000-7") == f"4999-{2**64 - 1}"
    assert replayed_from("3-0") == "0-0"


def test_what_a_call_in_progress_needs() -> None:
    place = ResumePoint(entry="10000-7")
    assert needed_after(Stored()) == ""
    assert needed_after(Stored(1, encode(Checkpoint(place)))) == f"4999-{2**64 - 1}"
    assert needed_after(Stored(1, encode(Checkpoint(place, ended="10000-7")))) == ""
    assert needed_after(Stored(1, encode(Checkpoint(place, ended="10000-6")))) != "", "it went on after that"


def test_strikes_count_on_the_same_audio() -> None:
    strikes = _Strikes()
    assert not any(strikes.note(5) for _ in range(restarts.STRIKES - 1))
    assert not strikes.note(6)
    assert not any(strikes.note(6) for _ in range(restarts.STRIKES - 2))
    assert strikes.note(6)


async def test_audio_that_a_call_always_fails_on_is_given_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one gap, exactly that far; what comes later is transcribed, and no other call notices."""
    monkeypatch.setattr(restarts, "STRIKES", 4)
    provider = EchoProvider()

    def inspect(link: EchoLink, pcm: bytes) -> None:
        runs = link._ears[0]._reader.runs
        if (
            runs
            and runs[0].call == 1
            and any(run.first < 24_000 for run in runs)
            and link.audio_bytes > 20_000
        ):
            raise RuntimeError("so the test says")

    provider.inspect = inspect
    async with run_worker(provider=provider) as on:
        call, other = on.producer(1), on.producer(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 60)
            nursery.start_soon(other.talk, 60)
        call.end()
        other.end()
        await trio.sleep(1)
        await on.over(call, other)
        assert complete(on, other)
        finals = on.finals(call)
        gaps = [event for event in on.events(call) if event["event"] == "gap"]
        covered = sorted([(one["start_ms"], one["end_ms"]) for one in (*finals, *gaps)])
        assert covered[0][0] == 0
        assert covered[-1][1] == 60_000
        assert all(one[1] == two[0] for one, two in itertools.pairwise(covered))
        assert {gap["reason"] for gap in gaps} <= {"internal"}
        assert on.happened(call)[-1] == "ended"


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_restarts_at_any_moment_lose_and_double_nothing(autojump_clock: MockClock, times: int) -> None:
    """Also one that comes while another is waited for, while it closes, and after its end."""
    for pause in (0.0, 0.03, 0.4, 1.0, 2.7):
        async with run_worker() as on:
            call, other = on.producer(1), on.producer(2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call.talk, 6)
                nursery.start_soon(other.talk, 6)
                for _ in range(times):
                    await trio.sleep(pause)
                    on.calls.restart(call.id, "so the test says")
            call.end()
            other.end()
            for _ in range(times):
                await trio.sleep(pause)
                on.calls.restart(call.id, "so the test says")
            await trio.sleep(1)
            await on.over(call, other)
            await trio.sleep(5)
            assert complete(on, call), (pause, on.finals(call))
            assert complete(on, other)
            assert on.happened(call) == ["started", "ended"]


async def test_a_state_that_went_back_is_gone_on_from_however_old_its_audio_is(
    autojump_clock: MockClock,
) -> None:
    """As after a failover that lost the last commits: their finals are transcribed again from the audio."""
    async with run_worker() as on:
        call = on.producer(1)
        await call.talk(3)
        before, said = on.store.states[call.id], on.finals(call)
        await trio.sleep(20)
        await call.talk(3)  # all before is final, and older than what a restart reads again for its repeats
        on.store.states[call.id] = before
        del on.store.streams[f"transcript.{call.id}"][len(said) :]
        await call.talk(3)
        call.end()
        await trio.sleep(1)
        await on.over(call)
        assert complete(on, call)


async def test_a_bug_in_how_calls_end_costs_that_call(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is met again with its next frame, goes on from its checkpoint, and loses nothing."""
    past, broken = Call.past, {"call-1"}

    def past_unless_broken(self: Call) -> object:
        if self.id in broken:
            broken.clear()
            raise RuntimeError("so the test says")
        return past(self)

    monkeypatch.setattr(Call, "past", past_unless_broken)
    async with run_worker() as on:
        call, other = on.producer(1), on.producer(2)
        await call.talk(3)
        call.end()
        await trio.sleep(3)
        assert call.id not in on.calls.interactions
        assert on.counted("asr_internal_errors_total", place="call") == 1
        await other.talk(2)
        await call.talk(3)
        call.end()
        other.end()
        await trio.sleep(1)
        await on.over(call, other)
        assert complete(on, call)
        assert complete(on, other)


async def test_a_bug_in_how_a_call_begins_anew_loses_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames go on to come; what lies before them is read again."""
    reload, broken = restarts.Restarts.restart_point, {"call-1"}

    async def reload_unless_broken(self: restarts.Restarts, slot: object) -> object:
        if broken:
            broken.clear()
            raise RuntimeError("so the test says")
        return await reload(self, slot)  # type: ignore[arg-type]

    monkeypatch.setattr(restarts.Restarts, "restart_point", reload_unless_broken)
    async with run_worker() as on:
        call = on.producer(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.talk, 8)
            await trio.sleep(3.3)
            on.calls.restart(call.id, "so the test says")
        call.end()
        await until(lambda: complete(on, call), 60)
        await trio.sleep(5)
        assert complete(on, call)
        assert on.calls.interactions == {}

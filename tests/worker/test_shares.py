"""How much audio each call may hold. On the autojump clock."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from tests.worker.test_catchup import burst
from tests.worker.test_dispatcher import complete
from tests.worker_harness import RATE, EchoProvider, Producer, run_worker, settings
from trio.testing import MockClock

from trio_asr.deepgram.provider import ConnectFailed, Link
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.worker.shares import STUCK_S


async def test_a_share_is_half_of_the_bound(autojump_clock: MockClock) -> None:
    async with run_worker(settings(max_unfinalized_s=30, max_unfinalized_total_mb=1)) as on:
        shares = on.calls.shares
        assert shares.total == 1_000_000
        assert shares.share(audio_format(RATE)) == 15 * 2 * RATE
        shares.totals.taken = 500_001  # more than half of all
        assert shares.share(audio_format(RATE)) == 15 * 2 * RATE
        for i in range(1, 11):
            on.producer(i).speak(0.5)
        await trio.sleep(0.01)
        shares.totals.taken = 500_001
        assert shares.share(audio_format(RATE)) == 50_000
        assert shares.share(audio_format(2 * RATE)) == 50_000
        shares.totals.taken = 499_999
        assert shares.share(audio_format(2 * RATE)) == 15 * 4 * RATE


async def test_who_gets_nowhere_takes_what_comes(autojump_clock: MockClock) -> None:
    provider = EchoProvider()
    async with run_worker(provider=provider) as on:
        call = on.producer(1)
        await call.talk(3)
        provider.mute = True
        call.speak(0.5)
        now = trio.current_time()
        slot = on.calls.interactions[call.id]
        limit = 60 * 2 * RATE
        assert on.calls.shares.limit(slot, now + STUCK_S - 1) == limit
        assert on.calls.shares.limit(slot, slot._cursor_at + STUCK_S) == math.inf
        assert not on.calls.shares.is_stuck(slot, slot._cursor_at + STUCK_S - 0.01)


async def test_who_wants_catchup(autojump_clock: MockClock) -> None:
    """Who is behind, holds less than half of its share and has room for what comes next; never beyond all."""
    async with run_worker(settings(max_unfinalized_s=30)) as on:
        call = on.producer(1)
        burst(call, 16)
        await trio.sleep(0.05)
        slot, shares, now = on.calls.interactions[call.id], on.calls.shares, trio.current_time()
        assert slot.behind
        assert not shares.wants_catchup(slot, now)
        limit = shares.limit(slot, now)
        size = slot.size
        shares._services.config = settings(max_unfinalized_s=5 * size / RATE)  # half of it is more than that
        assert shares.wants_catchup(slot, now)
        slot.next_size = 10**9
        assert not shares.wants_catchup(slot, now)
        slot.next_size = 0
        shares.totals.taken = shares.total
        assert not shares.wants_catchup(slot, now)
        shares.totals.taken, slot.behind = 0, False
        assert not shares.wants_catchup(slot, now)
        assert limit == 15 * 2 * RATE


async def test_a_frame_larger_than_a_share_is_taken_by_a_call_that_holds_nothing(
    autojump_clock: MockClock,
) -> None:
    """Else nobody would ever take it."""
    async with run_worker(settings(max_unfinalized_s=10)) as on:
        call, other = on.producer(1), on.producer(2)
        other.speak(0.5)
        for _ in range(4):
            call.speak(7.0)
        call.speak(1.0)
        call.end()
        other.end()
        await trio.sleep(1)
        await on.over(call, other)
        assert complete(on, call)
        assert complete(on, other)
        assert on.happened(call) == ["started", "ended"]


class NarrowbandProvider(EchoProvider):
    """Takes no other calls."""

    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        if fmt.rate != RATE:
            await trio.lowlevel.checkpoint()
            raise ConnectFailed("so the test says")
        async with super().connect(fmt) as link:
            yield link


async def test_what_stuck_calls_hold_too_much_others_do_not_give_up(autojump_clock: MockClock) -> None:
    """At the bound of all those that get nowhere give up their oldest, not a larger one that catches up."""
    provider = NarrowbandProvider()
    async with run_worker(
        settings(max_unfinalized_total_mb=1, max_unfinalized_s=60), provider=provider
    ) as on:
        well, stuck = on.producer(1), [on.producer(i) for i in range(2, 12)]

        async def talk(seconds: int, call: Producer) -> None:
            for _ in range(seconds):
                call.speak(1.0, 2 * RATE)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            for call in stuck:
                nursery.start_soon(talk, 60, call)
            await trio.sleep(25)
            burst(well, 29)
        assert on.counted("asr_gap_seconds_total", reason="memory") > 100
        well.end()
        await trio.sleep(1)
        await on.over(well)
        assert complete(on, well)
        assert "gap" not in on.happened(well)

"""One connection of two channels, one of them without results: when it is asked for, and what follows."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

import trio
from tests.interaction.test_connection import services
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.channel_results import Publishing
from trio_asr.core.outbox import Outbox
from trio_asr.core.results import ResultHandler
from trio_asr.core.timeline import Chunk
from trio_asr.core.verdict import ChannelEnd, End, Judge
from trio_asr.deepgram.provider import LinkClosed
from trio_asr.interaction.connection import LiveConnection
from trio_asr.interaction.ending import Ending, Why
from trio_asr.interaction.feed import Flow
from trio_asr.interaction.report import Report
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.messages import Alternative, Channel, Message, Results, Word
from trio_asr.wire.records import Outcome, Stored
from trio_asr.wire.transcripts import Topics

RATE = 4000
TWO = audio_format(RATE, channels=2)
MUTE = "no final of channel 1 for 10000 ms after Finalize"
BOTH_MUTE = "no final for 10000 ms after Finalize"


class ScriptedLink:
    """Takes everything, and says what a test says."""

    request_id = "scripted"

    def __init__(self) -> None:
        self.texts: list[tuple[float, str]] = []
        self.say, self._said = trio.open_memory_channel[Message](100)

    def send_audio(self, pcm: bytes) -> Awaitable[None] | None:
        return None

    async def send_control(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.texts.append((trio.current_time(), text))

    async def receive(self) -> Message:
        try:
            return await self._said.receive()
        except trio.EndOfChannel:
            raise LinkClosed(1006, "") from None


class OneConnection:
    """One connection of the call, which a test feeds and answers by hand."""

    def __init__(self, call: Call, shared: Services, judge: Judge) -> None:
        call.connected("scripted")
        self.link = ScriptedLink()
        self.ending: Ending | None = None
        self.ended_at = 0.0
        self.handler = ResultHandler(call.timeline, call.outbox, Publishing(call.connection, "scripted"))
        self._begin, self._timeline = call.timeline.finalized, call.timeline
        self._live = LiveConnection(
            self.link, self.handler, shared, report=Report(call, shared, logs.get("test")), flow=Flow(),
            judge=judge,
        )  # fmt: skip
        self._feed, self._chunks = trio.open_memory_channel[Chunk](1)

    async def feed(self, seconds: float) -> None:
        """Send so much audio at once."""
        chunk = self._timeline.take(round(seconds * RATE))
        assert chunk is not None
        await self._feed.send(chunk)
        await wait_all_tasks_blocked()

    async def final(self, channel: int, start: float, end: float) -> None:
        """Answer with a final of a stretch of the call's audio, in seconds."""
        self.say_final(channel, start, end)
        await wait_all_tasks_blocked()

    def say_final(self, channel: int, start: float, end: float, *, is_final: bool = True) -> None:
        begin = start - self._begin / RATE
        word = Word(f"w{channel}", begin, begin + 0.1, 0.9)
        best = Alternative(word.word, 0.9, [word])
        self.link.say.send_nowait(
            Results(begin, end - start, Channel([best]), is_final, channel_index=[channel, 2])
        )

    @property
    def over(self) -> bool:
        return self.ending is not None

    @property
    def finalizes(self) -> list[tuple[float, int]]:
        """When a final was asked for, and of which channel."""
        asked = [(round(at, 3), json.loads(text)) for at, text in self.link.texts]
        return [(at, text["channel"]) for at, text in asked if text["type"] == "Finalize"]

    async def run(self) -> None:
        self.ending = await self._live.run(self._chunks)
        self.ended_at = trio.current_time()


class Harness:
    """A call of two channels with much audio, and its connections."""

    def __init__(self, nursery: trio.Nursery, shared: Services) -> None:
        self._nursery, self._services = nursery, shared
        self.judge = Judge()
        outbox = Outbox("call", Topics("transcript.call", "asr_events", 100), Stored())
        self.call = Call(outbox, Bounds(1000, 120))
        outbox.roles = ("customer", "agent")
        self.call.timeline.append("1-0", b"\1" * (TWO.bytes_per_s * 200), TWO)

    @property
    def cursors_s(self) -> list[float]:
        return [cursor / RATE for cursor in self.call.timeline.cursors]

    async def connect(self) -> OneConnection:
        line = OneConnection(self.call, self._services, self.judge)
        self._nursery.start_soon(line.run)
        await wait_all_tasks_blocked()
        return line

    def ended(self, line: OneConnection) -> None:
        """Judge an end that is not in good order, as the sender does."""
        ends = [
            ChannelEnd(channel.finals > 0, self.call.timeline.seconds(channel.cursor, line.handler.clock.end))
            for channel in line.handler.channels
        ]
        end = End(1006, asked=False, done=False, channels=ends, lived_s=30.0)
        assert self.judge.ended(end, trio.current_time(), 120.0).give_up == (None, None)

    def gaps(self) -> list[dict[str, Any]]:
        """Commit what waits; return its gaps."""
        written: list[dict[str, Any]] = []
        while (commit := self.call.outbox.next_commit(1)) is not None:
            written += [json.loads(write.data) for write in commit.writes]
            self.call.outbox.settle(Outcome.APPLIED)
        names = ("channel", "role", "reason", "start_ms", "end_ms", "samples")
        return [{name: one[name] for name in names} for one in written if one.get("event") == "gap"]


def gap(start_s: float, end_s: float, channel: int = 1) -> dict[str, Any]:
    times = {"start_ms": start_s * 1000, "end_ms": end_s * 1000, "samples": (end_s - start_s) * RATE}
    return {"channel": channel, "role": ("customer", "agent")[channel], "reason": "unanswered", **times}


async def passed(seconds: float) -> None:
    """Wait for a time, and for all that happens at the end of it."""
    await trio.sleep(seconds)
    await wait_all_tasks_blocked()


async def test_finalize_names_each_channel_that_is_open_and_none_else(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        on = Harness(nursery, await services())
        line = await on.connect()
        await line.feed(14.9)
        assert line.finalizes == []
        await line.final(0, 0, 12)
        await line.feed(0.1)  # 15 s are open on channel 1, and 3 s on channel 0
        assert line.finalizes == [(0, 1)]
        await line.feed(10)
        await line.final(1, 0, 15)
        assert on.cursors_s == [12, 15]
        await line.feed(2)  # 15 s are open on channel 0 now, and 12 s on channel 1
        assert line.finalizes == [(0, 1), (0, 0)]
        await line.final(0, 12, 27)
        await line.final(1, 15, 26.9)
        mock_clock.jump(1.999)
        await wait_all_tasks_blocked()
        assert line.finalizes[2:] == []
        mock_clock.jump(0.001)
        await wait_all_tasks_blocked()
        assert line.finalizes[2:] == [(2, 1)]  # the source paused; nothing is open on channel 0
        nursery.cancel_scope.cancel()


async def test_a_pause_asks_for_both_once(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        line = await Harness(nursery, await services()).connect()
        await line.feed(3)
        await passed(30)
        assert line.finalizes == [(2, 0), (2, 1)]
        nursery.cancel_scope.cancel()


async def test_a_mute_channel_is_replayed_once_and_then_given_up_and_the_connection_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        on = Harness(nursery, await services())
        line = await on.connect()
        await line.feed(15)
        assert line.finalizes == [(0, 0), (0, 1)]
        await line.final(0, 0, 15)
        await line.feed(2.5)
        await passed(9.999)
        assert not line.over
        await passed(0.001)
        assert line.ending == Ending(Why.STALLED, 1006, MUTE)
        assert line.ended_at == 10
        on.ended(line)
        assert on.cursors_s == [15, 0]

        line = await on.connect()
        await line.feed(15)  # of which channel 0 has had all
        assert line.finalizes == [(10, 1)]
        await line.feed(7)
        await line.final(0, 0, 20)  # it straddles what channel 0 had
        await passed(9.999)
        assert on.gaps() == []
        await passed(0.001)
        assert on.gaps() == [gap(0, 15)]
        assert (line.ending, on.cursors_s) == (None, [20, 15])

        await line.feed(8)  # again 15 s of channel 1, which are given up without another replay
        assert line.finalizes == [(10, 1), (12, 0), (20, 1), (20, 1)]  # for pauses, too
        await line.final(0, 20, 30)
        await passed(10)
        assert on.gaps() == [gap(15, 30)]
        await line.final(1, 30, 30)  # of no length
        await line.feed(5)
        await line.final(1, 30, 35)  # it has results again
        await line.final(0, 30, 35)
        await line.feed(15)
        assert line.finalizes[-2:] == [(30, 0), (30, 1)]
        await line.final(0, 35, 50)
        await passed(11)
        assert line.ending == Ending(Why.STALLED, 1006, MUTE)  # so that it is replayed once more
        assert round(line.ended_at, 3) == 40
        assert on.gaps() == []
        nursery.cancel_scope.cancel()


async def test_a_channel_that_had_finals_before_is_redialled_once_too(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        on = Harness(nursery, await services())
        line = await on.connect()
        for first in (True, False):
            if first:
                await line.feed(3)
                await line.final(1, 0, 3)
            else:
                line = await on.connect()
            await line.feed(18)
            await line.final(0, 0, 18)
            await passed(10)
            on.ended(line)
        assert not line.over
        assert on.gaps() == [gap(3, 21)]
        nursery.cancel_scope.cancel()


async def test_finals_that_were_not_asked_for_count_as_results_too(autojump_clock: MockClock) -> None:
    """A channel that falls mute much later is replayed before it is given up."""
    async with trio.open_nursery() as nursery:
        on = Harness(nursery, await services())
        line = await on.connect()
        await line.feed(15)
        await line.final(0, 0, 15)
        await passed(10)
        on.ended(line)
        line = await on.connect()
        await line.feed(10)
        await line.final(1, 0, 10)
        await line.feed(15)
        await line.final(0, 0, 25)
        await passed(10)
        assert line.ending == Ending(Why.STALLED, 1006, MUTE)
        assert on.gaps() == []
        nursery.cancel_scope.cancel()


async def test_two_mute_channels_are_replayed_as_one_is(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        on = Harness(nursery, await services())
        for _ in range(3):
            line = await on.connect()
            await line.feed(15)
            for _ in range(9):
                await passed(1)
                line.say_final(0, 0, 15, is_final=False)
                line.say_final(1, 0, 15, is_final=False)
            await passed(2)
            assert line.ending == Ending(Why.STALLED, 1006, BOTH_MUTE)
            on.ended(line)
        assert on.gaps() == []
        assert on.cursors_s == [0, 0]
        nursery.cancel_scope.cancel()


async def test_nothing_is_given_up_where_the_other_channel_has_no_finals_either(
    autojump_clock: MockClock,
) -> None:
    """It is ahead by so much that it was not asked for any: that does not make it answered."""
    async with trio.open_nursery() as nursery:
        on = Harness(nursery, await services())
        line = await on.connect()
        await line.feed(25)
        await line.final(0, 0, 25)
        await passed(10)
        assert line.ending == Ending(Why.STALLED, 1006, MUTE)
        on.ended(line)
        for _ in range(2):
            line = await on.connect()
            await line.feed(30)
            for _ in range(10):
                line.say_final(0, 0, 30, is_final=False)
                await passed(1)
            assert line.ending == Ending(Why.STALLED, 1006, BOTH_MUTE)
            on.ended(line)
        assert on.gaps() == []
        assert on.cursors_s == [25, 0]
        nursery.cancel_scope.cancel()


async def test_a_final_that_comes_as_the_time_is_over_is_in_time(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        on = Harness(nursery, await services())
        line = await on.connect()
        await line.feed(15)
        await line.final(0, 0, 15)
        mock_clock.jump(9)
        await wait_all_tasks_blocked()
        line.say_final(1, 0, 15)
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert not line.over
        assert on.cursors_s == [15, 15]
        await line.feed(15)  # and the next one is waited for
        await line.final(1, 15, 30)
        mock_clock.jump(10)
        await wait_all_tasks_blocked()
        reason = "no final of channel 0 for 10000 ms after Finalize"
        assert line.ending == Ending(Why.STALLED, 1006, reason)
        nursery.cancel_scope.cancel()


async def test_a_message_that_comes_as_the_time_is_over_is_in_time(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        mock_clock.jump(1)
        line = await Harness(nursery, await services()).connect()
        await line.feed(5)
        mock_clock.jump(7)
        await line.feed(1)
        line.say_final(0, 0, 5, is_final=False)
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert not line.over
        nursery.cancel_scope.cancel()


async def test_silence_that_was_passed_is_no_answer(autojump_clock: MockClock) -> None:
    """It moves the cursor, and says nothing of whether the channel has results."""
    async with trio.open_nursery() as nursery:
        on = Harness(nursery, await services())
        on.call.timeline._audio[: TWO.bytes_per_s * 3] = b"\1\1\0\0" * (3 * RATE)
        line = await on.connect()
        await line.feed(10)
        await line.final(0, 0, 10)
        assert on.cursors_s == [10, 3]
        await line.feed(8)
        assert line.finalizes == [(0, 1)]
        await line.final(0, 10, 18)
        await passed(10)
        assert line.ending == Ending(Why.STALLED, 1006, MUTE)
        on.ended(line)
        line = await on.connect()
        await line.feed(18)
        await line.final(0, 3, 21)
        await passed(10)
        assert not line.over
        assert on.gaps() == [gap(3, 21)]
        nursery.cancel_scope.cancel()

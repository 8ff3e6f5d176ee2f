"""How long a call bears with a provider that does not do its part, with exact times."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from tests.bounds_harness import LeanLink, LeanProvider
from tests.call_harness import call_harness, config, start_call, whole
from trio.testing import MockClock

from trio_asr.core.results import ResultHandler
from trio_asr.core.verdict import TAIL_S
from trio_asr.deepgram.provider import Link
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.server import SimulatorSettings
from trio_asr.wire import messages
from trio_asr.wire.audio_format import Format
from trio_asr.wire.messages import Channel, Metadata, Results


class Script(LeanProvider):
    """A provider whose connections are of a class of the test's, each noted when it opens and closes."""

    def __init__(self, link: type[LeanLink], **settings: Any) -> None:
        super().__init__(**settings)
        self._link = link
        self.lives: list[tuple[float, float]] = []
        self.texts: list[tuple[float, str]] = []

    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        await trio.lowlevel.checkpoint()
        self.made += 1
        began = trio.current_time()
        link = self._link(self, fmt.rate)
        try:
            yield link
        finally:
            link.close()
            self.lives.append((round(began, 3), round(trio.current_time(), 3)))


class Vague(LeanLink):
    """Says something about all audio, and nothing for good, but at the end."""

    async def send_control(self, text: str) -> None:
        assert isinstance(self._provider, Script)
        self._provider.texts.append((round(trio.current_time(), 3), text))
        self._provider.vague = text != messages.CLOSE_STREAM
        if text == messages.CLOSE_STREAM:
            self._begin = 0
        await super().send_control(text)


async def test_a_connection_that_talks_and_never_finalizes_is_replaced(autojump_clock: MockClock) -> None:
    """Finalize is said once, of 15 s; 10 s later that is a stall. Before: kept until all was given up."""
    provider = Script(Vague, vague=True)
    async with call_harness(provider=provider) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(40)
        asked = [at for at, text in provider.texts if text == messages.FINALIZE]
        assert asked[0] == pytest.approx(14.88, abs=0.21)
        assert provider.lives[0] == (0.0, asked[0] + 10)
        assert len([at for at in asked if at < asked[0] + 10]) == 1
        closed = next(e for e in on.events() if e["event"] == "connection_closed")
        assert (closed["code"], closed["reason"]) == (1006, "no final for 10000 ms after Finalize")
        assert not [e for e in on.events() if e["event"] == "gap"]


async def test_an_unanswered_finalize_of_little_audio_is_none_to_replace_it_for(
    autojump_clock: MockClock,
) -> None:
    """No answer is promised there; the source paused."""
    provider = Script(Vague, vague=True)
    async with call_harness(provider=provider) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(14)
        await trio.sleep(50)
        assert provider.lives == []
        assert [text for _, text in provider.texts].count(messages.FINALIZE) == 1
        await line.talk(3)
        await trio.sleep(7.5)
        assert provider.lives == []
        await trio.sleep(1)
        ((began, over),) = provider.lives
        assert began == 0
        assert over == pytest.approx(75, abs=0.21)


class Late(LeanLink):
    """Answers Finalize after 9 s."""

    async def send_control(self, text: str) -> None:
        if text == messages.FINALIZE:
            await trio.lowlevel.checkpoint()
            trio.lowlevel.spawn_system_task(self._answer, self._end)
            return
        self._begin = 0 if text == messages.CLOSE_STREAM else self._begin
        self._provider.vague = text != messages.CLOSE_STREAM
        await super().send_control(text)

    async def _answer(self, end: int) -> None:
        await trio.sleep(9)
        self._send.send_nowait(Results(0.0, end / self._rate, Channel([]), is_final=True))


async def test_an_answer_within_10_s_is_in_time(autojump_clock: MockClock) -> None:
    provider = Script(Late, vague=True)
    async with call_harness(provider=provider) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(35)
        assert provider.lives == []
        assert line.call.timeline.finalized > 14 * 8000
        line.hang_up()


class Wordless(LeanLink):
    """Closes in good order, and has said nothing, if it was opened before 30 s."""

    def __init__(self, provider: LeanProvider, rate: int) -> None:
        super().__init__(provider, rate)
        self._wordless = trio.current_time() < 30

    def _say(self, end: int) -> None:
        if not self._wordless:
            super()._say(end)
        self._begin = end


async def test_a_clean_close_without_results_is_tried_again_for_as_long_as_audio_is_kept(
    autojump_clock: MockClock,
) -> None:
    provider = Script(Wordless)
    async with call_harness(provider=provider) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(2)
        line.hang_up()
        await line.done.wait()
        assert 4 <= provider.made <= 40
        assert [e["event"] for e in on.events() if e["event"] == "gap"] == []
        assert line.call.timeline.finalized == 16_000


class Mute(LeanLink):
    """Closes in good order, and says nothing at all."""

    def _say(self, end: int) -> None:
        self._begin = end


async def test_and_no_longer(autojump_clock: MockClock) -> None:
    provider = Script(Mute)
    settings = config(interaction={"max_unfinalized_s": 30})
    async with call_harness(provider=provider, settings=settings) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(2)
        line.hang_up()
        await line.done.wait()
        (gap,) = [e for e in on.events() if e["event"] == "gap"]
        assert (gap["reason"], gap["start_ms"], gap["end_ms"]) == ("unanswered", 0, 2000)
        assert 30 <= trio.current_time() <= 45
        assert provider.made <= 60


class Tail(LeanLink):
    """Leaves the last 90 ms out, and closes in a way that is not Deepgram's."""

    async def send_control(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        if text == messages.CLOSE_STREAM:
            if self._end > 0.2 * self._rate:
                self._say(self._end - round(0.09 * self._rate))
            if getattr(self._provider, "metadata", False):
                self._send.send_nowait(Metadata())
            self._send.close()


@pytest.mark.parametrize("metadata", [False, True])
async def test_a_remainder_of_90_ms_is_worth_one_more_connection(
    metadata: bool, autojump_clock: MockClock
) -> None:
    """Before: one every few seconds for two minutes."""
    provider = Script(Tail, segment_s=100)
    provider.metadata = metadata  # type: ignore[attr-defined]
    async with call_harness(provider=provider) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(3)
        line.hang_up()
        await line.done.wait()
        assert provider.made == 2
        (gap,) = [e for e in on.events() if e["event"] == "gap"]
        assert (gap["reason"], gap["start_ms"], gap["end_ms"]) == ("unanswered", 2910, 3000)
        assert trio.current_time() < 12


def wordless_at_first(later: Faults) -> SimulatorSettings:
    """Return a provider whose first connection closes in good order without a result."""
    return SimulatorSettings(faults_for=lambda index, _: Faults(drop_result_every=1) if index == 0 else later)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "later",
    [
        Faults(abort_after_s=0.0),
        Faults(abort_after_bytes=1),
        Faults(close_after_s=0.0),
        Faults(drop_result_every=1),
    ],
)
async def test_a_call_of_90_ms_is_worth_one_more_connection_however_that_ends(
    later: Faults, channels: int, autojump_clock: MockClock
) -> None:
    """Before: one that broke before CloseStream was out did not count, and another followed, for minutes."""
    async with call_harness(wordless_at_first(later)) as (on, nursery):
        line = await start_call(on, nursery)
        line.say(b"\1\1" * 720 * channels, channels=channels)
        line.hang_up()
        with trio.fail_after(60):
            await line.done.wait()
        assert len(on.connections) == 2
        gaps = [(e["reason"], e["start_ms"], e["end_ms"]) for e in on.events() if e["event"] == "gap"]
        assert gaps == [("unanswered", 0, 90)] * channels


async def test_the_tail_of_a_call_is_kept_while_nobody_can_be_reached(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(
        faults_for=lambda index, _: (
            Faults(drop_result_every=1) if index == 0 else Faults(refuse_status=503, refuse_for_s=60)
        )
    )
    async with call_harness(settings) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(0.09)
        line.hang_up()
        await line.done.wait()
        assert trio.current_time() > 60
        assert whole(on.finals(), 720)
        assert not [e for e in on.events() if e["event"] == "gap"]


@pytest.mark.parametrize("seconds", [0.09, 3.0])
async def test_of_a_call_in_progress_and_of_more_than_a_tail_nothing_is_given_up_for_drops(
    seconds: float, autojump_clock: MockClock
) -> None:
    """While more audio may come, or where the backlog is long, a drop says nothing about the audio."""
    settings = SimulatorSettings(
        faults_for=lambda index, _: Faults(abort_after_s=0.0) if index < 5 else Faults()
    )
    async with call_harness(settings) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(seconds)
        if seconds > TAIL_S:
            line.hang_up()
        await trio.sleep(60)
        line.hang_up()
        await line.done.wait()
        assert whole(on.finals(), round(seconds * 8000))
        assert not [e for e in on.events() if e["event"] == "gap"]


async def test_the_tail_in_another_format_has_its_two_connections_too(autojump_clock: MockClock) -> None:
    """The connection before the border left nothing of its own, so its end does not count."""
    settings = SimulatorSettings(
        faults_for=lambda index, _: Faults(abort_after_s=0.0) if index == 1 else Faults()
    )
    async with call_harness(settings) as (on, nursery):
        line = await start_call(on, nursery)
        line.say(b"\1\1" * 8000, 8000)
        line.say(b"\1\1" * 1440, 16000)
        line.hang_up()
        await line.done.wait()
        assert len(on.connections) == 3
        assert not [e for e in on.events() if e["event"] == "gap"]


async def test_a_rate_that_changes_with_each_frame_does_not_dial_for_each(autojump_clock: MockClock) -> None:
    """Before: 50 connections a second. Now a few, an event, and a backoff; what is kept too long is a gap."""
    settings = SimulatorSettings(engine=EchoEngine(segment_ms=2000))
    async with call_harness(settings) as (on, nursery):
        line = await start_call(on, nursery)
        for n in range(500):
            line.say(b"\1\1" * (160 if n % 2 else 320), 8000 if n % 2 else 16000)
            await trio.sleep(0.02)
        assert len(on.connections) <= 30
        await trio.sleep(110)
        assert len(on.connections) <= 70
        events = [e for e in on.events() if e["event"] == "rate_changing"]
        assert [(e["connection"], e["sample_rate"]) for e in events] == [(4, 16000 if 4 % 2 == 0 else 8000)]


async def test_a_rate_that_changes_twice_costs_no_time(autojump_clock: MockClock) -> None:
    async with call_harness(SimulatorSettings(engine=EchoEngine(segment_ms=2000))) as (on, nursery):
        line = await start_call(on, nursery)
        for rate in (8000, 16000, 8000):
            line.say(b"\1\1" * (rate // 2), rate)
            await trio.sleep(0.5)
        line.hang_up()
        await line.done.wait()
        assert [round(c.opened_at, 3) for c in on.connections] == [0.0, 0.5, 1.0]
        assert not [e for e in on.events() if e["event"] == "rate_changing"]


async def test_an_error_in_handling_a_message_costs_that_call_and_is_counted(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    handle = ResultHandler.handle

    def faulty(self: ResultHandler, message: messages.Message) -> Any:
        if isinstance(message, Results) and self.outbox.interaction_id == "poisoned":
            raise ZeroDivisionError("what somebody said")
        return handle(self, message)

    monkeypatch.setattr(ResultHandler, "handle", faulty)
    async with call_harness(SimulatorSettings(engine=EchoEngine(segment_ms=1000))) as (on, nursery):
        well = await start_call(on, nursery, "well")
        caught: list[Exception] = []
        async with trio.open_nursery() as talkers:
            talkers.start_soon(well.talk, 5)
            poisoned = await start_call(on, talkers, "poisoned", caught.append)
            poisoned.speak(2)
            await trio.sleep(2)
        assert len(caught) == 1
        well.hang_up()
        await well.done.wait()
        assert whole(on.finals("well"), 5 * 8000)
        assert on.finals("poisoned") == []
        counted = on.metrics.registry.get_sample_value("asr_internal_errors_total", {"place": "message"})
        assert counted == 1


async def test_messages_that_cannot_be_used_are_counted(autojump_clock: MockClock) -> None:
    class Garbled(LeanLink):
        def _say(self, end: int) -> None:
            for text in (
                '{"type":"Results","start":null}', "{", '{"type":"New"}', '{"type":"Results"}',
                '{"type":"SpeechStarted"}', '{"type":"UtteranceEnd"}',
            ):  # fmt: skip
                self._send.send_nowait(messages.decode(text))
            super()._say(end)

    async with call_harness(provider=Script(Garbled)) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(1)
        line.hang_up()
        await line.done.wait()
        assert on.metrics.messages_unusable.value == 4
        assert line.call.timeline.finalized == 8000

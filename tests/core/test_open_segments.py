"""When a final is asked for, channel by channel, and which channel is mute."""

import math
from collections.abc import Sequence

import pytest

from trio_asr.core.channel_results import Publishing
from trio_asr.core.giving_up import give_up
from trio_asr.core.open_segments import FINALIZE_S, OpenSegments
from trio_asr.core.outbox import Outbox
from trio_asr.core.results import ResultHandler
from trio_asr.core.timeline import Timeline
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.codes import GapReason
from trio_asr.wire.messages import Channel, Results
from trio_asr.wire.records import Stored
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Topics

RATE = 1000


class Harness:
    """A connection for audio of so many channels, whose long segments have 15 s; times are in seconds."""

    def __init__(self, channels: int = 2, lead_s: Sequence[float] = ()) -> None:
        fmt = audio_format(RATE, channels=channels)
        self.timeline = Timeline(ResumePoint())
        self.outbox = Outbox("call", Topics("t", "e", 100), Stored())
        self.timeline.append("1-0", b"\1" * (fmt.bytes_per_s * 200), fmt)
        for channel, lead in enumerate(lead_s):
            self.timeline.finalize(round(lead * RATE), channel)
        self.handler = ResultHandler(self.timeline, self.outbox, Publishing(1, "r"))
        self.open = OpenSegments(self.handler, 15 * RATE)

    def send(self, until: float) -> None:
        chunk = self.timeline.take(round(until * RATE) - self.timeline.sent)
        assert chunk is not None
        self.handler.clock.sending(chunk.start, chunk.end)
        self.open.sent_until = chunk.end

    def final(self, channel: int, start: float, end: float) -> None:
        self.handler.handle(
            Results(start, end - start, Channel([]), is_final=True, channel_index=[channel, 2])
        )
        self.open.settle()

    def finalize(self, channel: int, now: float) -> None:
        """Send a Finalize, as the connection does."""
        if self.open.ask(channel):
            self.open.asked(channel, now)

    def give_up(self, channel: int, until: float) -> None:
        give_up(self.timeline, self.outbox, round(until * RATE), GapReason.MEMORY, channel)
        self.open.settle()


def test_a_segment_is_long_from_its_bound_on() -> None:
    on = Harness()
    assert on.open.long() == []
    on.send(14.999)
    assert on.open.long() == []
    on.send(15)
    assert on.open.long() == [0, 1]
    on.final(0, 0, 1)
    assert on.open.long() == [1]
    on.send(16)
    assert on.open.long() == [0, 1]


def test_a_long_segment_is_asked_for_once() -> None:
    on = Harness()
    on.send(15)
    on.finalize(1, 3.0)
    assert on.open.long() == [0]
    on.finalize(0, 4.0)
    on.send(60)
    assert on.open.long() == []
    on.final(1, 0, 15)
    assert on.open.long() == [1]  # that is another segment


def test_a_segment_in_which_the_source_pauses_is_asked_for_once() -> None:
    on = Harness()
    assert on.open.unasked() == []
    on.send(3)
    assert on.open.unasked() == [0, 1]
    on.finalize(0, 5.0)
    assert on.open.unasked() == [1]
    on.finalize(1, 5.0)
    assert (on.open.unasked(), on.open.deadline) == ([], math.inf)  # an answer is not certain
    on.final(0, 0, 3)
    assert on.open.unasked() == []  # nothing is open
    on.final(1, 0, 2)
    assert on.open.unasked() == [1]


def test_one_that_was_asked_for_in_a_pause_is_asked_for_again_when_it_is_long() -> None:
    on = Harness()
    on.send(3)
    on.finalize(1, 5.0)
    on.send(15)
    assert on.open.long() == [0, 1]
    on.finalize(1, 17.0)
    assert on.open.deadline == 17 + FINALIZE_S


def test_a_channel_is_mute_10_s_after_it_was_asked_for_a_long_segment() -> None:
    on = Harness()
    on.send(15)
    on.finalize(0, 15.0)
    on.finalize(1, 16.0)
    assert on.open.deadline == 25.0
    assert [on.open.mute(now) for now in (24.999, 25.0, 25.999, 26.0)] == [[], [0], [0], [0, 1]]
    on.send(20)
    assert [on.open.asked_until(channel) for channel in (0, 1)] == [15 * RATE] * 2
    on.final(0, 0, 14)
    assert (on.open.deadline, on.open.mute(30.0)) == (26.0, [1])
    on.final(1, 0, 0)  # of no length: no answer
    assert on.open.deadline == 26.0
    on.final(1, 0, 1)
    assert (on.open.deadline, on.open.mute(30.0)) == (math.inf, [])


def test_a_final_that_comes_while_finalize_is_sent_is_the_answer() -> None:
    on = Harness()
    on.send(15)
    assert on.open.ask(1)
    on.final(1, 0, 15)
    on.open.asked(1, 15.0)
    assert on.open.deadline == math.inf


def test_what_is_given_up_is_waited_for_no_longer() -> None:
    on = Harness()
    on.send(20)
    on.finalize(1, 15.0)
    on.give_up(1, on.open.asked_until(1) / RATE)
    assert (on.open.deadline, on.open.mute(99.0), on.open.unasked()) == (math.inf, [], [0])


def test_no_answers_are_waited_for_at_the_end() -> None:
    on = Harness()
    on.send(15)
    on.finalize(0, 15.0)
    on.open.forget()
    assert (on.open.deadline, on.open.mute(99.0)) == (math.inf, [])


@pytest.mark.parametrize(
    ("finals", "alone"),
    [
        ([(0, 0, 15)], True),
        ([(0, 0, 1)], True),  # it has finals, and was not asked for one
        ([], False),
        ([(0, 0, 0)], False),
    ],
)
def test_a_channel_is_mute_alone_if_the_other_has_finals(
    finals: list[tuple[int, float, float]], *, alone: bool
) -> None:
    on = Harness()
    on.send(15)
    on.finalize(1, 15.0)
    for final in finals:
        on.final(*final)
    assert on.open.mute(25.0) == [1]
    assert on.open.alone(1) is alone


def test_a_channel_that_owes_an_answer_too_is_not_answered() -> None:
    on = Harness()
    on.send(15)
    on.final(0, 0, 5)
    on.finalize(1, 15.0)
    on.send(20)
    on.finalize(0, 20.0)
    assert on.open.mute(25.0) == [1]
    assert not on.open.alone(1)


def test_a_channel_that_was_ahead_is_answered_by_repeats_or_has_nothing_open() -> None:
    for replayed_s, repeats, alone in ((15, 0, True), (20, 0, False), (20, 1, True)):
        on = Harness(lead_s=(15, 0))
        on.send(replayed_s)
        for _ in range(repeats):
            on.final(0, 0, 10)
        on.finalize(1, 15.0)
        assert on.open.alone(1) is alone


def test_the_only_channel_is_never_mute_alone() -> None:
    on = Harness(channels=1)
    on.send(15)
    assert on.open.long() == [0]
    on.finalize(0, 15.0)
    assert on.open.mute(25.0) == [0]
    assert not on.open.alone(0)

"""What the end of a connection says."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from trio_asr.core.verdict import MAX_BRIEF, ChannelEnd, Judge
from trio_asr.core.verdict import End as EndOfAll
from trio_asr.wire.codes import GapReason

PATIENCE_S = 120.0


class End(NamedTuple):
    """The end of a connection of one channel."""

    code: int
    asked: bool
    done: bool
    progressed: bool
    left_s: float
    lived_s: float


class Verdict(NamedTuple):
    """The verdict on one."""

    pause: bool
    give_up: GapReason | None = None
    brief: bool = False


def judged(judge: Judge, end: End, now: float) -> Verdict:
    channels = [ChannelEnd(end.progressed, end.left_s)]
    verdict = judge.ended(EndOfAll(end.code, end.asked, end.done, channels, end.lived_s), now, PATIENCE_S)
    (give_up,) = verdict.give_up
    return Verdict(verdict.pause, give_up, verdict.brief)


GOOD = End(1000, asked=True, done=True, progressed=True, left_s=0.0, lived_s=60.0)


def test_an_end_in_good_order_is_no_reason_to_wait() -> None:
    assert judged(Judge(), GOOD, 0) == Verdict(pause=False)


@pytest.mark.parametrize("progressed", [True, False])
def test_a_drop_is_one_to_wait_and_none_to_give_up(progressed: bool) -> None:
    judge = Judge()
    for n in range(100):
        end = GOOD._replace(code=1006, asked=False, done=False, progressed=progressed, left_s=5.0)
        assert judged(judge, end, float(n)) == Verdict(pause=True)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008])
def test_audio_that_is_called_unusable_twice_is_given_up(code: int) -> None:
    judge = Judge()
    end = End(code, asked=False, done=False, progressed=False, left_s=5.0, lived_s=1.0)
    assert judged(judge, end, 0).give_up is None
    assert judged(judge, end._replace(code=1006), 1).give_up is None
    assert judged(judge, end, 2).give_up == "rejected"
    assert judged(judge, end, 3).give_up is None
    assert judged(judge, end._replace(progressed=True), 4).give_up is None
    assert judged(judge, end, 5).give_up is None


def test_closing_in_good_order_without_a_word_is_borne_up_to_the_bound() -> None:
    """Before: three tries within four seconds, and the end of the call was lost to a hiccup."""
    judge = Judge()
    mute = GOOD._replace(progressed=False, left_s=5.0, lived_s=3.0)
    for now in (10.0, 12.0, 20.0, 129.9):
        assert judged(judge, mute, now) == Verdict(pause=True)
    assert judged(judge, mute, 130.0).give_up == "unanswered"
    assert judged(judge, mute, 131.0).give_up is None


def test_a_word_in_between_begins_the_patience_anew() -> None:
    judge = Judge()
    mute = GOOD._replace(progressed=False, left_s=5.0, lived_s=3.0)
    judged(judge, mute, 0)
    judged(judge, mute._replace(progressed=True), 100)
    assert judged(judge, mute, 130).give_up is None
    assert judged(judge, mute, 249).give_up is None
    assert judged(judge, mute, 250).give_up == "unanswered"


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011])
@pytest.mark.parametrize("progressed", [True, False])
def test_little_that_is_left_after_closing_is_worth_one_more_connection(code: int, progressed: bool) -> None:
    end = End(code, asked=True, done=False, progressed=progressed, left_s=0.099, lived_s=10.0)
    judge = Judge()
    assert judged(judge, end, 0) == Verdict(pause=True)
    assert judged(judge, end, 5) == Verdict(pause=True, give_up=GapReason.NO_RESULT)
    judge = Judge()
    for now in (0.0, 5.0, 10.0):  # more than little, or not asked for: audio that somebody will take
        assert judged(judge, end._replace(left_s=0.1), now).give_up is None
        assert judged(judge, end._replace(asked=False), now).give_up is None


@pytest.mark.parametrize("code", [1000, 1006, 1011])
def test_the_tail_of_a_call_is_worth_one_more_connection_whether_or_not_close_stream_got_out(
    code: int,
) -> None:
    """Before: only an end after CloseStream counted, and any other began the count anew."""
    end = EndOfAll(code, False, False, [ChannelEnd(False, 0.09)], 0.1, tail=True)
    asked = end._replace(asked=True)
    for first, second in ((end, end), (asked, end), (end, asked)):
        judge = Judge()
        assert judge.ended(first, 0, PATIENCE_S).give_up == (None,)
        assert judge.ended(second, 1, PATIENCE_S).give_up == (GapReason.NO_RESULT,)
    judge = Judge()
    for now in range(9):  # finalized, as the other channel may be
        assert judge.ended(end._replace(channels=[ChannelEnd(True, 0.0)]), now, PATIENCE_S).give_up == (None,)


def test_brief_connections_in_a_row_are_slowed_down_and_told_of_once() -> None:
    judge = Judge()
    brief = GOOD._replace(lived_s=0.1)
    assert [judged(judge, brief, 0).pause for _ in range(MAX_BRIEF)] == [False] * MAX_BRIEF
    verdicts, restless = [], []
    for end in (brief, brief, GOOD):
        verdicts.append(judged(judge, end, 0))
        restless.append(judge.restless)
    assert verdicts == [Verdict(pause=True, brief=True), Verdict(pause=True), Verdict(pause=False)]
    assert restless == [True, True, False]


# -- two channels ----------------------------------------------------------------------------------------


def two(*channels: tuple[bool, float], done: bool = True, code: int = 1000) -> EndOfAll:
    return EndOfAll(code, done, done, [ChannelEnd(*one) for one in channels], 30.0)


@pytest.mark.parametrize("served", [(True, 0.0), (True, 2.0), (False, 0.0)])
def test_a_channel_that_alone_has_no_result_is_replayed_once_and_then_given_up(
    served: tuple[bool, float],
) -> None:
    judge = Judge()
    end = two(served, (False, 5.0))
    assert judge.ended(end, 0, PATIENCE_S).give_up == (None, None)
    assert judge.ended(end, 5, PATIENCE_S).give_up == (None, GapReason.NO_RESULT)
    judge.heard(1)
    assert judge.ended(end, 9, PATIENCE_S).give_up == (None, None)


def test_two_channels_without_results_are_borne_as_one_is() -> None:
    judge = Judge()
    end = two((False, 5.0), (False, 5.0))
    assert judge.ended(end, 0, PATIENCE_S).give_up == (None, None)
    assert judge.ended(end, 100, PATIENCE_S).give_up == (None, None)
    assert judge.ended(end, 120, PATIENCE_S).give_up == (GapReason.NO_RESULT,) * 2


def test_rejections_count_for_each_channel() -> None:
    judge = Judge()
    end = two((True, 2.0), (False, 2.0), done=False, code=1008)
    assert judge.ended(end, 0, PATIENCE_S).give_up == (None, None)
    assert judge.ended(end, 1, PATIENCE_S).give_up == (None, GapReason.REJECTED)


def test_a_drop_says_nothing_of_a_channel_that_lags() -> None:
    judge = Judge()
    for n in range(9):
        end = two((True, 0.0), (False, 5.0), done=False, code=1006)
        assert judge.ended(end, n, PATIENCE_S) == (True, (None, None), False)


def test_a_final_from_before_a_channel_fell_mute_is_no_reason_to_replay_it_again() -> None:
    judge = Judge()
    judge.heard(1)
    assert not judge.mute(1)
    end = two((True, 0.0), (True, 5.0), done=False, code=1006)  # it had finals, on this connection too
    assert judge.ended(end, 0, PATIENCE_S).give_up == (None, None)
    assert judge.mute(1)
    assert not judge.mute(0)
    judge.heard(1)
    assert not judge.mute(1)


def test_what_one_channel_is_mute_for_ends_in_good_order_too() -> None:
    judge = Judge()
    assert not judge.mute(1)
    assert judge.ended(two((True, 0.0), (False, 5.0)), 0, PATIENCE_S).give_up == (None, GapReason.NO_RESULT)


def test_a_tail_counts_for_each_channel() -> None:
    judge = Judge()
    end = two((True, 5.0), (True, 0.09))
    assert judge.ended(end, 0, PATIENCE_S).give_up == (None, None)
    assert judge.ended(end, 1, PATIENCE_S).give_up == (None, GapReason.NO_RESULT)


def test_a_channel_served_by_nobody_is_given_up_when_it_has_been_for_long() -> None:
    """Where the other had finals meanwhile, that time does not count against it: its replay does."""
    judge = Judge()
    alone = two((True, 0.0), (False, 5.0))
    assert judge.ended(alone, 0, PATIENCE_S).give_up == (None, None)
    judge.heard(1)
    both = two((False, 5.0), (False, 5.0))
    assert judge.ended(both, 500, PATIENCE_S).give_up == (None, None)
    assert judge.ended(both, 619.9, PATIENCE_S).give_up == (None, None)
    assert judge.ended(both, 620, PATIENCE_S).give_up == (GapReason.NO_RESULT,) * 2

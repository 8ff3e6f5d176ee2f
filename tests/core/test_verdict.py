"""What the end of a connection says."""

from __future__ import annotations

import pytest

from trio_asr.core.verdict import MAX_BRIEF, End, Judge, Verdict
from trio_asr.wire.codes import GapReason

PATIENCE_S = 120.0
GOOD = End(1000, asked=True, done=True, progressed=True, left_s=0.0, lived_s=60.0)


def test_an_end_in_good_order_is_no_reason_to_wait() -> None:
    assert Judge().ended(GOOD, 0, PATIENCE_S) == Verdict(pause=False)


@pytest.mark.parametrize("progressed", [True, False])
def test_a_drop_is_one_to_wait_and_none_to_give_up(progressed: bool) -> None:
    judge = Judge()
    for n in range(100):
        end = GOOD._replace(code=1006, asked=False, done=False, progressed=progressed, left_s=5.0)
        assert judge.ended(end, float(n), PATIENCE_S) == Verdict(pause=True)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008])
def test_audio_that_is_called_unusable_twice_is_given_up(code: int) -> None:
    judge = Judge()
    end = End(code, asked=False, done=False, progressed=False, left_s=5.0, lived_s=1.0)
    assert judge.ended(end, 0, PATIENCE_S).give_up == ""
    assert judge.ended(end._replace(code=1006), 1, PATIENCE_S).give_up == ""
    assert judge.ended(end, 2, PATIENCE_S).give_up == "rejected"
    assert judge.ended(end, 3, PATIENCE_S).give_up == ""
    assert judge.ended(end._replace(progressed=True), 4, PATIENCE_S).give_up == ""
    assert judge.ended(end, 5, PATIENCE_S).give_up == ""


def test_closing_in_good_order_without_a_word_is_borne_up_to_the_bound() -> None:
    """Before: three tries within four seconds, and the end of the call was lost to a hiccup."""
    judge = Judge()
    mute = GOOD._replace(progressed=False, left_s=5.0, lived_s=3.0)
    for now in (10.0, 12.0, 20.0, 129.9):
        assert judge.ended(mute, now, PATIENCE_S) == Verdict(pause=True)
    assert judge.ended(mute, 130.0, PATIENCE_S).give_up == "unanswered"
    assert judge.ended(mute, 131.0, PATIENCE_S).give_up == ""


def test_a_word_in_between_begins_the_patience_anew() -> None:
    judge = Judge()
    mute = GOOD._replace(progressed=False, left_s=5.0, lived_s=3.0)
    judge.ended(mute, 0, PATIENCE_S)
    judge.ended(mute._replace(progressed=True), 100, PATIENCE_S)
    assert judge.ended(mute, 130, PATIENCE_S).give_up == ""
    assert judge.ended(mute, 249, PATIENCE_S).give_up == ""
    assert judge.ended(mute, 250, PATIENCE_S).give_up == "unanswered"


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011])
@pytest.mark.parametrize("progressed", [True, False])
def test_little_that_is_left_after_closing_is_worth_one_more_connection(code: int, progressed: bool) -> None:
    end = End(code, asked=True, done=False, progressed=progressed, left_s=0.099, lived_s=10.0)
    judge = Judge()
    assert judge.ended(end, 0, PATIENCE_S) == Verdict(pause=True)
    assert judge.ended(end, 5, PATIENCE_S) == Verdict(pause=True, give_up=GapReason.NO_RESULT)
    judge = Judge()
    for now in (0.0, 5.0, 10.0):  # more than little, or not asked for: audio that somebody will take
        assert judge.ended(end._replace(left_s=0.1), now, PATIENCE_S).give_up == ""
        assert judge.ended(end._replace(asked=False), now, PATIENCE_S).give_up == ""


def test_brief_connections_in_a_row_are_slowed_down_and_told_of_once() -> None:
    judge = Judge()
    brief = GOOD._replace(lived_s=0.1)
    assert [judge.ended(brief, 0, PATIENCE_S).pause for _ in range(MAX_BRIEF)] == [False] * MAX_BRIEF
    verdicts, restless = [], []
    for end in (brief, brief, GOOD):
        verdicts.append(judge.ended(end, 0, PATIENCE_S))
        restless.append(judge.restless)
    assert verdicts == [Verdict(pause=True, brief=True), Verdict(pause=True), Verdict(pause=False)]
    assert restless == [True, True, False]

"""The states of a call: the moves there are, those there are not, and the word that is shown."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.states import DIAL, LIFE, READING, Dial, IllegalMoveError, Life, Moves, Shown, shown

TABLES: list[Mapping[Any, frozenset[Any]]] = [LIFE, READING, DIAL]


@pytest.mark.parametrize("table", TABLES)
def test_every_state_has_its_row_and_all_are_reached(table: Mapping[enum.Enum, frozenset[enum.Enum]]) -> None:
    states = set(type(next(iter(table))))
    assert set(table) == states
    begin = next(iter(table))
    seen, new = {begin}, {begin}
    while new:
        new = {after for state in new for after in table[state]} - seen
        seen |= new
    assert seen == states


@pytest.mark.parametrize("table", TABLES)
@given(data=st.data())
def test_a_move_is_in_the_table_or_it_raises_and_is_not_made(
    table: Mapping[enum.Enum, frozenset[enum.Enum]], data: st.DataObject
) -> None:
    states = list(table)
    moves = Moves(table, states[0])
    for state in data.draw(st.lists(st.sampled_from(states))):
        before = moves.now
        if state is before or state in table[before]:
            moves.to(state)
            assert moves.now is state
        else:
            with pytest.raises(IllegalMoveError):
                moves.to(state)
            assert moves.now is before


def test_a_second_connection_beside_one_is_no_move() -> None:
    """Requirements 1: one socket per call, whatever the sender comes to do."""
    for state in (Dial.DIALLING, Dial.OPEN):
        assert Dial.DIALLING not in DIAL[state]
    assert [state for state in Dial if Dial.OPEN in DIAL[state]] == [Dial.DIALLING]


def test_what_failed_takes_nothing_any_more() -> None:
    assert not LIFE[Life.FAILED]
    assert Life.RUNNING not in LIFE[Life.CLOSING]


@pytest.mark.parametrize(
    ("life", "dial", "audio", "before", "word"),
    [
        (Life.FAILED, Dial.OPEN, True, True, "restarting"),
        (Life.ENDING, Dial.OPEN, True, True, "closing"),
        (Life.CLOSING, Dial.IDLE, False, False, "closing"),
        (Life.RUNNING, Dial.OPEN, False, True, "streaming"),
        (Life.RUNNING, Dial.PERMIT, True, True, "waiting"),
        (Life.RUNNING, Dial.ADMISSION, True, False, "held"),
        (Life.RUNNING, Dial.PERMITTED, True, False, "connecting"),
        (Life.RUNNING, Dial.DIALLING, True, False, "connecting"),
        (Life.RUNNING, Dial.IDLE, True, True, "reconnecting"),
        (Life.RUNNING, Dial.PERMITTED, True, True, "reconnecting"),
        (Life.RUNNING, Dial.IDLE, False, True, "quiet"),
        (Life.RUNNING, Dial.PERMIT, False, True, "quiet"),
    ],
)
def test_the_word_for_it(life: Life, dial: Dial, audio: bool, before: bool, word: str) -> None:
    assert shown(life, dial, audio=audio, before=before) == word
    assert word in set(Shown)

"""The order of numbered messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_asr.core.ingest.window import MOST_HELD, Message, Window


def message(number: int) -> Message:
    return Message(str(number).encode(), number * 20.0)


def heard(numbers: list[int]) -> tuple[list[int], int]:
    """In which order messages come out that come in this order, and how many are left out."""
    of, found = Window(), list[Message]()
    for number in numbers:
        found += of.take(number, message(number))
    found += of.close()
    assert not of
    return [int(one.audio) for one in found], of.repeats


@pytest.mark.parametrize(
    ("come", "go", "repeats"),
    [
        ([1, 2, 3], [1, 2, 3], 0),
        ([0, 2, 1, 3], [0, 1, 2, 3], 0),
        ([7, 8, 8, 7, 9], [7, 8, 9], 2),
        ([1, 5, 4, 3, 2, 6], [1, 2, 3, 4, 5, 6], 0),
        ([1, 3, 4], [1, 3, 4], 0),  # one that never comes
        ([1, 3, 3, 2], [1, 2, 3], 1),
        ([1, 3, 4, 5, 6, 7, 8, 2], [1, 3, 4, 5, 6, 7, 8], 1),  # it was waited for long enough
        ([100, 101, 1, 2, 3], [100, 101, 1, 2, 3], 0),  # it counts anew
        ([100, 102, 1], [100, 102, 1], 0),
        ([2, 1, 3], [1, 2, 3], 0),  # the very first is late
        ([2, 3, 4, 5, 6, 7, 1], [2, 3, 4, 5, 6, 7], 1),  # and may never come
        ([7, 6], [7], 1),  # nobody knows that it is
    ],
)
def test_messages_come_out_in_order(come: list[int], go: list[int], repeats: int) -> None:
    assert heard(come) == (go, repeats)


def test_what_waits_is_bounded() -> None:
    of = Window()
    of.take(0, message(0))
    for number in range(2, MOST_HELD + 2):
        assert of.take(number, message(number)) == []
    out = of.take(MOST_HELD + 2, message(MOST_HELD + 2))
    assert [int(one.audio) for one in out] == list(range(2, MOST_HELD + 3))


@given(st.permutations(range(1, 7)))
@settings(deadline=None)
def test_any_order_of_the_first_six_is_put_right(order: list[int]) -> None:
    assert heard(order) == (list(range(1, 7)), 0)


@given(st.permutations(range(6)), st.integers(0, 20))
@settings(deadline=None)
def test_any_order_of_six_behind_the_first_is_put_right(order: list[int], first: int) -> None:
    assert heard([first, *(first + 1 + n for n in order)]) == (list(range(first, first + 7)), 0)

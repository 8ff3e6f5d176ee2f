from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.lab.demo.wer import error_rate, errors, words

WORDS = st.lists(st.sampled_from("abc"), max_size=6)


def test_case_and_punctuation_do_not_count() -> None:
    assert words("Good morning, I'm 'here' - at last.") == ["good", "morning", "i'm", "here", "at", "last"]


@pytest.mark.parametrize(
    ("said", "heard", "rate"),
    [("a b c d", "a b c d", 0), ("a b c d", "a x c d", 0.25), ("a b", "", 1), ("a", "a b c", 2)],
)
def test_rate(said: str, heard: str, rate: float) -> None:
    assert error_rate((said, heard)) == rate


def test_the_words_of_two_channels_do_not_make_up_for_each_other() -> None:
    assert error_rate(("a b c", "a b"), ("d", "c d")) == 0.5


def test_nothing_said_has_no_rate() -> None:
    with pytest.raises(ValueError, match="nothing was said"):
        error_rate(("...", "a"))


@given(WORDS, WORDS, WORDS)
def test_it_is_a_distance(a: list[str], b: list[str], c: list[str]) -> None:
    assert (errors(a, b) == 0) == (a == b)
    assert errors(a, b) == errors(b, a)
    assert errors(a, c) <= errors(a, b) + errors(b, c)
    assert abs(len(a) - len(b)) <= errors(a, b) <= max(len(a), len(b))

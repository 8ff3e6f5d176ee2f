"""Backoff: full jitter, a cap, and a fresh start after a success."""

import random

from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.backoff import Backoff


class Highest(random.Random):
    """Draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


def test_the_bound_doubles_up_to_the_cap_and_starts_over_after_a_success() -> None:
    backoff = Backoff(1.0, 10.0, Highest())
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    assert backoff.attempt == 6
    backoff.reset()
    assert [backoff.next() for _ in range(2)] == [1, 2]


@given(st.integers(), st.floats(0.01, 5), st.floats(0.01, 60))
def test_a_delay_is_anything_up_to_the_bound(seed: int, base: float, cap: float) -> None:
    backoff = Backoff(base, cap, random.Random(seed))
    for attempt in range(50):
        assert 0 <= backoff.next() <= min(cap, base * 2**attempt)


def test_a_day_of_failures_overflows_nothing() -> None:
    backoff = Backoff(1.0, 10.0)
    backoff.attempt = 10**6
    assert 0 <= backoff.next() <= 10


def test_two_that_fail_together_do_not_retry_together() -> None:
    assert Backoff(1.0, 10.0).next() != Backoff(1.0, 10.0).next()

"""The breaker: whom a refusal concerns, and when to try again."""

import math

import pytest

from trio_asr.core.breaker import Breaker, Concerns, concerns


@pytest.mark.parametrize(
    ("status", "whom"),
    [
        (None, Concerns.ATTEMPT),
        (400, Concerns.QUERY),
        (401, Concerns.ACCOUNT),
        (402, Concerns.ACCOUNT),
        (403, Concerns.ACCOUNT),
        (404, Concerns.QUERY),
        (405, Concerns.QUERY),
        (408, Concerns.ATTEMPT),
        (414, Concerns.QUERY),
        (429, Concerns.ATTEMPT),
        (500, Concerns.ATTEMPT),
        (503, Concerns.ATTEMPT),
    ],
)
def test_whom_a_refusal_concerns(status: int | None, whom: Concerns) -> None:
    assert concerns(status) is whom


def test_it_opens_at_once_and_probes_at_growing_intervals() -> None:
    breaker = Breaker()
    assert breaker.next_probe() == -math.inf
    assert breaker.refused(401, 10)
    probes = []
    for _ in range(6):
        probes.append(breaker.next_probe())
        breaker.probing(probes[-1], 11)
        assert breaker.next_probe() == probes[-1] + 11  # the others wait for the outcome
        assert not breaker.refused(401, probes[-1])
    assert probes == [11, 13, 17, 25, 35, 45]
    assert breaker.succeeded()
    assert breaker.next_probe() == -math.inf
    assert not breaker.succeeded()


def test_attempts_that_were_on_their_way_do_not_count() -> None:
    breaker = Breaker()
    assert breaker.refused(401, 0)
    assert not breaker.refused(401, 0.5)
    assert breaker.next_probe() == 1


def test_payment_is_refused_three_times_without_a_success_between() -> None:
    breaker = Breaker()
    assert not breaker.refused(402, 0)
    assert not breaker.refused(402, 1)
    breaker.succeeded()
    assert not breaker.refused(402, 2)
    assert not breaker.refused(402, 3)
    assert breaker.refused(402, 4)

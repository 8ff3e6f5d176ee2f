"""The breaker: whom a refusal concerns, when it opens, and one probe at a time."""

import math

import pytest

from trio_asr.core.refusals import PAYMENT_REFUSALS, Breaker, Concerns, concerns


@pytest.mark.parametrize(
    ("status", "whom"),
    [
        (401, Concerns.ACCOUNT),
        (402, Concerns.ACCOUNT),
        (403, Concerns.ACCOUNT),
        (400, Concerns.QUERY),
        (404, Concerns.QUERY),
        (405, Concerns.QUERY),
        (414, Concerns.QUERY),
        (408, Concerns.ATTEMPT),
        (429, Concerns.ATTEMPT),
        (500, Concerns.ATTEMPT),
        (503, Concerns.ATTEMPT),
        (None, Concerns.ATTEMPT),
    ],
)
def test_whom_a_refusal_concerns(status: int | None, whom: Concerns) -> None:
    assert concerns(status) is whom


def test_a_bad_key_opens_at_once_and_probes_come_at_growing_intervals() -> None:
    breaker = Breaker()
    assert breaker.next_probe() == -math.inf
    assert breaker.refused(401, 0.0)
    now, pauses = 0.0, []
    for _ in range(6):
        pauses.append(breaker.next_probe() - now)
        now = breaker.next_probe()
        breaker.probing(now, 10.0)
        assert not breaker.refused(401, now)
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_payment_required_opens_only_after_several_without_a_success_between() -> None:
    breaker = Breaker()
    for _ in range(PAYMENT_REFUSALS - 1):
        assert not breaker.refused(402, 0.0)
    assert not breaker.succeeded()
    for _ in range(PAYMENT_REFUSALS - 1):
        assert not breaker.refused(402, 0.0)
    assert breaker.refused(402, 0.0)
    assert breaker.open


def test_attempts_that_were_on_their_way_do_not_put_the_probe_off() -> None:
    breaker = Breaker()
    breaker.refused(403, 0.0)
    assert not breaker.refused(403, 0.9)
    assert breaker.next_probe() == 1.0


def test_others_wait_for_the_outcome_of_the_probe() -> None:
    breaker = Breaker()
    breaker.refused(403, 0.0)
    breaker.probing(1.0, 10.0)
    assert breaker.next_probe() == 11.0
    assert breaker.succeeded()
    assert not breaker.open
    assert breaker.next_probe() == -math.inf
    assert breaker.refused(403, 50.0)
    assert breaker.next_probe() == 51.0

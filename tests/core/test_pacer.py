"""The pacer's bound over any five seconds."""

import math
from collections import deque
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from trio_asr.core.pacer import Pacer

NOW = 1000.0


def near(when: float) -> object:
    """Compare instants to the microsecond."""
    return pytest.approx(when, abs=1e-6)


rates = st.sampled_from([1.0, 1.25, 1.5, 4.0])


class Arrival(NamedTuple):
    """So much audio is there from a moment on."""

    at: float
    seconds: float


def pump(rate: float, arrivals: list[Arrival], *, small: float = 0.2, large: float = 1.0) -> list[Arrival]:
    """Send all as early as the pacer lets it, cut as the flush scheduler cuts; return what went when."""
    pacer, now, unsent = Pacer(rate), arrivals[0].at, 0.0
    coming, sent = deque(arrivals), list[Arrival]()
    while coming or unsent > 1e-9:
        while coming and coming[0].at <= now:
            unsent += coming.popleft().seconds
        pacer.waiting(unsent, small)
        chunk = min(unsent, small if pacer.catching_up else large)
        ready = pacer.ready_at(chunk, now)
        if chunk > 0 and ready <= now:
            pacer.sent(chunk, now)
            sent.append(Arrival(now, chunk))
            unsent -= chunk
        else:
            now = min(ready if chunk > 0 else math.inf, coming[0].at if coming else math.inf)
    return sent


def fastest(sent: list[Arrival], window_s: float = Pacer.WINDOW_S) -> float:
    """The most audio that left within any window."""
    most = total = 0.0
    first = 0
    for when, seconds in sent:
        total += seconds
        while sent[first].at <= when - window_s + 1e-9:
            total -= sent[first].seconds
            first += 1
        most = max(most, total)
    return most


@given(
    rates,
    st.lists(st.tuples(st.floats(0, 4), st.floats(0.005, 30)), min_size=1, max_size=25),
    st.sampled_from([0.02, 0.1, 0.2, 0.5, 1.0]),
    st.sampled_from([0.02, 0.3, 1.0, 5.0]),
)
@settings(max_examples=examples(60), deadline=None)
def test_no_five_seconds_see_more_than_the_rate_allows(
    rate: float, bursts: list[tuple[float, float]], small: float, large: float
) -> None:
    now, arrivals = NOW, []
    for pause, seconds in bursts:
        now += pause
        arrivals.append(Arrival(now, seconds))
    sent = pump(rate, arrivals, small=min(small, large), large=large)
    assert math.isclose(sum(one.seconds for one in sent), sum(one.seconds for one in arrivals))
    assert fastest(sent) <= rate * Pacer.WINDOW_S + 1e-6


@pytest.mark.parametrize("small", [0.02, 0.1, 0.2, 0.5])
def test_a_backlog_is_sent_at_the_rate_in_even_steps(small: float) -> None:
    """Two minutes of audio take 96 seconds and little more, and no second is left without."""
    sent = pump(1.25, [Arrival(NOW, 120.0)], small=small)
    assert 120 / 1.25 - 1 <= sent[-1].at - NOW <= 120 / (1.25 - small / 5) + 1
    assert fastest(sent, 1.0) <= 1.25 + 2 * small
    steps = [later.at - earlier.at for earlier, later in pairwise(sent[:-2])]  # the last ones are less
    assert max(steps) - min(steps) < 1e-6


def test_catching_up_ends_when_less_than_a_chunk_is_left() -> None:
    pacer = Pacer(1.25)
    seen = []
    for unsent in (0.5, 1.0, 1.01, 0.5, 0.21, 0.2, 0.5, 1.0, 1.5):
        pacer.waiting(unsent, 0.2)
        seen.append(pacer.catching_up)
    assert seen == [False, False, True, True, True, False, False, False, True]


@pytest.mark.parametrize("chunk", [0.02, 0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("initial", [0.02, 0.5, 1.0])
@given(late=st.lists(st.floats(0, 0.9), min_size=100, max_size=100))
@settings(max_examples=examples(15), deadline=None)
def test_live_audio_is_never_held_back(chunk: float, initial: float, late: list[float]) -> None:
    """A first chunk, then chunks as they fill; some come late, and the next are on time again."""
    pacer, now = Pacer(1.25), NOW
    pacer.waiting(initial, chunk)
    pacer.sent(initial, now)
    for n, delay in enumerate(late, 1):
        now = max(now, NOW + n * chunk + delay * min(1.0, chunk))
        pacer.waiting(chunk, chunk)
        assert pacer.ready_at(chunk, now) <= now
        pacer.sent(chunk, now)


def test_an_hour_of_live_audio_drifts_into_no_wait_and_no_memory() -> None:
    pacer = Pacer(1.25)
    for n in range(18_000):
        now = NOW + n * 0.2
        pacer.waiting(0.2, 0.2)
        assert pacer.ready_at(0.2, now) <= now
        pacer.sent(0.2, now)
    assert len(pacer._sent) <= 26
    assert pacer._total == near(sum(seconds for _, seconds in pacer._sent))


def test_a_chunk_above_all_budget_leaves_when_the_window_is_empty() -> None:
    pacer = Pacer(1.25)
    assert pacer.ready_at(10.0, NOW) <= NOW
    pacer.sent(10.0, NOW)
    assert pacer.ready_at(0.2, NOW + 1) == NOW + Pacer.WINDOW_S

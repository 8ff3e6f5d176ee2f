"""The clock map: what a connection's seconds are on the call's timeline."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.clock import ClockMap

RATES = st.sampled_from([8000, 16_000, 24_000, 48_000])
TEN_HOURS = 36_000
wild = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, -0.0, 5e-324])


def float32(value: float) -> float:
    """The number as Deepgram has it."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def error(seconds: float, rate: int) -> int:
    """Samples by which a float32 of this size may be off, both ends of a range together."""
    return math.ceil(seconds * 2**-23 * rate) + 1


@st.composite
def sendings(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Spans in order, some after stretches that were given up."""
    at, spans = draw(st.integers(0, 10**9)), []
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0, 0, 1, 160, 100_000]))
        end = at + draw(st.integers(1, 50_000))
        spans.append((at, end))
        at = end
    return spans


def clock_of(rate: int, spans: list[tuple[int, int]]) -> tuple[ClockMap, list[int]]:
    """A map that was told the spans, and where on the connection each of them begins."""
    clock, begins = ClockMap(rate), []
    for start, end in spans:
        begins.append(clock.sent)
        clock.sending(start, end)
    return clock, begins


@given(RATES, sendings())
def test_what_was_sent_maps_to_where_it_came_from(rate: int, spans: list[tuple[int, int]]) -> None:
    clock, begins = clock_of(rate, spans)
    assert clock.sent == sum(end - start for start, end in spans)
    for begin, (start, end) in zip(begins, spans, strict=True):
        assert clock.span(begin / rate, (end - start) / rate) == (start, end)
        assert clock.sample(begin / rate) == start


@given(RATES, sendings(), st.data())
def test_any_sample_maps_exactly(rate: int, spans: list[tuple[int, int]], data: st.DataObject) -> None:
    clock, begins = clock_of(rate, spans)
    begin, (start, end) = data.draw(st.sampled_from(list(zip(begins, spans, strict=True))))
    offset = data.draw(st.integers(0, end - start - 1))
    assert clock.sample((begin + offset) / rate) == start + offset


@given(RATES, st.integers(0, 10**9), st.floats(0, TEN_HOURS), st.floats(0.01, 30))
def test_float32_times_come_back_within_their_error(
    rate: int, begin: int, start_s: float, length_s: float
) -> None:
    """After ten hours too: 31 samples at 8 kHz, and never as much as the tolerance of 20 ms."""
    clock = ClockMap(rate)
    clock.sending(begin, begin + (TEN_HOURS + 60) * rate)
    start, end = round(start_s * rate), round((start_s + length_s) * rate)
    heard = clock.span(float32(start / rate), float32((end - start) / rate))
    bound = error(start_s + length_s, rate)
    assert abs(heard[0] - (begin + start)) <= bound
    assert abs(heard[1] - (begin + end)) <= bound
    assert bound < 0.02 * rate


def test_after_ten_hours_a_time_is_off_by_16_samples_at_most() -> None:
    clock = ClockMap(8000)
    clock.sending(0, (TEN_HOURS + 1) * 8000)
    off = [clock.sample(float32(s / 8000)) - s for s in range(TEN_HOURS * 8000 - 2000, TEN_HOURS * 8000)]
    assert max(map(abs, off)) == 16


def test_a_range_that_ends_at_a_border_ends_in_the_piece_before() -> None:
    clock, _ = clock_of(8000, [(1000, 2000), (5000, 6000)])
    assert clock.span(0.0, 0.125) == (1000, 2000)
    assert clock.span(0.125, 0.125) == (5000, 6000)
    assert clock.span(0.125, 0.0) == (5000, 5000)
    assert clock.span(0.0625, 0.125) == (1500, 5500)


def test_stretches_that_join_are_one_piece() -> None:
    clock = ClockMap(8000)
    for n in range(1000):
        clock.sending(n * 160, (n + 1) * 160)
    assert clock._at == [0]
    assert clock._to == [0]


@given(RATES, st.just([]) | sendings(), wild, wild)
def test_no_numbers_raise_and_nothing_lies_past_what_was_sent(
    rate: int, spans: list[tuple[int, int]], start_s: float, duration_s: float
) -> None:
    clock, _ = clock_of(rate, spans)
    low, high = (spans[0][0], spans[-1][1]) if spans else (0, 0)
    start, end = clock.span(start_s, duration_s)
    assert low <= start <= end <= high
    assert low <= clock.sample(start_s) <= high


@given(RATES, sendings(), st.lists(st.floats(0, 100), min_size=2, max_size=9))
def test_later_is_never_earlier(rate: int, spans: list[tuple[int, int]], moments: list[float]) -> None:
    clock, _ = clock_of(rate, spans)
    samples = [clock.sample(moment) for moment in sorted(moments)]
    assert samples == sorted(samples)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_before_anything_was_sent_all_is_the_beginning(seconds: float) -> None:
    assert ClockMap(8000).span(seconds, 1.0) == (0, 0)

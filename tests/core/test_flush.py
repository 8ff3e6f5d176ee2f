"""When audio is due: exact instants of the policy."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.flush import GRID_S, FlushPolicy, on_grid

NOW = 1000.0
GRIDS = st.integers(0, 500).map(lambda n: n * GRID_S)


@dataclass
class Intervals:
    """The defaults of the config."""

    initial_ms: int = 500
    min_chunk_ms: int = 200
    max_interval_ms: int = 500
    max_chunk_ms: int = 1000


def near(when: float) -> object:
    """Compare instants to the microsecond."""
    return pytest.approx(when, abs=1e-6)


def test_nothing_is_due_while_there_is_nothing() -> None:
    policy = FlushPolicy(Intervals())
    assert policy.deadline(0.0) == math.inf
    policy.arrived(NOW)
    assert policy.deadline(0.0) == math.inf
    policy.flushed(NOW, remains=False)
    assert policy.deadline(0.0) == math.inf
    assert policy.age(NOW + 9) == 0.0


@pytest.mark.parametrize(("unsent", "due"), [(0.499, NOW + 0.5), (0.5, -math.inf), (5.0, -math.inf)])
def test_the_first_chunk_leaves_at_the_initial_amount(unsent: float, due: float) -> None:
    """Requirements 4: 500 ms first."""
    policy = FlushPolicy(Intervals())
    policy.arrived(NOW)
    assert policy.deadline(unsent) == due


@pytest.mark.parametrize(("unsent", "due"), [(0.02, NOW + 0.5), (0.199, NOW + 0.5), (0.2, -math.inf)])
def test_later_ones_leave_at_the_smaller_amount_or_by_timer(unsent: float, due: float) -> None:
    """Requirements 4: then 200 ms, and whatever is there 500 ms after the last flush."""
    policy = FlushPolicy(Intervals())
    policy.arrived(NOW - 0.5)
    policy.flushed(NOW, remains=True)
    assert policy.deadline(unsent) == near(due)


def test_audio_that_comes_after_a_silence_longer_than_the_interval_leaves_at_once() -> None:
    policy = FlushPolicy(Intervals())
    policy.arrived(NOW)
    policy.flushed(NOW, remains=False)
    policy.arrived(NOW + 7.013)
    assert policy.deadline(0.02) == NOW + 7.013


def test_frames_do_not_put_the_deadline_off() -> None:
    """Requirements 3: the old timer was reset by every frame, and the call stalled."""
    policy = FlushPolicy(Intervals())
    policy.arrived(NOW)
    policy.flushed(NOW, remains=False)
    for n in range(1, 8):
        policy.arrived(NOW + n * 0.036)
        assert policy.deadline(0.02) == near(NOW + 0.5)
    assert policy.age(NOW + 0.3) == near(0.264)


def test_twenty_frames_of_577_bytes_every_36_ms_leave_at_exact_instants() -> None:
    """Requirements 3, 12: first when 500 ms are there, then every 200 ms of audio, and the rest by timer."""
    policy, frame_s = FlushPolicy(Intervals()), 577 / 16_000
    unsent, flushes = 0.0, list[tuple[float, int]]()
    for n in range(20):
        now = n * 0.036
        unsent += frame_s
        policy.arrived(now)
        if policy.deadline(unsent) <= now:
            flushes.append((now, round(unsent / frame_s)))
            policy.flushed(now, remains=False)
            unsent = 0.0
    assert flushes == [(near(13 * 0.036), 14), (near(19 * 0.036), 6)]
    policy.arrived(0.72)
    assert policy.deadline(frame_s) == near(on_grid(19 * 0.036 + 0.5))


def test_a_reload_counts_for_live_calls() -> None:
    intervals = Intervals()
    policy = FlushPolicy(intervals)
    policy.arrived(NOW)
    policy.flushed(NOW, remains=True)
    intervals.max_interval_ms, intervals.min_chunk_ms = 100, 40
    assert policy.deadline(0.02) == near(NOW + 0.1)
    assert policy.deadline(0.04) == -math.inf


def test_the_log_can_say_why_a_flush_waits() -> None:
    """Requirements 5."""
    policy = FlushPolicy(Intervals())
    policy.arrived(NOW)
    assert policy.explain(NOW + 0.1, 0.08) == {
        "audio_ms": 80,
        "needed_ms": 500,
        "since_last_flush_ms": None,
        "buffer_age_ms": 100,
        "max_interval_ms": 500,
    }
    policy.flushed(NOW + 0.2, remains=True)
    assert policy.explain(NOW + 0.3, 0.08) | {"since_last_flush_ms": 100, "needed_ms": 200} == policy.explain(
        NOW + 0.3, 0.08
    )


@given(
    st.integers(20, 1000),
    st.integers(20, 1000),
    st.integers(20, 3000),
    st.lists(st.tuples(st.floats(0.001, 2), st.floats(0.001, 0.5)), min_size=1, max_size=40),
)
def test_no_audio_waits_longer_than_the_interval(
    initial: int, least: int, interval: int, frames: list[tuple[float, float]]
) -> None:
    """Requirements 3: run by its deadlines, the policy leaves no gap above the interval while audio waits."""
    policy = FlushPolicy(Intervals(initial, least, interval))
    now, unsent, oldest = NOW, 0.0, math.inf

    def flush(at: float) -> None:
        nonlocal unsent, oldest
        assert at - oldest <= interval / 1000 + 1e-6
        policy.flushed(at, remains=False)
        unsent, oldest = 0.0, math.inf

    for pause, audio in frames:
        now += pause
        due = policy.deadline(unsent)
        if due < now:  # the timer wakes between two frames
            assert due >= oldest - 1e-6
            flush(max(due, oldest))
        unsent, oldest = unsent + audio, min(oldest, now)
        policy.arrived(now)
        if policy.deadline(unsent) <= now:
            flush(now)
    if unsent:
        assert policy.deadline(unsent) - oldest <= interval / 1000 + 1e-6


@given(st.floats(0, 1e7))
def test_deadlines_are_rounded_down_to_the_grid(when: float) -> None:
    due = on_grid(when)
    assert when - GRID_S - 1e-6 < due <= when + 1e-6
    assert abs(due / GRID_S - round(due / GRID_S)) < 1e-3
    assert on_grid(due) == near(due)


@given(GRIDS, GRIDS)
def test_a_deadline_on_the_grid_stays(start: float, interval: float) -> None:
    assert on_grid(start + interval) == near(start + interval)


def test_calls_of_one_grid_step_wake_together() -> None:
    due = set()
    for n in range(20):
        policy = FlushPolicy(Intervals())
        policy.arrived(NOW + 0.001 * n + 0.0005)
        due.add(round(policy.deadline(0.1), 6))
    assert due == {NOW + 0.5}

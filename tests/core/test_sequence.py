"""What `seq` and `timestamp_ms` say: repeats, holes, reordering, series that begin anew."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.repeats import LATE_WINDOW
from trio_asr.core.sequence import Series
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.frames import Frame

RATE = 8000
FRAME_MS = 20
SIZE = FRAME_MS * RATE // 500
MAX_FILL_MS = 1000
EPOCH = 1_700_000_000_000
MAX_HOLE = MAX_FILL_MS // FRAME_MS


def frame(seq: int | None, timestamp: int | None = None, *, size: int = SIZE, rate: int = RATE) -> Frame:
    """A frame whose timestamp is in step with its seq, unless said otherwise."""
    at = timestamp if timestamp is not None or seq is None else seq * FRAME_MS
    return Frame("call", bytes(size), rate, seq, at, format=audio_format(rate))


def fills(frames: Iterable[Frame], max_fill_ms: int = MAX_FILL_MS) -> list[int]:
    series = Series(max_fill_ms)
    return [series.missing(one) for one in frames]


# -- holes ---------------------------------------------------------------------------------------------


@given(st.integers(-(10**6), 10**6), st.sets(st.integers(1, 99)), st.integers(0, EPOCH))
def test_silence_stands_for_what_is_missing(first: int, lost: set[int], epoch: int) -> None:
    """Times stay true: every frame lies where it would lie had none been lost, or one frame before."""
    series, position = Series(MAX_FILL_MS), 0
    last, early = 0, False
    for n in [n for n in range(102) if n not in lost]:
        fill = series.missing(frame(first + n, epoch + n * FRAME_MS))
        hole = n - last - 1 if n else 0
        if hole <= MAX_HOLE:
            assert (
                fill == (early + hole * (hole != 1)) * SIZE
            )  # a hole of one frame is filled one frame later
            early = hole == 1
        position, last = position + fill + SIZE, n
    if len(lost) < MAX_HOLE:
        assert position == (102 - early) * SIZE


@pytest.mark.parametrize(
    ("lost", "filled"), [(0, 0), (2, 2 * SIZE), (MAX_HOLE, MAX_HOLE * SIZE), (MAX_HOLE + 1, 0)]
)
def test_a_hole_is_filled_up_to_the_bound(lost: int, filled: int) -> None:
    assert fills([frame(1), frame(2 + lost), frame(3 + lost)]) == [0, filled, 0]


def test_a_hole_of_one_frame_is_filled_when_the_next_frame_is_not_the_missing_one() -> None:
    assert fills([frame(1), frame(3), frame(4), frame(5)]) == [0, 0, SIZE, 0]
    assert fills([frame(1), frame(3), frame(5), frame(6)]) == [0, 0, SIZE, SIZE]
    assert fills([frame(1), frame(3), frame(6), frame(7)]) == [0, 0, 3 * SIZE, 0]
    assert fills([frame(1), frame(3), frame(2), frame(4)]) == [0, 0, 0, 0]


def test_no_hole_is_filled_where_the_bound_is_zero() -> None:
    assert fills([frame(1), frame(3)], max_fill_ms=0) == [0, 0]


def test_holes_between_frames_of_odd_length_keep_the_phase() -> None:
    odd = [frame(n, round(n * 36.0625), size=577) for n in (1, 2, 5, 6)]
    assert fills(odd) == [0, 0, 2 * 577, 0]


@pytest.mark.parametrize("drift", [-9, 9])
def test_timestamps_may_jitter_by_less_than_half_a_frame(drift: int) -> None:
    assert fills([frame(1), frame(4, 4 * FRAME_MS + drift)]) == [0, 2 * SIZE]


@pytest.mark.parametrize("timestamp", [0, FRAME_MS, 2 * FRAME_MS, 5 * FRAME_MS, EPOCH, -EPOCH, 2**63 - 1])
def test_a_jump_out_of_step_with_time_is_no_hole(timestamp: int) -> None:
    """Frames that ingest dropped leave no hole in time, and timestamps may be of another kind."""
    assert fills([frame(1), frame(3, timestamp), frame(4, timestamp + FRAME_MS)]) == [0, 0, 0]


def test_without_timestamps_nothing_is_filled() -> None:
    assert fills(
        Frame("call", bytes(SIZE), RATE, seq, format=audio_format(RATE)) for seq in (1, 3, 4, 9)
    ) == [0, 0, 0, 0]


def test_without_seq_nothing_is_filled() -> None:
    assert fills([frame(1), frame(None, 500), frame(9), frame(12)]) == [0, 0, 0, 2 * SIZE]


def test_a_seq_that_restarts_is_a_new_series() -> None:
    """Requirements 8: ingest begins again at 1 when its producer reconnects."""
    assert fills([frame(500), frame(501), frame(1), frame(2), frame(5)]) == [0, 0, 0, 0, 2 * SIZE]


def test_another_rate_is_a_new_series() -> None:
    assert fills([frame(1), *(frame(seq, rate=16_000, size=2 * SIZE) for seq in (3, 6))]) == [0, 0, 4 * SIZE]


def test_empty_frames_make_no_holes() -> None:
    assert fills([frame(1, size=0), frame(9, size=0), frame(20, 180)]) == [0, 0, 0]


@pytest.mark.parametrize("size", [0, 100])
@pytest.mark.parametrize("timestamp", [80, 66])
def test_a_hole_behind_a_shorter_frame_is_measured_by_the_next_one(size: int, timestamp: int) -> None:
    """Whether time goes on by the frame or by its audio."""
    series = Series(MAX_FILL_MS)
    for one in (frame(1), frame(2, size=size)):
        assert series.missing(one) == 0
    series.patient = True
    assert series.opens_hole(frame(4, timestamp)) == (timestamp == 80)
    assert series.missing(frame(4)) == SIZE


# -- order ---------------------------------------------------------------------------------------------


def test_two_frames_swapped_are_each_one_frame_beside_their_place_and_no_other_is() -> None:
    order, moved = [1], [0]
    for n in range(2, 2000, 3):
        order += [n + 1, n, n + 2]
        moved += [-1, 1, 0]
    position = 0
    for seq, fill, beside in zip(order, fills(map(frame, order)), moved, strict=True):
        position += fill
        assert position == (seq - 1 + beside) * SIZE
        position += SIZE


@given(st.lists(st.integers(0, 7), min_size=200, max_size=200))
def test_reordering_shifts_times_by_no_more_than_it_moved_frames(delays: list[int]) -> None:
    order = sorted(range(200), key=lambda n: n + delays[n])
    moved = max(abs(at - n) for at, n in enumerate(order))
    position, end = 0, 0
    for seq, fill in zip(order, fills(map(frame, order)), strict=True):
        position += fill
        end = max(end, seq)
        assert position >= 0
        assert position // SIZE - (end - order[0]) <= 2 * moved
        position += SIZE
    assert abs(position // SIZE - 200) <= 2 * moved


@pytest.mark.parametrize("timestamp", [71, 45, None])
@pytest.mark.parametrize("late", [40, 20, 91])
@pytest.mark.parametrize("patient", [True, False])
def test_no_silence_stands_for_what_has_come(timestamp: int | None, late: int, patient: bool) -> None:
    """Two swapped frames whose times are those of their arrival, or jitter; the next hole is a whole one."""
    series = Series(MAX_FILL_MS)
    series.patient = patient
    early = Frame("call", bytes(SIZE), RATE, 3, timestamp, format=audio_format(RATE))
    frames = [frame(1), early, frame(2, late), frame(4), frame(5), frame(8), frame(9)]
    placed = [series.place(one) for one in frames]
    assert [one.silence for one in placed] == [0, 0, 0, 0, 0, 2 * SIZE, 0]
    assert [one.late for one in placed] == [0] * 7


def test_a_frame_that_comes_after_its_silence_is_late_whatever_its_time_says() -> None:
    series = Series(MAX_FILL_MS)
    series.patient = True
    frames = [frame(1), frame(4), frame(5), frame(3, 400), frame(6), frame(9), frame(12)]
    placed = [series.place(one) for one in frames]
    assert [one.silence for one in placed] == [0, 2 * SIZE, 0, 0, 0, SIZE, 2 * SIZE]
    assert [one.late for one in placed] == [0, 0, 0, SIZE, 0, 0, 0]


def test_a_frame_without_a_number_changes_nothing_for_those_that_are_late() -> None:
    series = Series(MAX_FILL_MS)
    series.patient = True
    frames = [frame(1), frame(3), frame(None, 50), frame(2), frame(4), frame(6), frame(7)]
    placed = [series.place(one) for one in frames]
    assert [one.silence for one in placed] == [0, SIZE, 0, 0, 0, 0, 0]  # the second hole is the first one's
    assert [one.late for one in placed] == [0, 0, 0, SIZE, 0, 0, 0]


def test_a_number_that_stays_the_same_makes_nothing_late() -> None:
    series = Series(MAX_FILL_MS)
    placed = [series.place(frame(7, 140)) for _ in range(800)]
    assert not any(one.silence or one.late for one in placed)
    assert [series.missing(one) for one in (frame(8), frame(11))] == [0, 2 * SIZE]


def test_open_places_are_bounded() -> None:
    series = Series(MAX_FILL_MS)
    for n in range(0, 20_000, 3):
        series.missing(frame(n))
    assert len(series._open) <= 2 * LATE_WINDOW


@pytest.mark.parametrize("behind", [0, 1, 2, 30, LATE_WINDOW - 2])
@pytest.mark.parametrize("epoch", [False, True])
def test_two_interleaved_series_fill_nothing(behind: int, epoch: bool) -> None:
    """Two tracks of one call, the second some frames younger; timestamps since the start, or of the clock."""
    frames = []
    for n in range(200):
        clock = EPOCH + n * FRAME_MS
        frames.append(frame(n + 1, clock if epoch else None))
        if n >= behind:
            frames.append(frame(n - behind + 1, clock + 3 if epoch else None))
    assert not any(fills(frames))


@given(
    st.lists(
        st.builds(
            frame,
            st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300),
            st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 6000),
            size=st.integers(0, 700),
            rate=st.sampled_from([4000, 8000, 96_000]),
        ),
        max_size=60,
    ),
    st.integers(0, 5000),
)
def test_no_frames_raise_or_fill_more_than_the_bound(frames: list[Frame], max_fill_ms: int) -> None:
    for one, fill in zip(frames, fills(frames, max_fill_ms), strict=True):
        assert 0 <= fill * 500 <= max_fill_ms * one.sample_rate

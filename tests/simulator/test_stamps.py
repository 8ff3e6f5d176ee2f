import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.simulator.stamps import ANCHOR_WINDOW, MAX_CALL, MAX_SAMPLES, Reader, read, stamp

calls = st.integers(0, MAX_CALL)
starts = st.integers(0, MAX_SAMPLES - 200_000)


@given(calls, starts, st.integers(ANCHOR_WINDOW, 70_000))
def test_any_window_reads_as_one_exact_run(call: int, start: int, n: int) -> None:
    pcm = stamp(call, start, n)
    assert len(pcm) == 2 * n
    assert read(pcm) == [(call, start, start + n)]


@given(calls, starts, st.integers(0, 3000), st.integers(0, 3000))
def test_pieces_join_seamlessly(call: int, start: int, n: int, m: int) -> None:
    assert stamp(call, start, n) + stamp(call, start + n, m) == stamp(call, start, n + m)


@given(calls, starts, st.integers(20, 500), st.integers(1, 65_000), st.integers(20, 500))
def test_a_loss_is_seen_at_the_very_sample(call: int, start: int, n: int, lost: int, m: int) -> None:
    second = start + n + lost
    pcm = stamp(call, start, n) + stamp(call, second, m)
    assert read(pcm) == [(call, start, start + n), (call, second, second + m)]


@given(calls, starts, st.integers(20, 500), st.integers(1, 20))
def test_a_repeat_is_seen_at_the_very_sample(call: int, start: int, n: int, back: int) -> None:
    end = start + n
    pcm = stamp(call, start, n) + stamp(call, end - back, 50)
    assert read(pcm) == [(call, start, end), (call, end - back, end - back + 50)]


@given(calls, starts, st.integers(20, 500))
def test_the_next_calls_audio_is_told_apart(call: int, start: int, n: int) -> None:
    other = (call + 1) % (MAX_CALL + 1)
    pcm = stamp(call, start, n) + stamp(other, start + n, n)
    assert read(pcm) == [(call, start, start + n), (other, start + n, start + 2 * n)]


@given(calls, starts, st.lists(st.integers(0, 300), max_size=12), st.integers(0, 40))
def test_where_the_audio_is_split_does_not_matter(call: int, start: int, sizes: list[int], lost: int) -> None:
    pcm = bytes(50) + stamp(call, start, 900) + stamp(call, start + 900 + lost, 1000)
    reader, at = Reader(), 0
    for size in sizes:
        reader.feed(pcm[at : at + 2 * size])
        at = min(at + 2 * size, len(pcm))
    reader.feed(pcm[at:])
    runs = [(run.at, run.call, run.first, run.last) for run in reader.runs]
    if lost:
        assert runs == [
            (25, call, start, start + 900),
            (925, call, start + 900 + lost, start + 1900 + lost),
        ]
    else:
        assert runs == [(25, call, start, start + 1900)]


@given(calls, starts, st.integers(20, 300), st.integers(1, 50))
def test_silence_is_never_part_of_a_run(call: int, start: int, n: int, silent: int) -> None:
    pcm = bytes(2 * silent) + stamp(call, start, n) + bytes(2 * silent) + stamp(call, start + n, n)
    assert read(pcm) == [(call, start, start + n), (call, start + n, start + 2 * n)]


def test_half_a_sample_of_shift_is_no_run() -> None:
    assert read(b"\0" + stamp(3, 1000, 500) + b"\0") == []


def test_silence_and_noise_carry_no_stamp() -> None:
    noise = random.Random(1).randbytes(400_000)
    assert read(bytes(10_000)) == []
    assert read(noise) == []


def test_a_stretch_too_short_for_an_anchor_is_not_invented() -> None:
    assert read(stamp(1, 0, 7)) == []
    assert read(b"") == []


def test_forgotten_runs_go_and_the_growing_one_stays() -> None:
    reader = Reader()
    for call in (1, 2, 3):
        reader.feed(stamp(call, 0, 100))
    reader.forget(150)
    assert [run.call for run in reader.runs] == [2, 3]
    reader.forget(10_000)
    assert [run.call for run in reader.runs] == [3]
    reader.feed(stamp(3, 100, 50))
    assert [(run.at, run.last) for run in reader.runs] == [(200, 150)]


@pytest.mark.parametrize(
    ("call", "start", "n"), [(-1, 0, 1), (MAX_CALL + 1, 0, 1), (0, -1, 1), (0, MAX_SAMPLES, 1)]
)
def test_what_the_format_cannot_hold_is_refused(call: int, start: int, n: int) -> None:
    with pytest.raises(ValueError):
        stamp(call, start, n)


def test_what_goes_on_is_one_run_however_long() -> None:
    reader = Reader()
    for start in range(0, 1600 * 500, 1600):  # 100 seconds of 8 kHz audio in chunks of 200 ms
        reader.feed(stamp(9, start, 1600))
    assert [(run.first, run.last) for run in reader.runs] == [(0, 800_000)]

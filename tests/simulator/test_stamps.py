import random
from hashlib import sha256
from itertools import takewhile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_asr.simulator import stamps8, stamps16
from trio_asr.simulator.audio import interleave
from trio_asr.simulator.stamps import Reader, read, stamp, window

CODES = {1: stamps8, 2: stamps16}
#: The widest window that is always recognised.
WINDOW = window(1)

widths = st.sampled_from([1, 2])
calls = st.integers(0, stamps16.MAX_CALL)
starts = st.integers(0, stamps8.MAX_SAMPLES - 200_000)
lengths = st.integers(WINDOW, 500)
#: A byte that is no stamp, and digital silence in 16 bits.
SILENT = {1: b"\xff", 2: b"\0\0"}


def same(call: int, one: int, other: int, width: int) -> int:
    """Return how many samples at two places of a call are the same, from there on; in 16 bits none."""
    pairs = zip(stamp(call, one, 64, width), stamp(call, other, 64, width), strict=True)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) if width == 1 else 0


@given(widths, calls, starts, st.integers(WINDOW, 70_000))
def test_any_window_reads_as_one_exact_run(width: int, call: int, start: int, n: int) -> None:
    audio = stamp(call, start, n, width)
    assert len(audio) == width * n
    assert read(audio, width) == [(call, start, start + n)]


@pytest.mark.parametrize("width", [1, 2])
def test_the_smallest_window_is_recognised_at_every_place(width: int) -> None:
    last = CODES[width].MAX_SAMPLES - window(width)
    for start in (*range(8000), *range(last - 50, last + 1)):
        assert read(stamp(11, start, window(width), width), width) == [(11, start, start + window(width))]


@given(widths, calls, starts, st.integers(0, 9000), st.integers(0, 9000))
def test_pieces_join_seamlessly(width: int, call: int, start: int, n: int, m: int) -> None:
    joined = stamp(call, start, n, width) + stamp(call, start + n, m, width)
    assert joined == stamp(call, start, n + m, width)


@given(widths, calls, starts, lengths, st.integers(1, 65_000))
@example(1, 7, 0, 160, 4960)
def test_a_loss_is_seen_at_the_very_sample(width: int, call: int, start: int, n: int, lost: int) -> None:
    """In 8 bits it is seen behind the samples that are the same as the lost ones."""
    second = start + n + lost
    more = same(call, start + n, second, width)
    audio = stamp(call, start, n, width) + stamp(call, second, 100, width)
    assert more < 8
    assert read(audio, width) == [(call, start, start + n + more), (call, second + more, second + 100)]


@pytest.mark.parametrize("frame", [80, 160, 240, 320])
def test_lost_and_repeated_frames_are_exact_in_8_bits_too(frame: int) -> None:
    for distance in range(2 * frame, 31 * frame, frame):
        for start in range(0, 40 * frame, frame):
            other = start + distance
            first, second = stamp(3, start, frame, 1), stamp(3, other, frame, 1)
            spans = [(3, start, start + frame), (3, other, other + frame)]
            assert read(first + second, 1) == spans
            if distance < 30 * frame:
                assert read(second + first, 1) == spans[::-1]


@given(calls, starts, st.integers(1, 31).filter(lambda d: d % 8), st.integers(0, 960))
def test_samples_of_8_bits_differ_but_at_multiples_of_a_block(
    call: int, start: int, within: int, blocks: int
) -> None:
    one, other = stamp(call, start, 64, 1), stamp(call, start + 8 * blocks + within, 64, 1)
    assert not any(a == b for a, b in zip(one, other, strict=True))


@given(calls, starts.map(lambda s: s - s % 8), st.integers(1, 960))
def test_samples_of_8_bits_agree_in_few_places_of_a_block(call: int, start: int, blocks: int) -> None:
    one, other = stamp(call, start, 8, 1), stamp(call, start + 8 * blocks, 8, 1)
    assert sum(a == b for a, b in zip(one, other, strict=True)) <= 2
    assert (one[0] == other[0]) == (blocks % 31 == 0)


@given(widths, calls, starts, lengths, st.integers(1, 20))
def test_a_repeat_is_seen_at_the_very_sample(width: int, call: int, start: int, n: int, back: int) -> None:
    end = start + n
    more = same(call, end, end - back, width)
    audio = stamp(call, start, n, width) + stamp(call, end - back, 50, width)
    assert read(audio, width) == [(call, start, end + more), (call, end - back + more, end - back + 50)]


@given(widths, calls, starts, lengths)
def test_the_next_calls_audio_is_told_apart(width: int, call: int, start: int, n: int) -> None:
    other = (call + 1) % (stamps16.MAX_CALL + 1)
    audio = stamp(call, start, n, width) + stamp(other, start + n, n, width)
    assert read(audio, width) == [(call, start, start + n), (other, start + n, start + 2 * n)]


@given(widths, calls, starts, st.lists(st.integers(0, 300), max_size=12), st.integers(0, 40))
def test_where_the_audio_is_split_does_not_matter(
    width: int, call: int, start: int, sizes: list[int], lost: int
) -> None:
    second = start + 900 + lost
    audio = SILENT[width] * 25 + stamp(call, start, 900, width) + stamp(call, second, 1000, width)
    reader, at = Reader(width), 0
    for size in sizes:
        reader.feed(audio[at : at + width * size])
        at = min(at + width * size, len(audio))
    reader.feed(audio[at:])
    runs = [(run.at, run.call, run.first, run.last) for run in reader.runs]
    if lost:
        more = same(call, start + 900, second, width)
        assert runs == [
            (25, call, start, start + 900 + more),
            (925 + more, call, second + more, second + 1000),
        ]
    else:
        assert runs == [(25, call, start, start + 1900)]


@given(widths, calls, starts, lengths, st.integers(1, 50))
def test_silence_is_never_part_of_a_run(width: int, call: int, start: int, n: int, silent: int) -> None:
    quiet = SILENT[width] * silent
    audio = quiet + stamp(call, start, n, width) + quiet + stamp(call, start + n, n, width)
    assert read(audio, width) == [(call, start, start + n), (call, start + n, start + 2 * n)]


def test_no_8_bit_stamp_is_silence_in_either_codec() -> None:
    written = {byte for call in range(40) for byte in stamp(call, 31 * call, 8000, 1)}
    assert len(written) == 8 * 31
    assert not written & set(b"\x7f\xff\x55\xd5")


def test_half_a_sample_of_shift_is_no_run() -> None:
    assert read(b"\0" + stamp(3, 1000, 500) + b"\0") == []


def test_channels_keep_their_numbers_and_swapped_ones_show() -> None:
    left, right = stamp(20, 0, 400, 1), stamp(21, 0, 400, 1)
    both = interleave([left, right], 1)
    assert [read(both[c::2], 1) for c in (0, 1)] == [[(20, 0, 400)], [(21, 0, 400)]]
    assert read(both, 1) == []
    assert read(left[:200] + right[200:], 1) == [(20, 0, 200), (21, 200, 400)]


@pytest.mark.parametrize("width", [1, 2])
def test_silence_and_noise_carry_no_stamp(width: int) -> None:
    noise = random.Random(1).randbytes(400_000)
    assert read(bytes(10_000), width) == []
    assert read(noise, width) == []


@pytest.mark.parametrize("width", [1, 2])
def test_a_stretch_too_short_for_an_anchor_is_not_invented(width: int) -> None:
    assert read(stamp(1, 0, 2 * CODES[width].BLOCK - 1, width), width) == []
    assert read(b"", width) == []


@pytest.mark.parametrize("width", [1, 2])
def test_forgotten_runs_go_and_the_growing_one_stays(width: int) -> None:
    reader = Reader(width)
    for call in (1, 2, 3):
        reader.feed(stamp(call, 0, 100, width))
    reader.forget(150)
    assert [run.call for run in reader.runs] == [2, 3]
    reader.forget(10_000)
    assert [run.call for run in reader.runs] == [3]
    reader.feed(stamp(3, 100, 50, width))
    assert [(run.at, run.last) for run in reader.runs] == [(200, 150)]


@pytest.mark.parametrize("width", [1, 2])
def test_what_the_format_cannot_hold_is_refused(width: int) -> None:
    calls, samples = CODES[width].MAX_CALL, CODES[width].MAX_SAMPLES
    assert calls >= 16_000
    assert samples >= 2 * 3600 * 8000
    for call, start, n in [(-1, 0, 1), (calls + 1, 0, 1), (0, -1, 1), (0, samples, 1)]:
        with pytest.raises(ValueError):
            stamp(call, start, n, width)


@pytest.mark.parametrize("width", [1, 2])
def test_what_goes_on_is_one_run_however_long(width: int) -> None:
    reader = Reader(width)
    for start in range(0, 1600 * 500, 1600):  # 100 seconds of 8 kHz audio in chunks of 200 ms
        reader.feed(stamp(9, start, 1600, width))
    assert [(run.first, run.last) for run in reader.runs] == [(0, 800_000)]


def test_the_16_bit_format_is_what_it_was() -> None:
    assert stamp(1, 0, 9).hex() == "ef292f4c12bb2ccaf0299c620aa265faf129"
    places = [(0, 0), (7, 1), (16_380, 65_520), (99, 10**9)]
    audio = b"".join(stamp(call, start, 5000) for call, start in places)
    assert sha256(audio).hexdigest() == "496d488d0a81935fae7bd5103081be74c2d46a7857bf99886a2191a38872bd4c"

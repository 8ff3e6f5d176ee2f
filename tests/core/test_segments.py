"""The segments of a call's axis: which format is where, and what a sample is in bytes and in time."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_asr.core.segments import Segment, Segments, nothing_yet
from trio_asr.wire.audio_format import NO_FORMAT, Format, audio_format

PLAIN, FAST = audio_format(8000), audio_format(16_000)
TWO, LAW = audio_format(8000, channels=2), audio_format(8000, "alaw", 2)


class Stretch(NamedTuple):
    """So many samples that came, after so many that never did."""

    format: Format
    samples: int
    void: int = 0


def segments(*stretches: Stretch) -> Segments:
    """Return the segments of stretches, as a timeline begins them."""
    found, sample, position = Segments(nothing_yet()), 0, 0
    for stretch in stretches:
        sample += stretch.void
        found.begin(stretch.format, sample, position, stretch.void)
        sample += stretch.samples
        position += stretch.samples * stretch.format.width
    return found


def test_before_any_audio_there_is_one_segment_of_no_format() -> None:
    none = Segments(nothing_yet())
    assert (none.one, len(none), none.at(0), none.after(0)) == (True, 1, Segment(0, 0, NO_FORMAT, 0), None)
    assert (none.us(0), none.seconds(0, 5), none.stops(0, 5)) == (0, 0.0, [5])


def test_the_first_audio_takes_the_place_of_nothing() -> None:
    one = segments(Stretch(TWO, 8000))
    assert one.one
    assert one.last == Segment(0, 0, TWO, 0)


def test_a_sample_on_a_border_is_of_the_later_format() -> None:
    three = segments(Stretch(PLAIN, 8000), Stretch(TWO, 8000), Stretch(LAW, 8000))
    formats = [three.at(sample).format for sample in (0, 7999, 8000, 15_999, 16_000, 99_999)]
    assert formats == [PLAIN, PLAIN, TWO, TWO, LAW, LAW]
    after = [three.after(sample) for sample in (0, 7999, 8000, 16_000)]
    assert [one and one.start for one in after] == [8000, 8000, 16_000, None]
    assert [three.position(sample) for sample in (1, 8000, 8001, 16_000, 16_001)] == [
        2, 16_000, 16_004, 48_000, 48_002,
    ]  # fmt: skip
    assert [three.at(sample).sample(position) for sample, position in ((0, 3), (8000, 16_003))] == [1, 8000]


def test_time_is_the_sum_over_formats() -> None:
    three = segments(Stretch(PLAIN, 4000), Stretch(FAST, 16_000), Stretch(LAW, 8000))
    assert [three.us(sample) for sample in (0, 4000, 12_000, 20_000, 28_000)] == [
        0, 500_000, 1_000_000, 1_500_000, 2_500_000,
    ]  # fmt: skip
    assert three.seconds(2000, 24_000) == 1.75
    assert three.seconds(5, 5) == three.seconds(6, 5) == 0.0


def test_a_void_has_time_and_samples_and_no_bytes() -> None:
    found = segments(Stretch(TWO, 8000), Stretch(TWO, 8000, void=80_000))
    assert len(found) == 2
    assert found.last == Segment(88_000, 32_000, TWO, 11_000_000, 80_000, 10_000_000)
    assert [found.position(sample) for sample in (7999, 8000, 50_000, 88_000, 88_001)] == [
        31_996, 32_000, 32_000, 32_000, 32_004,
    ]  # fmt: skip
    assert [found.us(sample) for sample in (8000, 48_000, 88_000)] == [1_000_000, 6_000_000, 11_000_000]
    assert found.void_s(0, 96_000) == 10.0
    assert found.void_s(0, 48_000) == 5.0
    assert found.void_s(48_000, 96_000) == 5.0
    assert found.void_s(88_000, 96_000) == found.void_s(0, 8000) == 0.0


def test_another_format_where_one_just_began_takes_its_place() -> None:
    """A frame without audio said so."""
    found = segments(Stretch(PLAIN, 8000), Stretch(TWO, 0), Stretch(LAW, 8000))
    assert len(found) == 2
    assert found.last == Segment(8000, 16_000, LAW, 1_000_000)


def test_a_void_before_another_format_is_counted_in_its_samples() -> None:
    found = segments(Stretch(PLAIN, 8000), Stretch(FAST, 0), Stretch(FAST, 16_000, void=32_000))
    assert found.us(40_000) == 3_000_000
    assert found.at(20_000).format is FAST


@pytest.mark.parametrize(
    ("start", "end", "stops"),
    [
        (0, 5000, [5000]),
        (0, 8000, [8000]),
        (0, 16_001, [16_000, 16_001]),
        (16_000, 24_000, [24_000]),
        (16_000, 60_000, [24_000, 32_000, 60_000]),
        (15_999, 60_000, [16_000, 24_000, 32_000, 60_000]),
        (40_000, 10_000, [10_000]),
    ],
)
def test_where_a_gap_has_to_be_cut(start: int, end: int, stops: list[int]) -> None:
    """Where either side of a border has two channels."""
    found = segments(
        Stretch(PLAIN, 8000), Stretch(FAST, 8000), Stretch(TWO, 8000), Stretch(LAW, 8000),
        Stretch(PLAIN, 8000), Stretch(FAST, 8000),
    )  # fmt: skip
    assert found.stops(start, end) == stops


def test_what_is_long_past_is_forgotten() -> None:
    found = segments(*[Stretch(fmt, 8000) for fmt in (PLAIN, TWO, PLAIN, TWO)])
    found.forget(8000)
    assert len(found) == 4
    found.forget(16_000)  # the one before that is kept: an utterance may be reported after its audio
    assert (len(found), found.at(0).format, found.us(8000)) == (3, TWO, 1_000_000)
    found.forget(10**9)
    assert (len(found), found.one) == (2, False)


STRETCHES = st.lists(
    st.builds(
        Stretch, st.sampled_from([PLAIN, FAST, TWO, LAW]), st.integers(0, 50), st.sampled_from([0, 0, 0, 7])
    ),
    min_size=1,
    max_size=8,
)


@given(STRETCHES)
@settings(deadline=None)
def test_against_a_list_of_all_samples(stretches: list[Stretch]) -> None:
    """Of each the format and the position; times that go on."""
    found, axis, position = segments(*stretches), list[tuple[Format, int]](), 0
    for stretch in stretches:
        axis += [(NO_FORMAT, position)] * stretch.void  # as there is no audio, any will do
        for _ in range(stretch.samples):
            axis.append((stretch.format, position))
            position += stretch.format.width
    for sample, (fmt, at) in enumerate(axis):
        assert found.position(sample) == at
        assert found.at(sample).format is fmt or not fmt.rate
    times = [found.us(sample) for sample in range(len(axis) + 1)]
    assert times == sorted(times)
    ends = found.stops(0, len(axis))
    assert ends[-1] == len(axis)
    for start, end in zip([0, *ends], ends, strict=False):
        formats = {found.at(sample).format for sample in range(start, end)}
        assert len(formats) <= 1 or {fmt.channels for fmt in formats} == {1}


stretches = st.lists(
    st.builds(Stretch, st.sampled_from([PLAIN, FAST, TWO, LAW]), st.integers(1, 9), st.integers(0, 9)),
    min_size=1,
)


@given(stretches, st.integers(0, 200), st.integers(0, 200))
@settings(deadline=None)
def test_what_a_stretch_lacks_is_what_it_has_of_each_void(made: list[Stretch], start: int, end: int) -> None:
    # Times of 125 and 62.5 us a sample: none is rounded as long as voids are of an even number.
    made = [one._replace(void=2 * one.void, samples=2 * one.samples) for one in made]
    found, start, end, at, lacking = segments(*made), 2 * start, 2 * end, 0, 0.0
    for one in made:
        lacking += found.seconds(max(start, at), min(end, at + one.void))
        at += one.void + one.samples
    assert found.void_s(start, end) == pytest.approx(lacking, abs=1e-9)


def test_thousands_of_voids_are_looked_at_as_fast_as_one() -> None:
    """Of positions in microseconds each entry is behind a void: this would take an hour."""
    found, look = Segments(nothing_yet()), 20_000
    for n in range(look):
        found.begin(PLAIN, 8160 * n, 320 * n, 8000 if n else 0)
        assert found.void_s(0, 8160 * n + 160) == n
        assert found.after(8160 * n + 1) is None
    assert found.void_s(8160 * 7, 8160 * 9 - 4000) == 1.5

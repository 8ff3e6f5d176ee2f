"""What came twice: told by `seq` and audio, also where numbers say nothing, or silence looks alike."""

import os
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.repeats import MOST_ALIKE, REPEAT_WINDOW, TWIN_SHOWN, Repeats, is_of_one_value
from trio_asr.wire.frames import Frame

SIZE = 320
QUIET = bytes(SIZE)


def frame(seq: int | None, pcm: bytes, ms: int | None = None) -> Frame:
    made = Frame("call", pcm, 8000, seq, ms)
    made.digest = hash(pcm) ^ (ms or 0)
    return made


def sound(n: int) -> bytes:
    """The audio of a frame, as no other is."""
    return (b"%d." % n).rjust(8) * (SIZE // 8)


def taken(frames: Iterable[Frame]) -> list[bytes]:
    repeats = Repeats()
    return [one.pcm for each in frames for one in repeats.news(each)]


def numbered(parts: Iterable[bytes], number: range | list[int], ms: int | None = None) -> list[Frame]:
    """Frames of so much audio, whose numbers come round; with times from `ms` on, or none."""
    return [
        frame(number[n % len(number)], pcm, None if ms is None else ms + 20 * n)
        for n, pcm in enumerate(parts)
    ]


def speech_and_silence() -> list[bytes]:
    """1 s of speech, 2 s of digital silence, 1 s of speech."""
    return [sound(n) for n in range(50)] + [QUIET] * 100 + [sound(n) for n in range(50, 100)]


def test_every_frame_twice_is_every_frame_once() -> None:
    parts = [sound(n) for n in range(5)]
    assert taken(one for each in numbered(parts, range(100)) for one in (each, each)) == parts


@given(st.lists(st.integers(0, 400), max_size=700))
def test_a_repeat_is_one_of_the_last_frames_that_were_none(numbers: list[int]) -> None:
    repeats, last = Repeats(), list[int]()
    for number in numbers:
        one = frame(number, sound(number), number * 20)
        assert repeats.knows(one) == (number in last)
        assert repeats.is_repeat(one) == (number in last)
        if number not in last:
            last = [*last, number][-REPEAT_WINDOW:]


@given(st.integers(1, 40))
def test_a_batch_is_noted_as_its_frames_are(size: int) -> None:
    repeats = Repeats()
    frames = [frame(n, sound(n)) for n in range(-5, 10 * REPEAT_WINDOW)]
    for at in range(0, len(frames), size):
        assert repeats.all_new(frames[at : at + size])
        assert not repeats.all_new(frames[at : at + size])
        assert len(repeats._digests) <= 2 * REPEAT_WINDOW
        assert len(repeats._runs) == 1
    assert [repeats.knows(one) for one in frames] == [False] * (len(frames) - REPEAT_WINDOW) + [True] * 256


def test_the_same_audio_under_the_same_number_is_one_whatever_its_time() -> None:
    """Two that take in one call side by side."""
    parts = [sound(n) for n in range(20)]
    one, other = numbered(parts, range(99), 1_700_000_000_000), numbered(parts, range(99), 1_700_000_000_013)
    assert taken(each for pair in zip(one, other, strict=True) for each in pair) == parts
    assert taken([*one, *other]) == parts
    assert taken([*one, *numbered(parts, range(99))]) == parts, "and if it has none"


def test_frames_without_a_number_are_never_repeats() -> None:
    assert len(taken([frame(None, sound(1))] * 9)) == 9


# -- numbers that say nothing --------------------------------------------------------------------------


@pytest.mark.parametrize("ms", [None, 0, 1_700_000_000_000])
@pytest.mark.parametrize(
    "number",
    [[0], [7], range(2), range(10), range(64), range(65), range(100), range(1, 101), range(255)],
)
def test_no_silence_is_lost_where_numbers_come_round(number: range | list[int], ms: int | None) -> None:
    parts = speech_and_silence()
    assert taken(numbered(parts, number, ms)) == parts
    parts = [QUIET] * 130 + parts * 3 + [QUIET] * 9 + [sound(1000)]
    assert taken(numbered(parts, number, ms)) == parts


@pytest.mark.parametrize("number", [[0], range(100), range(64)])
def test_the_same_constant_time_says_nothing_either(number: range | list[int]) -> None:
    parts = speech_and_silence() * 2
    frames = numbered(parts, number)
    for one in frames:
        one.timestamp_ms = 0
    assert taken(frames) == parts


def test_a_tone_under_a_constant_number_is_taken_once_that_is_seen() -> None:
    """A ringing tone may have whole periods in each frame."""
    tone = sound(1)
    assert len(taken(frame(0, tone) for _ in range(100))) == 100
    assert len(taken(frame(0, tone) for _ in range(MOST_ALIKE))) == 1


def test_two_frames_under_one_number_make_numbers_say_nothing() -> None:
    assert (
        taken([frame(5, b"ab" * 9), frame(5, b"cd" * 9), frame(5, QUIET), frame(5, QUIET)])[2:] == [QUIET] * 2
    )


def test_numbers_that_rise_for_long_are_believed_again() -> None:
    repeats = Repeats()
    repeats.teach([frame(5, sound(1)), frame(5, sound(2))])
    assert repeats._rising
    later = [frame(n, sound(n)) for n in range(6, 6 + REPEAT_WINDOW)]
    assert not any(map(repeats.is_repeat, later))
    assert not repeats.void
    assert all(map(repeats.is_repeat, later[-9:]))


def test_a_series_that_begins_anew_has_repeats_of_its_own() -> None:
    first = [frame(n, sound(n)) for n in range(1, 101)]
    anew = [frame(n, sound(1000 + n)) for n in range(1, 101)]
    frames = [*first, first[-1], anew[0], anew[0], *(one for each in anew[1:] for one in (each, each))]
    assert taken(frames) == [one.pcm for one in [*first, *anew]]


# -- silence -------------------------------------------------------------------------------------------


def test_silence_is_a_repeat_if_all_of_it_is_the_same() -> None:
    assert taken([frame(1, QUIET, 20), frame(1, QUIET, 20), frame(2, QUIET, 40)]) == [QUIET] * 2
    assert taken([frame(1, QUIET, 20), frame(1, QUIET, 21), frame(2, QUIET, 40)]) == [QUIET] * 3


@pytest.mark.parametrize("behind", [0, 1, 7])
def test_the_silence_of_a_twin_is_known_by_the_sound_before_it(behind: int) -> None:
    parts = [sound(n) for n in range(TWIN_SHOWN)] + [QUIET] * 200 + [sound(n) for n in range(900, 903)]
    one, other = numbered(parts, range(999), 0), numbered(parts, range(999), 3)
    frames = []
    for n in range(len(parts) + behind):
        frames += one[n : n + 1]
        if n >= behind:
            frames.append(other[n - behind])
    assert taken(frames) == parts


def test_too_little_sound_shows_no_twin() -> None:
    parts = [sound(n) for n in range(TWIN_SHOWN - 1)] + [QUIET] * 3
    one, other = numbered(parts, range(99), 0), numbered(parts, range(99), 3)
    assert len(taken(each for pair in zip(one, other, strict=True) for each in pair)) == len(parts) + 3


@pytest.mark.parametrize("pcm", [b"", b"\1", b"\1\2", bytes(320), b"\1\2" * 9, b"\1\2" * 9 + b"\1"])
def test_what_is_of_one_value(pcm: bytes) -> None:
    assert is_of_one_value(pcm)
    assert not is_of_one_value(pcm + os.urandom(2) + b"\7\7\7\0")


@given(
    st.lists(st.tuples(st.integers(-3, 300), st.integers(0, 3), st.none() | st.integers(0, 9)), max_size=400)
)
def test_of_no_frames_are_more_taken_than_came(frames: list[tuple[int, int, int | None]]) -> None:
    made = [frame(seq, sound(n) if n else QUIET, ms) for seq, n, ms in frames]
    repeats = Repeats()
    found = [one for each in made for one in repeats.news(each)]
    assert len(found) <= len(made)
    places = [next(at for at, each in enumerate(made) if each is one) for one in found]
    assert places == sorted(set(places)), "in order, none twice"
    assert len(repeats._digests) <= 2 * REPEAT_WINDOW

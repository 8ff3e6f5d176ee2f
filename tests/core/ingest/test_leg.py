"""Where a leg's audio lies, by its own samples and by its platform's clock."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import pytest

from trio_asr.core.ingest.leg import Leg, PlatformClock
from trio_asr.wire.audio_format import Format, audio_format

MULAW = audio_format(8000, "mulaw")
FRAME = b"\x01" * 160  # 20 ms


def leg(fmt: Format = MULAW) -> Leg:
    return Leg(fmt, PlatformClock())


class Placed(NamedTuple):
    """Where audio lies, and what the clock said before it."""

    position: int
    audio: bytes
    missing: int = 0
    restarted: bool = False


def place(of: Leg, audio: bytes, at_ms: float | None, elapsed_ms: float) -> Placed:
    restarts = of.restarts
    position, whole = of.place(audio, at_ms, elapsed_ms)
    missing, of.missing = sum(of.missing), []
    return Placed(position, whole, missing, of.restarts > restarts)


def positions(of: Leg, times_ms: list[float], elapsed_ms: float = 0) -> list[int]:
    """Where frames of 20 ms lie that come at once, by the times of the platform."""
    return [place(of, FRAME, at_ms, elapsed_ms).position for at_ms in times_ms]


@pytest.mark.parametrize("first_ms", [0, 8, 102, 155, 171, 1_790_000_000_123])
def test_the_first_frame_is_at_zero_and_jitter_does_not_count(first_ms: float) -> None:
    jitter = [0, 2, -2, 1, -1, 2, 0]
    times = [first_ms + 20 * n + off for n, off in enumerate(jitter)]
    assert positions(leg(), times) == [160 * n for n in range(7)]


def test_what_the_clock_has_passed_over_is_missing() -> None:
    of = leg()
    assert positions(of, [0, 20]) == [0, 160]
    assert place(of, FRAME, 100, 100) == Placed(800, FRAME, missing=480)
    assert place(of, FRAME, 121, 120) == Placed(960, FRAME)


def test_one_lost_frame_of_twenty_milliseconds_is_missing() -> None:
    of = leg()
    assert positions(of, [0, 20, 60, 80]) == [0, 160, 480, 640]


def test_a_burst_at_the_start_is_taken_as_it_is() -> None:
    of = leg()
    assert positions(of, [20.0 * n for n in range(250)]) == [160 * n for n in range(250)]


def test_a_hole_is_no_longer_than_the_time_that_has_passed_and_some_seconds() -> None:
    of = leg()
    place(of, FRAME, 0, 0)
    assert place(of, FRAME, 600_000, 1000) == Placed(160, FRAME, restarted=True)
    assert place(of, FRAME, 600_020, 1020) == Placed(320, FRAME)
    assert place(of, FRAME, 605_000, 1040) == Placed(480 + 39_680, FRAME, missing=39_680)


def test_nor_longer_than_what_workers_believe() -> None:
    of = leg()
    place(of, FRAME, 0, 0)
    assert place(of, FRAME, 3_600_000, 3_600_000) == Placed(160, FRAME, restarted=True)


def test_a_clock_that_goes_back_begins_anew() -> None:
    of = leg()
    positions(of, [0, 20, 40])
    assert place(of, FRAME, 5, 60) == Placed(480, FRAME, restarted=True)
    assert place(of, FRAME, 25, 80) == Placed(640, FRAME)
    assert place(of, FRAME, 85, 140) == Placed(1120, FRAME, missing=320)


def test_part_of_a_sample_waits_for_the_rest() -> None:
    of = leg(audio_format(8000, "linear16"))
    assert place(of, b"abc", None, 0) == Placed(0, b"ab")
    assert of.incomplete
    assert place(of, b"d", None, 0) == Placed(1, b"cd")
    assert place(of, b"", None, 0) == Placed(2, b"")
    assert not of.incomplete


def test_a_leg_without_a_clock_goes_on_where_it_was() -> None:
    of = leg()
    assert [place(of, FRAME, None, elapsed).position for elapsed in (0, 5000, 60_000)] == [0, 160, 320]
    of.skip(800)
    assert place(of, FRAME, None, 60_000).position == 1280


def test_what_was_missing_only_by_jitter_is_taken_back() -> None:
    """Times may be those of sending: one that is late does not move all that follows, again and again."""
    of = leg()
    assert place(of, FRAME, 0, 0) == Placed(0, FRAME)
    assert place(of, FRAME, 50, 50) == Placed(400, FRAME, missing=240)
    assert place(of, FRAME, 40, 50) == Placed(560, FRAME)
    assert (of.shift, of.late) == (240, 240)
    assert place(of, FRAME, 90, 90) == Placed(720, FRAME)  # once is enough
    assert place(of, FRAME, 80, 90) == Placed(880, FRAME)
    assert place(of, FRAME, 150, 150) == Placed(1200, FRAME, missing=160)  # what is later still adds that
    assert place(of, FRAME, 120, 150) == Placed(1360, FRAME)


@pytest.mark.parametrize("jitter_ms", [10, 20, 40, 200])
def test_jitter_adds_no_more_than_itself(jitter_ms: int) -> None:
    of, late = leg(), Random(1)
    for n in range(30_000):
        of.place(FRAME, 20 * n + late.randrange(jitter_ms), 20 * n)
    assert 0 <= of.next - 30_000 * 160 <= 2 * jitter_ms * 8


def test_the_first_messages_may_have_no_time() -> None:
    of = leg()
    assert place(of, FRAME, None, 0) == Placed(0, FRAME)
    assert place(of, FRAME, 1020, 20) == Placed(160, FRAME)
    assert place(of, FRAME, 1060, 60) == Placed(480, FRAME, missing=160)


# -- two legs of one clock -----------------------------------------------------------------------------------


def test_the_second_leg_is_placed_by_the_clock_of_the_first() -> None:
    clock = PlatformClock()
    one, two = Leg(MULAW, clock), Leg(MULAW, clock)
    assert positions(one, [100 + 20 * n for n in range(50)]) == [160 * n for n in range(50)]
    assert place(two, FRAME, 1080, 1000) == Placed(7840, FRAME)
    assert place(two, FRAME, 1100, 1020) == Placed(8000, FRAME)


def test_less_than_the_jitter_between_the_first_frames_is_none() -> None:
    clock = PlatformClock()
    one, two = Leg(MULAW, clock), Leg(MULAW, clock)
    assert positions(one, [100, 120]) == [0, 160]
    assert positions(two, [112, 132, 152]) == [0, 160, 320]


def test_a_second_leg_that_counts_from_its_own_beginning_goes_where_the_first_is() -> None:
    clock = PlatformClock()
    one, two = Leg(MULAW, clock), Leg(MULAW, clock)
    for n in range(250):
        place(one, FRAME, 20 * n, 20 * n)
    assert positions(two, [0, 20, 40], 4980) == [249 * 160, 250 * 160, 251 * 160]


def test_and_where_the_first_would_be_if_that_is_silent() -> None:
    clock = PlatformClock()
    one, two = Leg(MULAW, clock), Leg(MULAW, clock)
    positions(one, [100, 120])
    assert positions(two, [0, 20], 20_000) == [160_160, 160_320]


def test_a_second_leg_is_of_the_same_clock_however_long_the_first_has_been_silent() -> None:
    clock = PlatformClock()
    one, two = Leg(MULAW, clock), Leg(MULAW, clock)
    positions(one, [100, 120])
    assert place(two, FRAME, 20_100, 20_020) == Placed(160_000, FRAME)
    assert place(one, FRAME, 20_120, 20_040) == Placed(160_160, FRAME, missing=159_840)


def test_a_second_leg_is_of_the_same_clock_if_they_come_in_turns_of_seconds() -> None:
    clock = PlatformClock()
    one, two = Leg(MULAW, clock), Leg(MULAW, clock)
    positions(one, [100 + 20 * n for n in range(100)], 2000)
    assert positions(two, [110 + 20 * n for n in range(100)], 2050) == [160 * n for n in range(100)]


def test_audio_that_comes_after_silence_went_out_is_later_and_a_pause_gives_that_back() -> None:
    of = leg()
    positions(of, [0, 20])
    of.fill(2400)  # silence up to 300 ms
    assert positions(of, [40, 60, 80], 320) == [2400, 2560, 2720]
    assert of.shift == 2080
    assert place(of, FRAME, 300, 340) == Placed(2880, FRAME)  # it is 60 ms late still: 80..280 were a pause
    assert of.shift == 480
    assert place(of, FRAME, 600, 620) == Placed(4800, FRAME, missing=1760)
    assert of.shift == 0


def test_a_leg_that_was_silent_goes_on_at_its_time() -> None:
    """What went out for it was nothing that it owed."""
    of = leg()
    positions(of, [0, 20])
    of.fill(2400)
    assert place(of, FRAME, 330, 340) == Placed(2640, FRAME, missing=240)
    assert of.shift == 0

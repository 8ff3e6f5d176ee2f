"""Where in its call a series begins."""

from __future__ import annotations

import math

import msgspec
import pytest

from trio_asr.core.ingest.origin import MOST_GAP_S, origin
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.call_entries import Past, decode_past

MULAW, STEREO, WIDE = (
    audio_format(8000, "mulaw"),
    audio_format(8000, "mulaw", 2),
    audio_format(16_000, "mulaw"),
)
NOW_MS = 1_790_000_000_000.0


def test_the_first_series_of_a_call_begins_it() -> None:
    assert origin(0, None, NOW_MS, MULAW) == (0, Past("mulaw", 8000, 1, NOW_MS, 0, 0))


def test_the_next_one_begins_where_the_clock_is() -> None:
    past = Past("mulaw", 8000, 1, NOW_MS, 0, 10)
    assert past.at_ms(8000) == NOW_MS + 1000
    assert origin(8000, past, NOW_MS + 3500, MULAW) == (28_000, past)


def test_nothing_begins_before_what_is_stored() -> None:
    past = Past("mulaw", 8000, 1, NOW_MS, 0, 10)
    assert origin(8000, past, NOW_MS + 500, MULAW) == (8000, past)


def test_another_format_counts_the_time_between_in_its_own_samples() -> None:
    past = Past("mulaw", 8000, 1, NOW_MS, 0, 10, 3, 7900)
    assert origin(8000, past, NOW_MS + 1500, WIDE) == (
        16_000, Past("mulaw", 16_000, 1, NOW_MS + 1500, 16_000, 10, 3, 7900),
    )  # fmt: skip
    start, anchored = origin(8000, past, NOW_MS + 1500, STEREO)
    assert (start, anchored.channels, anchored.at_ms(12_000)) == (12_000, 2, NOW_MS + 1500)


def test_no_hole_is_longer_than_what_workers_believe() -> None:
    past = Past("mulaw", 8000, 1, NOW_MS, 0, 10)
    day_ms = 86_400_000
    start, anchored = origin(8000, past, NOW_MS + day_ms, MULAW)
    assert start == 8000 + MOST_GAP_S * 8000
    assert anchored.at_ms(start) == NOW_MS + day_ms


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 0},
        {"rate": 10**9},
        {"channels": 3},
        {"anchor_ms": math.nan},
        {"anchor_ms": math.inf},
        {"anchor": -1},
        {"seq": 2**60},
        {"number_end": -1},
    ],
)
def test_what_makes_no_sense_is_not_remembered(change: dict[str, float]) -> None:
    """It would end in a division by zero, or in a place that no worker takes."""
    past = Past("alaw", 16_000, 2, NOW_MS, 5, 6, 7, 8)
    assert decode_past(msgspec.structs.replace(past, **change).encode()) is None


def test_what_is_remembered_can_be_read_again() -> None:
    past = Past("alaw", 16_000, 2, NOW_MS + 0.25, 5, 6, 7, 8)
    assert decode_past(past.encode()) == past
    assert [decode_past(data) for data in (b"", b"\xc1", b"\x90", b"nonsense", past.encode() + b"x")] == [
        None
    ] * 5

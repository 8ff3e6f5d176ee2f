"""Beats: what is written is read, what cannot be meant is refused, what later versions add is passed over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trio_asr.config.fleet import MAX_SHARDS
from trio_asr.core.fleet.beat import Beat, Load, natural

PLAIN: dict[str, Any] = {"member": "a", "incarnation": "1"}


def read(**fields: Any) -> Beat:
    return Beat.read(json.dumps(PLAIN | fields).encode())


def test_what_is_written_is_read() -> None:
    beat = Beat(
        member="a",
        incarnation="1",
        generation="2.10",
        capacity=700,
        draining=1.5,
        held={7: Load(120.0, 48, 0.25)},
        handing=frozenset({7}),
        wants=frozenset({3}),
        limit=50,
    )
    assert Beat.read(beat.encode()) == beat


def test_a_lag_may_count_from_1970() -> None:
    """The ids of a stream are times, unless its server's clock or a producer says otherwise."""
    late = Beat(member="a", incarnation="1", held={0: Load(1.0, 1, 1_800_000_000.0)})
    assert Beat.read(late.encode()) == late


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert read(mood="good") == Beat(member="a", incarnation="1")


@pytest.mark.parametrize(
    "data", [b"", b"7", b"{}", b'{"member":"a"}', b"\xff", b"[" * 100_000, b'{"member":7,"incarnation":"1"}']
)
def test_what_is_no_beat_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Beat.read(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"member": ""},
        {"member": "m" * 101},
        {"capacity": 0},
        {"capacity": 100_001},
        {"draining": -1},
        {"held": {str(MAX_SHARDS): [0, 0, 0]}},
        {"held": {"-1": [0, 0, 0]}},
        {"held": {"1": [-1, 0, 0]}},
        {"handing": [MAX_SHARDS]},
        {"wants": list(range(101))},
        {"limit": -1},
    ],
    ids=str,
)
def test_values_out_of_bounds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(**fields)


def test_values_at_the_bounds_are_read() -> None:
    beat = read(member="m" * 100, capacity=100_000, held={str(MAX_SHARDS - 1): []}, wants=list(range(100)))
    assert beat.held == {MAX_SHARDS - 1: Load()}


def test_a_beat_of_ten_shards_is_small() -> None:
    held = {1000 + i: Load(3600.123456789, 50, 0.123456789) for i in range(10)}
    beat = Beat(member="worker-123.example-1", incarnation="0123456789abcdef", capacity=700, held=held)
    assert len(beat.encode()) < 600


def test_generations_are_ordered_by_their_numbers() -> None:
    names = ["v2", "v10", "0.9", "0.10", "1.9", "1.10"]
    assert sorted(names, key=natural) == names

"""What goes over the wire twice a second, and what is refused there."""

from __future__ import annotations

import msgspec
import pytest

from trio_asr.core.fleet.beat import Beat, Load, natural


def test_a_beat_is_read_as_it_was_written() -> None:
    beat = Beat(
        member="a",
        incarnation="1",
        generation="2.1",
        capacity=700,
        draining=1.5,
        held={7: Load(rested_s=3.0, calls=50, lag_s=0.5)},
        handing=frozenset({7}),
        wants=frozenset({9}),
        connections=50,
        limit=60,
        cpu=0.25,
    )
    assert Beat.read(beat.encode()) == beat


def test_defaults_take_no_room() -> None:
    assert Beat(member="a", incarnation="1").encode() == b'{"member":"a","incarnation":"1"}'


def test_fields_of_a_later_version_are_passed_over() -> None:
    data = b'{"member":"a","incarnation":"1","mood":"good","held":{"3":[1.0,2,0.5,"more"]}}'
    assert Beat.read(data) == Beat(member="a", incarnation="1", held={3: Load(1.0, 2, 0.5)})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("member", ""),
        ("member", "x" * 101),
        ("capacity", 0),
        ("capacity", 100_001),
        ("draining", -1),
        ("held", {"16384": [0, 0, 0]}),
        ("held", {"-1": [0, 0, 0]}),
        ("held", {"1": [-1, 0, 0]}),
        ("wants", list(range(101))),
        ("handing", ["a"]),
        ("limit", 2**40),
        ("cpu", 1e300),
    ],
)
def test_what_cannot_be_meant_is_refused(field: str, value: object) -> None:
    data = msgspec.json.encode({"member": "a", "incarnation": "1", field: value})
    with pytest.raises(ValueError):
        Beat.read(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_beat_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Beat.read(data)


def test_numbers_in_a_generation_count_as_numbers() -> None:
    names = ["1.10", "1.9", "2", "1.9-rc2", "1.9-rc10"]
    assert sorted(names, key=natural) == ["1.9", "1.9-rc2", "1.9-rc10", "1.10", "2"]

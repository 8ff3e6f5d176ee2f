"""Entry ids, and what may be said of an entry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.wire import ids

ENTRY_IDS = st.builds("{}-{}".format, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


def _pair(entry: str) -> tuple[int, int]:
    ms, seq = entry.split("-")
    return int(ms), int(seq)


@given(ENTRY_IDS, ENTRY_IDS)
def test_keys_are_ordered_as_redis_orders_ids(one: str, other: str) -> None:
    assert (ids.key(one) < ids.key(other)) == (_pair(one) < _pair(other))
    assert (ids.key(one) == ids.key(other)) == (one == other)


@given(ENTRY_IDS)
def test_nothing_lies_between_an_id_and_the_one_before_it(entry: str) -> None:
    before = ids.before(entry)
    assert ids.key(before) == max(0, ids.key(entry) - 1)
    assert all(0 <= part < 2**64 for part in _pair(before))


@given(ENTRY_IDS, st.integers(0, 10_000))
def test_earlier_is_the_first_id_of_its_millisecond(entry: str, by_ms: int) -> None:
    ms = ids.milliseconds(entry)
    assert ids.earlier(entry, by_ms) == f"{max(0, ms - by_ms)}-0"


def test_an_id_without_a_sequence_is_the_first_of_its_millisecond() -> None:
    assert ids.key("7") == ids.key("7-0")


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([b"data", b"1"], b"1"),
        ([b"x", b"0", b"data", b"1", b"data", b"2"], b"1"),
        ([b"x", b"data"], None),
        ([b"x", b"data", b"data"], None),
        ([], None),
    ],
)
def test_field_looks_at_names_only(fields: list[bytes], value: bytes | None) -> None:
    assert ids.field(fields, b"data") == value


@given(st.text() | st.integers() | st.binary() | st.none(), st.integers(10, 100))
def test_what_is_shown_is_one_line_and_short(value: object, limit: int) -> None:
    shown = ids.show(value, limit)
    assert len(shown) <= limit
    assert shown.isprintable()

"""`meta`: an object that an event can carry, or the reason why it cannot; the audio comes either way."""

from __future__ import annotations

import datetime as dt
import json
import sys
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_asr.wire.entries import decode_frame
from trio_asr.wire.meta import MAX_META_BYTES, MAX_META_DEPTH, BadMeta, origin, read_meta

pack = msgspec.msgpack.encode
META = {
    "campaign": "spring",
    "queue": ["sales", "de"],
    "score": 0.5,
    "vip": True,
    "agent": None,
    "n": -(2**63),
}
# On the fast path and on the lenient one.
WAYS = pytest.mark.parametrize("odd", [{}, {"seq": "1"}])


def _in_json(meta: bytes, odd: dict[str, Any]) -> msgspec.Raw:
    rest = json.dumps({"interaction_id": "call", "audio": "AAAA"} | odd)[1:].encode()
    frame = decode_frame([b"data", b'{"meta":' + meta + b"," + rest], 8000)
    assert (frame.pcm, frame.odd) == (b"\0\0\0", bool(odd))
    return frame.meta


def _packed(meta: bytes, odd: dict[str, Any]) -> msgspec.Raw:
    document = {"meta": msgspec.Raw(meta), "interaction_id": "call", "audio": b"\0\0\0"} | odd
    frame = decode_frame([b"m", pack(document)], 8000)
    assert (frame.pcm, frame.odd) == (b"\0\0\0", bool(odd))
    return frame.meta


@WAYS
def test_an_object_comes_through(odd: dict[str, Any]) -> None:
    assert read_meta(_in_json(json.dumps(META).encode(), odd)) == META
    assert read_meta(_in_json(b" \n" + json.dumps(META, indent=2).encode() + b" ", odd)) == META
    assert read_meta(_packed(pack(META), odd)) == META
    assert read_meta(_in_json(b"{}", odd)) == read_meta(_packed(pack({}), odd)) == {}


@WAYS
def test_none_is_an_empty_one(odd: dict[str, Any]) -> None:
    document = {"interaction_id": "call", "audio": "AAAA"} | odd
    assert read_meta(decode_frame([b"data", json.dumps(document).encode()], 8000).meta) == {}
    assert read_meta(_in_json(b"null", odd)) == read_meta(_packed(pack(None), odd)) == {}


@WAYS
@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_it_does_not_keep_its_entry_in_memory(size: int, odd: dict[str, Any]) -> None:
    """A frame may wait for long, and what it holds is counted by its audio."""
    document = {"interaction_id": "call", "audio": "AAAA", "meta": {"a": "x" * size}} | odd
    for name, data in ((b"data", msgspec.json.encode(document)), (b"m", pack(document))):
        fields = [name, data]
        before = sys.getrefcount(data)
        frame = decode_frame(fields, 8000)
        assert sys.getrefcount(data) == before
        assert len(memoryview(frame.meta)) <= MAX_META_BYTES + 1


def _sized(size: int) -> dict[str, str]:
    return {"a": "x" * (size - len('{"a":""}'))}


@WAYS
def test_its_size_is_that_in_the_entry(odd: dict[str, Any]) -> None:
    most = _sized(MAX_META_BYTES)
    longer = _sized(MAX_META_BYTES + 1)
    assert read_meta(_in_json(msgspec.json.encode(most), odd)) == most
    assert read_meta(_packed(pack(longer), odd)) == longer  # which is shorter in MessagePack
    for meta in (
        _in_json(msgspec.json.encode(longer), odd),
        _in_json(b'{"a":' + b" " * 5000 + b"1}", odd),
        _in_json(b"[" + b"0," * 50_000 + b"0]", odd),
        _packed(pack({"a": b"x" * 5000}), odd),
    ):
        assert _bad(meta) == "meta has more than 4096 bytes"


def _bad(meta: msgspec.Raw) -> str:
    with pytest.raises(BadMeta) as bad:
        read_meta(meta)
    return str(bad.value)


@WAYS
@pytest.mark.parametrize("value", [[], [{}], "text", "", 0, 5, 123, -1, 1.5, True, False])
def test_anything_but_an_object_is_bad(value: Any, odd: dict[str, Any]) -> None:
    assert _bad(_in_json(json.dumps(value).encode(), odd)) == "meta is not an object"
    said = _bad(_packed(pack(value), odd))
    # Small numbers are one byte in MessagePack, and that byte a character of no JSON.
    one_byte = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 128
    assert said == ("meta cannot be decoded" if one_byte and value != 48 else "meta is not an object")


def _nested(levels: int, kind: type) -> Any:
    value: Any = {} if kind is dict else []
    for _ in range(levels - 1):
        value = {"a": value} if kind is dict else [value]
    return value


@WAYS
@pytest.mark.parametrize("kind", [dict, list])
def test_it_may_be_nested_a_little(kind: type, odd: dict[str, Any]) -> None:
    good = {"a": _nested(MAX_META_DEPTH - 1, kind)}
    assert read_meta(_in_json(msgspec.json.encode(good), odd)) == good
    assert read_meta(_packed(pack(good), odd)) == good
    for levels in (MAX_META_DEPTH, 100, 500):
        deep = {"a": _nested(levels, kind)}
        for meta in (_in_json(msgspec.json.encode(deep), odd), _packed(pack(deep), odd)):
            assert _bad(meta) == "meta is nested deeper than 16 levels"


@WAYS
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": b"x"}, "meta has a value of the type bytes"),
        ({"a": [{"b": b""}]}, "meta has a value of the type bytes"),
        ({"a": msgspec.msgpack.Ext(5, b"x")}, "meta has a value of the type Ext"),
        ({"a": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, "meta has a value of the type datetime"),
        ({"a": float("nan")}, "meta has a number that is not finite"),
        ({"a": [float("-inf")]}, "meta has a number that is not finite"),
        ({1: 2}, "meta has a key that is not a string"),
        ({"a": {None: 2}}, "meta has a key that is not a string"),
        ({b"a": 1}, "meta has a key that is not a string"),
        ({(1, 2): 1}, "meta has a key that is not a string"),
    ],
)
def test_what_json_cannot_hold(value: Any, reason: str, odd: dict[str, Any]) -> None:
    assert _bad(_packed(pack(value), odd)) == reason


@WAYS
@pytest.mark.parametrize("meta", [b"\x81\xa1\xff\x01", b"\x81\xa1a\xa1\xff", b"\x81\x81\x01\x02\x03"])
def test_messagepack_that_no_decoder_takes(meta: bytes, odd: dict[str, Any]) -> None:
    """Text that is no UTF-8, a key that is a map: they can be skipped all the same."""
    assert _bad(_packed(meta, odd)) == "meta cannot be decoded"


@WAYS
@pytest.mark.parametrize("meta", [b'{"a":1e400}', b'{"a":"\xff"}'])
def test_json_that_no_decoder_takes(meta: bytes, odd: dict[str, Any]) -> None:
    assert _bad(_in_json(meta, odd)) == "meta cannot be decoded"


def test_a_reason_says_nothing_of_what_is_in_it() -> None:
    for value in ({"secret": b"x"}, {b"secret": 1}, ["secret"], {"secret": "x" * 5000}, {"secret": [[b"x"]]}):
        assert "secret" not in _bad(_packed(pack(value), {}))


keys = st.text(max_size=5) | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=3) | st.none()
packable = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=9) | st.builds(msgspec.msgpack.Ext, st.integers(0, 127), st.binary(max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
)  # fmt: skip


@given(packable)
def test_any_value_is_an_object_that_json_holds_or_bad(value: Any) -> None:
    with suppress(BadMeta):
        read = read_meta(_packed(pack(value), {}))
        assert msgspec.json.decode(msgspec.json.encode(read)) == read == (value or {})


@given(st.binary(max_size=30))
@example(b"")
@example(b"{")
@example(b"\x81")
@example(b'{"a":' + b"9" * 4000 + b"}")
@example(b"{" * 3000)
@example(b"\x91" * 4096)
def test_no_bytes_raise_anything_but_bad_meta(data: bytes) -> None:
    with suppress(BadMeta):
        msgspec.json.encode(read_meta(msgspec.Raw(data)))


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({}, ""),
        ({"platform": "twilio"}, "twilio"),
        ({"platform": "exotel", "from": "+49301", "to": "+49402"}, "exotel, from +49301 to +49402"),
        ({"ani": "tel:+49301", "dnis": "", "queue": "sales"}, "from tel:+49301"),
        ({"platform": ["x"], "from": 49301, "to": "9" * 100}, "to " + "9" * 64),
    ],
)
def test_where_a_call_comes_from(meta: dict[str, Any], says: str) -> None:
    assert origin(meta) == says

"""Bytes in text: base64 however it is wrapped, lists of numbers, and nothing that only looks like them."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.wire.entries import decode_frame
from trio_asr.wire.payload import from_base64, from_numbers


@pytest.mark.parametrize(
    "text",
    [
        "AQIDBA==", "AQIDBA", "AQIDBA=", "AQIDBA===", "AQID\r\nBA==", "AQID\r\n BA==", "AQID\n\tBA==",
        "AQID BA==", "AQID\tBA==", " AQIDBA== ", "\tAQIDBA==\n", "AQ\r\nIDBA==", "\ufeffAQIDBA==",
        "\ufeff AQIDBA==", "AQI=AwQ=", "AQ==Ag==Aw==BA==", "AQI=AwQ", "AQIDBA%3D%3D", "AQIDBA%3d%3d",
        "AQID%0D%0ABA==", "data:audio/wav;base64,AQIDBA==", "data:;base64,AQIDBA",
        "DATA:audio/pcm;rate=8000;BASE64,AQID BA%3D%3D",
    ],
)  # fmt: skip
def test_base64_in_its_wrappings(text: str) -> None:
    assert from_base64(text) == b"\1\2\3\4"


@pytest.mark.parametrize(
    "text",
    [
        "A", "AQIDB", "AQ=IDBA", "=AQID", "AQI==AwQ=", "AQIDBA\x00", '"AQIDBA=="',
        "b'AQIDBA=='", "AQIDBA\\n",
        "data:audio/wav,AQIDBA==", "data:application/octet-stream,%01%02", "AQIDBA%", "AQIDBA%ZZ", "\ud800",
        "AQID\u00a0BA==", "AQIDäA==", "base64,AQIDBA==", "AQID,BA==", "AQID.BA==", "+-/_ä",
    ],
)  # fmt: skip
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_base64(text)


@given(st.binary(min_size=1, max_size=400))
def test_percent_encoded(data: bytes) -> None:
    assert from_base64(quote(base64.b64encode(data).decode(), safe="")) == data


@given(st.binary(min_size=1, max_size=99), st.integers(0, 2**32))
def test_a_plus_that_became_a_blank_is_not_left_out(data: bytes, at: int) -> None:
    """Without it, every byte behind it would be another one."""
    text = base64.b64encode(data).decode()
    at %= len(text.rstrip("=")) - 1
    with pytest.raises(ValueError, match=r"."):
        from_base64(f"{text[:at]} {text[at + 1 :]}")


@pytest.mark.parametrize("value", [[1, 2, 255, 0], {"type": "Buffer", "data": [1, 2, 255, 0]}])
def test_bytes_as_json_writes_them(value: Any) -> None:
    assert from_numbers(value) == b"\1\2\xff\0"
    document = {"interaction_id": "call", "audio": value}
    assert decode_frame([b"data", json.dumps(document).encode()], 8000).pcm == b"\1\2\xff\0"
    assert decode_frame([b"m", msgspec.msgpack.encode(document)], 8000).pcm == b"\1\2\xff\0"
    del document["audio"]
    document["payload"] = value
    assert decode_frame([b"data", json.dumps(document).encode()], 8000).pcm == b"\1\2\xff\0"


def test_no_bytes_at_all() -> None:
    assert from_base64("") == from_base64("data:;base64,") == from_numbers([]) == b""
    assert from_numbers({"type": "Buffer", "data": []}) == b""

"""Bytes that nobody should write: JSON with all that JSON allows and does not, by hypothesis."""

from __future__ import annotations

import base64

from hypothesis import HealthCheck
from hypothesis import strategies as st

DIGITS = b"9" * 5000
#: A whole worker for each example takes its time.
UNHEALTHY = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large)


def nested(depth: int, inner: bytes = b"1", opening: bytes = b'{"a":', closing: bytes = b"}") -> bytes:
    return opening * depth + inner + closing * depth


#: Values as they stand in JSON, or should not.
VALUES = [
    b"null", b"true", b"0", b"-0", b"-1", b"1.5", b"1e400", b"-1e400", b"NaN", b"Infinity", DIGITS,
    b"-" + DIGITS,
    b'"' + DIGITS + b'"', b'"--5"', b'"+5"', b'"5_0"', b'"\\u0665"', b'" 5 "', b'"0x5"', b'"1e5"', b'"nan"',
    b'"-"', b'"\xff"', b'"\\ud800"', b'"\\u0000"', b'""', b'"{interaction_id}"', b'"{0}"',
    b'"' + b"x" * 300 + b'"',
    b"[]", b"{}", b"[[[[", nested(500), nested(940), nested(999), nested(5000), nested(999, b"1", b"[", b"]"),
    b'{"type":"Buffer","data":[1,2,3]}', b"[1,2,3]", b"9223372036854775808", b"18446744073709551616",
]  # fmt: skip
NAMES = [
    "interaction_id", "tenant_id", "trace_id", "seq", "timestamp_ms", "sample_rate", "encoding", "audio",
    "audio_data", "data", "payload", "reason", "position", "channel", "channels", "roles", "speaker", "type",
]  # fmt: skip
HEALTHY = {
    "interaction_id": b'"bad"',
    "tenant_id": b'"tenant"',
    "seq": b"1",
    "timestamp_ms": b"20",
    "sample_rate": b"8000",
    "encoding": b'"pcm16"',
    "audio": b'"' + base64.b64encode(bytes(320)) + b'"',
}


def document(fields: dict[str, bytes]) -> bytes:
    """Join values that stand for JSON to an object."""
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), value) for name, value in fields.items()) + b"}"


def cut(data: bytes, at: int, flip: int) -> bytes:
    """Cut a text short, or change one of its bytes."""
    if flip:
        place = at % max(1, len(data))
        return data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :] if data else data
    return data[: at % (len(data) + 1)]


values = st.one_of(
    st.sampled_from(VALUES),
    st.integers().map(lambda n: str(n).encode()),
    st.floats().map(lambda x: str(x).encode()),
    st.text(max_size=20).map(lambda s: b'"' + s.encode("utf-8", "surrogatepass") + b'"'),
    st.binary(max_size=20),
)
fields = st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=4)
frames = st.one_of(
    fields.map(lambda more: document({**HEALTHY, **more})),
    fields.map(document),
    st.builds(
        cut, fields.map(lambda more: document({**HEALTHY, **more})), st.integers(0, 2000), st.integers(0, 255)
    ),
    st.binary(max_size=60),
    values,
)

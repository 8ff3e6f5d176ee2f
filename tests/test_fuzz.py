"""The fuzz targets (fuzz/targets.py), bounded: the seeds, pieces of them, bytes from nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

SEEDS = Path(__file__).parent.parent / "fuzz/corpus"
FILES = sorted(path for path in SEEDS.rglob("*") if path.is_file())


def pieces(name: str) -> list[bytes]:
    """The seeds of a target, cut where JSON has its joints."""
    found: set[bytes] = set()
    for path in FILES:
        if path.parent.name == name:
            data = path.read_bytes()
            found |= {data, *data.split(b","), *data.split(b":"), *data.split(b"\n")}
    return sorted(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_seeds(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def inputs(name: str) -> st.SearchStrategy[bytes]:
    known = st.sampled_from([*pieces(name), b",", b":", b"{", b"}", b"[", b"]", b'"', b"\n", b"p", b"f"])
    number = st.one_of(st.integers(), st.floats()).map(lambda value: str(value).encode())
    return st.lists(st.one_of(known, number, st.binary(max_size=20)), max_size=12).map(b"".join)


@given(inputs("frames"))
@settings(deadline=None)
def test_frames(data: bytes) -> None:
    TARGETS["frames"](data)


@given(inputs("ends"))
@settings(deadline=None)
def test_ends(data: bytes) -> None:
    TARGETS["ends"](data)


@given(inputs("checkpoints"))
@settings(deadline=None)
def test_checkpoints(data: bytes) -> None:
    TARGETS["checkpoints"](data)


@given(inputs("handshakes"))
@settings(deadline=None, max_examples=examples(50))
def test_handshakes(data: bytes) -> None:
    TARGETS["handshakes"](data)


@given(inputs("http"))
@settings(deadline=None, max_examples=examples(50))
def test_http(data: bytes) -> None:
    TARGETS["http"](data)


@given(inputs("messages"))
@settings(deadline=None)
def test_messages(data: bytes) -> None:
    TARGETS["messages"](data)


@given(st.binary(max_size=14))
@settings(deadline=None)
def test_entry_ids(data: bytes) -> None:
    TARGETS["entry_ids"](data)


HEADS = [
    b"HTTP/1.1 101 x", b"HTTP/1.1 401 x", b"HTTP/1.1 103 x", b"HTTP/1.0 200 x", b"Upgrade: websocket",
    b"Connection: Upgrade", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"dg-error: x",
    b"Location: /", b"Sec-WebSocket-Accept: 2iYlDu5NW5rnP8c+5+Qz8YtIXAo=", b"", b"", b"5", b"hello", b"0",
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(HEADS), st.binary(max_size=9)), max_size=9), st.integers(0, 255))
@settings(deadline=None)
def test_answers(lines: list[bytes], cut: int) -> None:
    TARGETS["answers"](bytes([cut]) + b"\r\n".join(lines))


FRAMES = [
    b"\x81\x02hi", b"\x01\x00", b"\x80\x00", b"\x89\x00", b"\x8a\x01x", b"\x88\x02\x03\xe8",
    b"\x82\x7e\x00\xff",
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(FRAMES), st.binary(max_size=9)), max_size=9), st.integers(0, 255))
@settings(deadline=None)
def test_the_wire(frames: list[bytes], size: int) -> None:
    TARGETS["wire"](bytes([size]) + b"".join(frames))


WORD = st.fixed_dictionaries({"word": st.text(max_size=5), "start": st.floats(), "end": st.floats()})
ALTERNATIVE = st.fixed_dictionaries({"transcript": st.text(max_size=9), "words": st.lists(WORD, max_size=4)})
RESULT = st.fixed_dictionaries(
    {
        "type": st.just("Results"),
        "start": st.one_of(st.floats(0, 12), st.floats()),
        "duration": st.one_of(st.floats(0, 3), st.floats()),
        "is_final": st.booleans(),
        "speech_final": st.booleans(),
        "channel": st.fixed_dictionaries({"alternatives": st.lists(ALTERNATIVE, max_size=2)}),
    }
)


@given(st.lists(RESULT, max_size=12))
@settings(deadline=None)
def test_results_of_any_range(results: list[dict[str, object]]) -> None:
    TARGETS["messages"]("\n".join(json.dumps(one) for one in results).encode())

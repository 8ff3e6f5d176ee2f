"""A client's frames, in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from trio_asr.wire.client_frames import MAX_FRAGMENTS, ClientFrames, Received

MAX = 70_000


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=mask)


def read(pieces: list[bytes], most: int = MAX) -> tuple[list[Received], bytes, ClientFrames]:
    of, messages, left = ClientFrames(most), list[Received](), b""
    for piece in pieces:
        found, rest = of.take(piece)
        messages += found
        left += rest
    return messages, left, of


PAYLOADS = st.one_of(st.binary(max_size=300), st.integers(60_000, 66_000).map(bytes))
MESSAGES = st.lists(st.tuples(st.booleans(), st.lists(PAYLOADS, min_size=1, max_size=4)), max_size=5)


@given(MESSAGES, st.lists(st.integers(1, 5000), max_size=30), st.binary(max_size=20))
@settings(deadline=None)
def test_messages_come_out_whole_however_they_arrive(
    messages: list[tuple[bool, list[bytes]]], cuts: list[int], ping: bytes
) -> None:
    sent, pings = b"", b""
    for text, parts in messages:
        for n, part in enumerate(parts):
            opcode = Opcode.CONT if n else Opcode.TEXT if text else Opcode.BINARY
            sent += frame(opcode, part, fin=n == len(parts) - 1)
            pings += (one := frame(Opcode.PING, ping))
            sent += one
    pieces = list[bytes]()
    for cut in cuts:
        pieces.append(sent[:cut])
        sent = sent[cut:]
    found, left, of = read([*pieces, sent], 4 * MAX)
    assert found == [Received(b"".join(parts), text) for text, parts in messages]
    assert left == pings
    assert not of.given_up


@given(st.lists(st.binary(max_size=100), max_size=20))
@settings(deadline=None)
def test_no_bytes_raise_anything(pieces: list[bytes]) -> None:
    found, left, of = read(pieces, 1000)
    assert sum(len(one.payload) for one in found) + len(left) <= sum(map(len, pieces))
    assert not (left and of.too_large and not of.given_up)


@pytest.mark.parametrize(
    "odd",
    [
        frame(Opcode.CLOSE, b"\x03\xe8"),
        frame(Opcode.TEXT, b"{}", mask=False),
        frame(Opcode.CONT, b"{}"),
        b"\xc1\x80abcd",  # compressed, which was not agreed on
        b"\x83\x80abcd",  # an unknown opcode
    ],
    ids=["close", "unmasked", "continuation", "compressed", "opcode"],
)
def test_a_close_and_what_breaks_the_protocol_is_left_to_the_library(odd: bytes) -> None:
    """And all that follows it."""
    text = frame(Opcode.TEXT, b"after")
    found, left, of = read([frame(Opcode.TEXT, b"before") + odd, text])
    assert found == [Received(b"before", text=True)]
    assert left == odd + text
    assert of.given_up


def test_a_message_within_another_is_left_to_the_library() -> None:
    start, other = frame(Opcode.TEXT, b"a", fin=False), frame(Opcode.BINARY, b"b")
    found, left, of = read([start + other])
    assert (found, left, of.given_up) == ([], other, True)


@pytest.mark.parametrize(
    "large",
    [
        frame(Opcode.BINARY, bytes(1001)),
        b"\x82\xff" + (2**62).to_bytes(8, "big"),  # it is not waited for
        frame(Opcode.BINARY, bytes(600), fin=False) + frame(Opcode.CONT, bytes(600)),
        frame(Opcode.BINARY, b"", fin=False) + frame(Opcode.CONT, b"", fin=False) * MAX_FRAGMENTS,
    ],
)
def test_a_message_that_is_too_large(large: bytes) -> None:
    before = frame(Opcode.TEXT, b"before")
    found, left, of = read([before + large, before], 1000)
    assert (found, left) == ([Received(b"before", text=True)], b"")
    assert of.too_large.startswith("a message of")


def test_as_large_as_allowed() -> None:
    assert read([frame(Opcode.BINARY, bytes(1000))], 1000)[0] == [Received(bytes(1000), text=False)]

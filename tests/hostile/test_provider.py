"""The provider's side: whatever a peer answers or says, it costs that call's connection, and three are whole.

Calls of 16 kHz meet the hostile peer, the others the simulator; both speak the real protocol.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.hostile import junk
from tests.hostile.daemon_harness import PEER_RATE, DaemonHarness, MemoryBackend, Peer, run_daemon
from trio.testing import MockClock

BOUNDED = settings(max_examples=examples(25), deadline=None, suppress_health_check=junk.UNHEALTHY)
SECONDS = 3.0
# Dials of the hostile call until it is left alone: there is a backoff between them.
MOST_DIALS = 25
BIG = 3_000_000


def run(peer: Peer, *, most_bytes: int = 64_000_000) -> None:
    """Let a call meet the peer beside three good ones."""
    trio.run(partial(meet, peer, most_bytes=most_bytes), clock=MockClock(autojump_threshold=0))


async def meet(peer: Peer, *, most_bytes: int = 64_000_000) -> None:
    backend = MemoryBackend()
    async with run_daemon(backend, peer=peer) as one:
        await one.three_good_calls(partial(_bad, one), seconds=SECONDS)
        assert len(one.dials) - 3 <= MOST_DIALS
        assert one.counted("asr_unfinalized_bytes") <= most_bytes
        for event in backend.documents("asr_events"):
            assert all(len(value) <= 1000 for value in event.values() if isinstance(value, str)), event


async def _bad(one: DaemonHarness) -> None:
    await one.producer(9, "bad", rate=PEER_RATE).talk(SECONDS)


def answers(data: bytes, *, ends: bool = True) -> Peer:
    """Answer the handshake with these bytes."""

    async def peer(stream: trio.abc.Stream, head: bytes) -> None:
        await _said(stream, data)
        if not ends:
            await trio.sleep(3600)

    return peer


async def _said(stream: trio.abc.Stream, data: bytes) -> bool:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(data)
        return True
    return False


def refusal(status: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def upgrade(head: bytes, *headers: bytes) -> bytes:
    """The 101 that this request asks for."""
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = hashlib.sha1(key.partition(b":")[2].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    accepted = b"Sec-WebSocket-Accept: " + base64.b64encode(accept.digest())
    return b"\r\n".join([*lines, accepted, *headers, b"", b""])


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, length: int | None = None) -> bytes:
    """One unmasked WebSocket frame; `length` may say something else than there is."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | opcode
    if size < 126:
        return bytes([first, size]) + payload
    if size < 2**16:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload


def says(*pieces: bytes, every: float = 0.0, stays: float = 3600.0) -> Peer:
    """Shake hands, then send these bytes, a piece at a time, and stay."""

    async def peer(stream: trio.abc.Stream, head: bytes) -> None:
        await _said(stream, upgrade(head))
        for piece in pieces:
            await _said(stream, piece)
            await trio.sleep(every)
        with trio.move_on_after(stays):
            await _drained(stream)

    return peer


async def _drained(stream: trio.abc.Stream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await stream.receive_some():
            pass


DEEP = junk.nested(5000)
HANDSHAKES = [
    b"",
    b"\x00" * 100,
    b"HTTP/1.1",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
    b"x" * BIG,
    b"HTTP/1.1 400 Bad\r\nX: " + b"x" * BIG + b"\r\n\r\n",
    refusal("400 Bad Request", b"x" * BIG),
    refusal("429 Too Many", b'{"err_msg":"' + b"x" * BIG + b'"}'),
    refusal("400 Bad Request", DEEP),
    refusal("400 Bad Request", junk.nested(5000, b"1", b"[", b"]")),
    refusal("503 Service Unavailable", b'{"err_msg":5,"message":[],"details":{}}'),
    refusal("503 Service Unavailable", b"\xff\xfe"),
    refusal("403 Forbidden", b"", b"dg-error: " + b"x" * 10_000),
    refusal("999 What", b""),
    b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10_000,
    b"HTTP/1.1 400 Bad\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 400 Bad\r\nContent-Length: " + junk.DIGITS + b"\r\n\r\n",
]


@pytest.mark.parametrize("ends", [True, False], ids=["and-ends", "and-stays"])
@pytest.mark.parametrize("data", HANDSHAKES, ids=range(len(HANDSHAKES)))
def test_known_handshakes(data: bytes, ends: bool) -> None:
    run(answers(data, ends=ends))


@BOUNDED
@given(
    st.one_of(
        st.binary(max_size=80),
        st.builds(
            refusal,
            st.sampled_from(["400 Bad", "401 No", "429 Slow", "503 Later", "101 Yes", "204 None", "600 ?"]),
            st.one_of(junk.values, junk.fields.map(junk.document)),
        ),
        st.builds(junk.cut, st.sampled_from(HANDSHAKES[2:8]), st.integers(0, 2000), st.integers(0, 255)),
    ),
    st.booleans(),
)
def test_any_handshake(data: bytes, ends: bool) -> None:
    run(answers(data, ends=ends))


def results(**more: object) -> bytes:
    words = [{"word": "a", "start": 0, "end": 0.1, "confidence": 0.9}]
    alternative = {"transcript": "a", "confidence": 0.9, "words": words}
    document = {
        "type": "Results", "start": 0.0, "duration": 1.0, "is_final": True, "speech_final": True,
        "channel_index": [0, 1], "channel": {"alternatives": [alternative]}, **more,
    }  # fmt: skip
    return msgspec.json.encode(document)


def results_with(name: str, value: bytes) -> bytes:
    return results(**{name: 0}).replace(b'"%b":0' % name.encode(), b'"%b":%b' % (name.encode(), value), 1)


ROUTES = ["start", "duration", "is_final", "channel_index", "channel", "metadata", "from_finalize", "type"]
LITERAL: Sequence[bytes] = [
    *(frame(results_with(name, value)) for name in ROUTES for value in junk.VALUES if len(value) < 2000),
    *(frame(results_with("x", junk.nested(depth))) for depth in range(850, 1000, 7)),
    *(frame(DEEP), frame(b"[" * 100_000), frame(b""), frame(b"\xff", 1), frame(b"\x00" * 300, 2)),
]
ENDING: dict[str, tuple[bytes, ...]] = {
    "length-larger": (frame(b"x", length=2**40),),
    "length-most": (frame(b"x", length=2**63),),
    "masked": (bytes([0x81, 0x80, 0, 0, 0, 0]),),
    "reserved": (bytes([0xF1, 0]),),
    "opcode": (frame(b"", 5),),
    "big-message": (frame(b"x" * 2_000_000),),
    "close-odd": (frame(b"\x03", 8),),
    "close-low": (frame(b"\x00\x05", 8),),
    "close-reserved": (frame(b"\x03\xedwhy", 8),),
    "close-not-text": (frame(b"\x03\xe8\xff\xff", 8),),
    "ping-large": (frame(b"x" * 200, 9),),
    "ping-cut": (frame(b"x", 9, fin=False),),
    "continuation-first": (frame(b"x", 0),),
    "text-in-text": (frame(b"x", 1, fin=False), frame(b"x", 1)),
    "metadata-at-once": (frame(b'{"type":"Metadata","duration":1e300}'), frame(b"\x03\xe8", 8)),
}


@pytest.mark.parametrize("first", range(0, len(LITERAL), 60))
def test_known_messages(first: int) -> None:
    run(says(*LITERAL[first : first + 60], every=0.02))


@pytest.mark.parametrize("name", ENDING)
def test_known_ends(name: str) -> None:
    run(says(*ENDING[name]))


FLOODS = {
    "pong": frame(b"x" * 100, 10),
    "pong-empty": frame(b"", 10),
    "ping": frame(b"x" * 100, 9),
    "empty-continuation": frame(b"", 0, fin=False),
    "unknown": frame(b'{"type":"Unknown"}'),
    "empty-final": frame(results(start=0, duration=0, channel={"alternatives": []})),
    "interim": frame(results(is_final=False, speech_final=False)),
    "binary": frame(bytes(100), 2),
}


ENDED_BY_FLOOD = ("pong", "pong-empty", "empty-continuation")


@pytest.mark.parametrize("name", FLOODS)
def test_floods(name: str) -> None:
    """50,000 of one kind: no turn of the loop gets long, and the others are whole.

    Those that mean nothing and come in such numbers end their connection.
    """
    begin = frame(b"x", 1, fin=False) if "continuation" in name else b""
    taken = []

    async def peer(stream: trio.abc.Stream, head: bytes) -> None:
        await _said(stream, upgrade(head) + begin)
        with trio.move_on_after(SECONDS):
            for i in range(500):
                if not await _said(stream, FLOODS[name] * 100):
                    taken.append(i)
                    break
                await trio.sleep(0.002)

    run(peer)
    assert taken or name not in ENDED_BY_FLOOD


@BOUNDED
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.binary(max_size=40).map(frame),
            st.builds(
                lambda name, value: frame(results_with(name, value)), st.sampled_from(ROUTES), junk.values
            ),
            st.builds(frame, st.binary(max_size=130), st.integers(0, 15), fin=st.booleans()),
            st.builds(
                lambda start, duration: frame(results(start=start, duration=duration)),
                st.one_of(st.floats(-1, 10), st.floats(allow_nan=False, allow_infinity=False)),
                st.one_of(st.floats(-1, 10), st.floats(allow_nan=False, allow_infinity=False)),
            ),
        ),
        max_size=12,
    ),
    st.sampled_from([0.0, 0.3]),
)
def test_anything_said(pieces: list[bytes], every: float) -> None:
    run(says(*pieces, every=every))

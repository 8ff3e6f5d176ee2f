"""The byte stream below a connection, plain and within TLS, with trio's own as the other side."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from trio.testing import memory_stream_pair

from trio_asr.deepgram.stream import WatchedStream
from trio_asr.deepgram.tls import Tls

PIECE = 3208  # a chunk of 200 ms and its frame's header
MUCH = 4_000_000  # more than a socket's buffers hold


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.create_default_context()
    authority.configure_trust(made)
    return made


def served(stream: Any, authority: trustme.CA, name: str = "localhost") -> trio.SSLStream[Any]:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(made)
    return trio.SSLStream(stream, made, server_side=True)


@asynccontextmanager
async def sockets() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    async with trio.open_nursery() as nursery:
        there_in, there_out = trio.open_memory_channel[trio.SocketStream](0)

        async def serve(stream: trio.SocketStream) -> None:
            await there_in.send(stream)
            await trio.sleep_forever()

        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port) as ours:
            yield ours, await there_out.receive()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def pair(kind: str, authority: trustme.CA) -> AsyncIterator[tuple[WatchedStream, trio.abc.Stream]]:
    """Ours and theirs, over a socket but for "memory"."""
    if kind == "tcp":
        async with sockets() as (ours, theirs):
            yield WatchedStream(ours), theirs
        return
    async with sockets() as ends:
        raw, there = memory_stream_pair() if kind == "memory" else ends
        stream, other = WatchedStream(raw, Tls(trusting(authority), "localhost")), served(there, authority)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.do_handshake)
            await stream.handshake()
        yield stream, other


async def exactly(stream: trio.abc.Stream, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        got += await stream.receive_some(10_000)
    return bytes(got)


def text(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


ALL = pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])


@ALL
async def test_what_is_sent_arrives_both_ways_at_once(kind: str, authority: trustme.CA) -> None:
    said = text(MUCH)
    arrived = 0
    async with pair(kind, authority) as (ours, theirs), trio.open_nursery() as nursery:

        async def check(stream: trio.abc.Stream) -> None:
            nonlocal arrived
            assert await exactly(stream, MUCH) == said
            arrived += 1

        nursery.start_soon(check, ours)
        nursery.start_soon(check, theirs)
        nursery.start_soon(theirs.send_all, said)
        for start in range(0, MUCH, PIECE):
            await ours.send_all(said[start : start + PIECE])
    assert arrived == 2


@ALL
async def test_what_several_send_while_the_other_side_does_not_read_stays_whole_and_in_order(
    kind: str, authority: trustme.CA
) -> None:
    senders, each = 5, 200
    async with pair(kind, authority) as (ours, theirs), trio.open_nursery() as nursery:

        async def sends(number: int) -> None:
            for count in range(each):
                await ours.send_all(bytes([number, count]) * (PIECE // 2))

        for number in range(senders):
            nursery.start_soon(sends, number)
        await trio.testing.wait_all_tasks_blocked()
        got = await exactly(theirs, senders * each * PIECE)
    pieces = [got[start : start + PIECE] for start in range(0, len(got), PIECE)]
    assert all(piece == piece[:2] * (PIECE // 2) for piece in pieces)
    for number in range(senders):
        assert [piece[1] for piece in pieces if piece[0] == number] == list(range(each))


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_what_a_socket_takes_at_once_needs_no_waiting(kind: str, authority: trustme.CA) -> None:
    async with pair(kind, authority) as (ours, theirs):
        assert ours.send(b"now") is None
        assert await exactly(theirs, 3) == b"now"


@ALL
async def test_an_end_is_an_end(kind: str, authority: trustme.CA) -> None:
    async with pair(kind, authority) as (ours, theirs), trio.open_nursery() as nursery:
        await theirs.send_all(b"last")
        nursery.start_soon(theirs.aclose)
        assert await exactly(ours, 4) == b"last"
        assert await ours.receive_some(10) == b""
        assert await ours.receive_some(10) == b""
        await ours.aclose()  # what the other side of TLS waits for


async def test_an_end_without_that_of_tls_is_an_end(authority: trustme.CA) -> None:
    async with pair("tls", authority) as (ours, theirs):
        assert isinstance(theirs, trio.SSLStream)
        await theirs.transport_stream.aclose()
        assert await ours.receive_some(10) == b""


async def test_what_is_no_tls_breaks_the_connection(authority: trustme.CA) -> None:
    async with pair("tls", authority) as (ours, theirs):
        assert isinstance(theirs, trio.SSLStream)
        await theirs.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError, match=r"(?i)decryption|mac|record"):
            await ours.receive_some(10)
        with pytest.raises(trio.BrokenResourceError):
            ours.send(b"x")


async def test_a_certificate_for_another_name_is_refused_and_the_server_told(authority: trustme.CA) -> None:
    raw, there = memory_stream_pair()
    ours, theirs = WatchedStream(raw, Tls(trusting(authority), "localhost")), served(there, authority, "else")
    told: list[BaseException] = []

    async def serves() -> None:
        try:
            await theirs.do_handshake()
            await theirs.receive_some(1)
        except trio.BrokenResourceError as error:
            told.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serves)
        with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
            await ours.handshake()
    assert "alert" in str(told[0].__cause__).lower()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_a_server_that_speaks_no_tls(answer: bytes, authority: trustme.CA) -> None:
    raw, there = memory_stream_pair()
    ours = WatchedStream(raw, Tls(trusting(authority), "localhost"))
    if answer:
        await there.send_all(answer)
    await there.send_eof()
    with pytest.raises(ssl.SSLError):
        await ours.handshake()


async def test_a_read_after_the_close_is_refused_as_trio_refuses_it() -> None:
    """The library's reader may come back for more after our close; anything but this error ends the call."""
    async with sockets() as (raw, _):
        stream = WatchedStream(raw)
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some(1000)


async def test_sending_after_the_close_is_a_broken_connection(authority: trustme.CA) -> None:
    async with pair("tls", authority) as (ours, _):
        await ours.aclose()
        with pytest.raises(trio.BrokenResourceError):
            ours.send(b"x")

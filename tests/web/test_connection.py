"""What a peer may do with a connection: one protocol, one request at a time, limits of time and number."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.web.test_server import ask, serving

from trio_asr.web import clients, connection, server
from trio_asr.web.clients import BURST, PER_SECOND
from trio_asr.web.connection import Turns

LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
MORE = b"%b: %b\r\n"
ENOUGH_S = 60.0  # for what must happen, on any machine


async def answer(port: int, request: bytes, within: float = ENOUGH_S) -> bytes:
    """Return all that comes back, until the end or for so long."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        data = b""
        with trio.move_on_after(within), suppress(trio.BrokenResourceError):
            await stream.send_all(request)
            async for chunk in stream:
                data += chunk
        return data


def asking(*headers: bytes, line: bytes = b"GET /live HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: x", *headers, b"", b""])


CLOSE = b"Connection: close"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) * 1000, 505),
        (asking(line=b"GET /live HTTP/9.9"), 505),
        (asking(b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk", b"Connection: Upgrade, close"), 200),
        (asking(b"Upgrade: h2c", b"HTTP2-Settings: ////", b"Connection: Upgrade, close"), 200),
        (asking(b"Upgrade: websocket", b"Connection: Upgrade, close", b"Sec-WebSocket-Version: 13"), 200),
        (asking(CLOSE, line=b"GET ?x HTTP/1.1"), 400),
        (asking(CLOSE, line=b"GET http://[::1/ HTTP/1.1"), 400),
        (asking(CLOSE, line=b"CONNECT /live HTTP/1.1"), 405),
        (b"GET /live HTTP/1.1\r\nHost: ..\r\nConnection: close\r\n\r\n", 200),
        (b"GET /live HTTP/1.1\r\nHost: " + b"a" * 300 + b"\r\nConnection: close\r\n\r\n", 200),
        (b"GET /events HTTP/1.1\r\nHost: \xff\r\nAuthorization: \xff\r\nConnection: close\r\n\r\n", 401),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000, 431),
    ],
)
async def test_one_protocol_and_an_answer_in_it(view: Any, request_bytes: bytes, status: int) -> None:
    async with serving(view) as (port, _):
        assert (await answer(port, request_bytes)).startswith(b"HTTP/1.1 %d" % status)


HEADER = st.sampled_from(
    [b"Host", b"Upgrade", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Authorization", b"Expect"]
)
VALUE = st.one_of(
    st.sampled_from([b"chunked", b"0", b"-1", b"close", b"h2c", b"upgrade", b"100-continue", b"..", b"\xff"]),
    st.binary(max_size=20),
)
REQUEST = st.builds(
    lambda method, path, version, headers, body: (
        b"%b %b HTTP/%b\r\n%b\r\n%b"
        % (method, path, version, b"".join(MORE % header for header in headers), body)
    ),
    st.sampled_from([b"GET", b"HEAD", b"POST", b"CONNECT", b"PRI", b"\x00"]),
    st.one_of(
        st.sampled_from(
            [b"/live", b"/events?call=%ff", b"/interactions/%00", b"*", b"//", b"/%", b"http://["]
        ),
        st.binary(max_size=10),
    ),
    st.sampled_from([b"1.1", b"1.0", b"2.0", b"x"]),
    st.lists(st.tuples(HEADER, VALUE), max_size=4),
    st.one_of(st.just(b""), st.binary(max_size=30), st.just(b"1\r\na\r\n" * 100)),
)


@pytest.fixture
async def port(view: Any) -> AsyncIterator[int]:
    async with serving(view) as (port, _):
        yield port


@settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(request=st.one_of(REQUEST, st.binary(max_size=60)))
def test_no_request_is_an_error_of_ours(view: Any, request: bytes) -> None:
    """Whatever is asked: nothing that counts as a bug, and others are answered."""

    async def main() -> None:
        async with serving(view) as (port, _), trio.open_nursery() as nursery:
            said = []

            async def send() -> None:
                said.append(await answer(port, request + b"\r\n\r\n", within=0.02))

            nursery.start_soon(send)
            nursery.start_soon(ask, port, "/live")
        assert b"HTTP/1.1 500" not in said[0]

    trio.run(main)


async def ended(stream: trio.SocketStream, within: float = ENOUGH_S) -> bool:
    with trio.move_on_after(within), suppress(trio.BrokenResourceError):
        async for _ in stream:
            pass
        return True
    return False


@pytest.mark.parametrize("begun", [b"", b"GET /live", LIVE, b"PRI * HT"])
async def test_who_sends_no_request_is_closed(
    view: Any, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 0.2)
    async with serving(view) as (port, _), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(begun or b"\r\n")
        assert await ended(stream)


async def test_a_request_byte_by_byte_gains_no_time(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 0.3)
    async with serving(view) as (port, _), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with suppress(trio.BrokenResourceError), trio.fail_after(ENOUGH_S):
            while True:
                await stream.send_all(b"x")
                await trio.sleep(0.01)


async def test_a_watcher_is_not_idle(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 1.0)
    async with serving(view) as (port, _), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert not await ended(stream, 2.5)


async def test_idle_connections_do_not_keep_anybody_out(view: Any) -> None:
    async with serving(view) as (port, _):
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(clients.MAX_PER_PEER + 30)]
        head, _ = await ask(port, "/live")
        assert head.startswith(b"HTTP/1.1 200")
        _, body = await ask(port, "/metrics")
        (line,) = (one for one in body.splitlines() if one.startswith(b"asr_http_connections_turned_away_"))
        assert float(line.split()[1]) >= 30
        for stream in streams:
            await trio.aclose_forcefully(stream)


async def test_requests_sent_ahead_are_answered_at_a_pace(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "BURST", 5)
    monkeypatch.setattr(clients, "PER_SECOND", 20.0)
    async with serving(view) as (port, _):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            began, said = trio.current_time(), b""
            await stream.send_all(LIVE * 1000)
            with trio.fail_after(ENOUGH_S):
                while said.count(b"HTTP/1.1 200") < 5 + 10:
                    said += await stream.receive_some()
            answered = said.count(b"HTTP/1.1 200")
            assert trio.current_time() - began >= (answered - 1 - 5) / 20
        head, _ = await ask(port, "/live")
        assert head.startswith(b"HTTP/1.1 200")


async def test_a_body_that_nobody_takes_leaves_nothing_behind(view: Any) -> None:
    head = asking(b"Transfer-Encoding: chunked", line=b"POST /live HTTP/1.1")
    async with serving(view) as (port, _), aclosing(await trio.open_tcp_stream("127.0.0.1", port)) as stream:
        await stream.send_all(head + b"1\r\na\r\n" * 5000)
        assert await ended(stream)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_no_file_to_be_had_is_waited_out(
    view: Any, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such an accept fails at once and again: the loop must not spin over it, nor the server end."""
    real, tries = trio.SocketListener.accept, [0]

    async def accept(listener: trio.SocketListener) -> trio.SocketStream:
        tries[0] += 1
        if trio.current_time() < until:
            raise OSError(number, "no more")
        return await real(listener)

    until = trio.current_time() + 0.35
    monkeypatch.setattr(trio.SocketListener, "accept", accept)
    async with serving(view) as (port, _):
        head, _ = await ask(port, "/live")
        assert head.startswith(b"HTTP/1.1 200")
        assert tries[0] <= 6


async def test_the_last_files_are_not_taken_for_pages(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "RESERVED_FILES", 1000)
    monkeypatch.setattr(server, "raise_file_limit", lambda: 1001)
    async with serving(view) as (port, _):
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(clients.ALWAYS + 5)]
        closed = [await ended(stream, 0.2) for stream in streams]
        assert closed == [False] * clients.ALWAYS + [True] * 5
        for stream in streams:
            await trio.aclose_forcefully(stream)


def test_the_file_limit_is_raised_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: limits.__setitem__(slice(2), new))
    assert server.raise_file_limit() == 4096
    assert limits == [4096, 4096]


async def test_a_peer_gone_before_it_is_let_in_is_nobody(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any) -> Any:
        raise OSError(errno.ENOTCONN, "gone")

    async with serving(view) as (port, _):
        with monkeypatch.context() as patch:
            patch.setattr(connection, "parse_socket_addr", gone)
            with socket.create_connection(("127.0.0.1", port)):
                await trio.sleep(0.1)
        head, _ = await ask(port, "/live")
        assert head.startswith(b"HTTP/1.1 200")


async def test_who_asks_and_leaves_puts_nobody_off(autojump_clock: trio.testing.MockClock) -> None:
    turns, begin = Turns(), trio.current_time()
    async with trio.open_nursery() as crowd:
        for _ in range(100 * BURST):
            crowd.start_soon(turns.wait)
        await trio.sleep(1.0)
        crowd.cancel_scope.cancel()
    asked = trio.current_time()
    await turns.wait()
    assert asked - begin == 1.0
    assert trio.current_time() - asked <= 2 / PER_SECOND

"""The pages over a real socket, and what happens to it."""

import io
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio

from trio_asr.config import Config, HttpConfig
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.web import server
from trio_asr.web.app import create_app

ANYWHERE = HttpConfig(port=0)


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream)
    yield stream
    logs.configure("info", "json")
    root.handlers = handlers


@asynccontextmanager
async def serving(view: Any, config: HttpConfig = ANYWHERE) -> AsyncIterator[tuple[int, trio.Event]]:
    """Serve while the block runs, then stop in order; it must end by itself."""
    shutdown = trio.Event()
    app = create_app(view, metrics := Metrics(), InternalErrors(metrics), Config())
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(partial(server.serve, app, config, shutdown=shutdown))
        yield port, shutdown
        shutdown.set()
        nursery.cancel_scope.deadline = trio.current_time() + 5
    assert not nursery.cancel_scope.cancelled_caught


async def ask(port: int, path: str) -> tuple[bytes, bytes]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with trio.fail_after(60):
            answer = b"".join([chunk async for chunk in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def test_over_a_real_socket(view: Any, log: io.StringIO) -> None:
    async with serving(view) as (port, _):
        head, body = await ask(port, "/health")
        assert head.startswith(b"HTTP/1.1 200")
        assert json.loads(body)["status"] == "ok"
        head, body = await ask(port, "/metrics")
        assert b"\nasr_calls 0.0\n" in body
        assert b"server:" not in head.lower()
        head, _ = await ask(port, "/nothing")
        assert head.startswith(b"HTTP/1.1 404")
    assert log.getvalue() == ""


async def test_many_at_once(view: Any) -> None:
    async with serving(view) as (port, _), trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask, port, "/health")


async def test_a_port_in_use_is_told_clearly(view: Any) -> None:
    async with serving(view) as (port, _):
        with pytest.raises(server.CannotListenError, match=f"port {port}: Address already in use"):
            await server.serve(
                create_app(view, metrics := Metrics(), InternalErrors(metrics), Config()),
                HttpConfig(port=port),
            )


async def test_a_host_that_does_not_exist_is_told_clearly(view: Any) -> None:
    with pytest.raises(server.CannotListenError, match=r"192\.0\.2\.1, port 0: Cannot assign"):
        await server.serve(
            create_app(view, metrics := Metrics(), InternalErrors(metrics), Config()),
            HttpConfig(host="192.0.2.1", port=0),
        )


async def test_the_port_is_free_again_after_a_stop_and_after_a_cancel(view: Any) -> None:
    async with serving(view) as (port, _):
        pass
    app = create_app(view, metrics := Metrics(), InternalErrors(metrics), Config())
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            assert await nursery.start(server.serve, app, HttpConfig(port=port)) == port
            nursery.cancel_scope.cancel()


async def test_an_idle_client_does_not_hold_up_the_end(view: Any) -> None:
    async with serving(view) as (port, shutdown):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some()
        shutdown.set()
    await stream.aclose()


async def test_a_watcher_does_not_hold_up_the_end(view: Any) -> None:
    async with serving(view) as (port, shutdown):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        shutdown.set()
        with trio.fail_after(60):
            while await stream.receive_some():
                pass
    await stream.aclose()


async def test_a_client_that_does_not_read_does_not_hold_up_the_end(
    view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEND_TIMEOUT_MS", 300)
    with socket.socket() as deaf:  # open until after the stop: its end would free the server too
        async with serving(view) as (port, _):
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            deaf.connect(("127.0.0.1", port))
            deaf.setblocking(False)
            request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
            with trio.move_on_after(0.2), suppress(OSError):
                while True:  # until the other side has stopped reading, since it cannot write
                    await trio.lowlevel.wait_writable(deaf)
                    deaf.send(request * 100)
            assert (await ask(port, "/live"))[0].startswith(b"HTTP/1.1 200")


async def test_a_failing_server_is_started_again_on_the_same_port(
    view: Any, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    monkeypatch.setattr(server, "RESTART_S", 0.01)
    real = trio.SocketListener.accept
    failures = [RuntimeError("a bug"), OSError("another")]

    async def failing(listener: trio.SocketListener) -> trio.SocketStream:
        if failures:
            raise failures.pop()
        return await real(listener)

    monkeypatch.setattr(trio.SocketListener, "accept", failing)
    async with serving(view) as (port, _):
        assert (await ask(port, "/live"))[0].startswith(b"HTTP/1.1 200")
    assert log.getvalue().count("HTTP server failed; starting it again") == 2


async def test_a_failing_page_is_an_answer_and_a_line_in_the_log(view: Any, log: io.StringIO) -> None:
    view.since = {"redis": "not a number"}
    async with serving(view) as (port, _):
        head, body = await ask(port, "/health")
        assert head.startswith(b"HTTP/1.1 500")
        assert json.loads(body) == {"error": "Internal Server Error"}
        assert (await ask(port, "/live"))[0].startswith(b"HTTP/1.1 200")
    assert "TypeError" in log.getvalue()


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff",
        b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: ////\r\nConnection: Upgrade\r\n\r\n",
        b"GET /" + b"x" * 100_000,
        b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc",
    ],
)
async def test_junk_leaves_the_server_standing(view: Any, junk: bytes) -> None:
    async with serving(view) as (port, _):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(junk)
            with trio.move_on_after(0.1), suppress(trio.BrokenResourceError):
                async for _ in stream:
                    pass
        assert (await ask(port, "/live"))[0].startswith(b"HTTP/1.1 200")

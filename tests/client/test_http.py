"""One request and its answer, over real sockets."""

from __future__ import annotations

import h11
import pytest
from tests.client.answer_server import serve_answer

from trio_asr.client.http import NoAnswer, ask, get
from trio_asr.lab.rig.valkey import free_port


async def test_get() -> None:
    assert await get(free_port(), "/ready") == (0, "")
    async with serve_answer(b"HTTP/1.0 200 OK\r\n\r\nbody") as (port, _):
        assert await get(port, "/ready") == (200, "body")
    async with serve_answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as (port, _):
        assert (await get(port, "/else"))[0] == 404


async def test_what_is_sent() -> None:
    async with serve_answer(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, asked):
        assert await ask(f"http://me:secret@127.0.0.1:{port}/a?b=c", "PUT", b"{}") == (204, b"")
    (request,) = asked
    assert request.startswith(b"PUT /a?b=c HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{port}\r\n".encode() in request
    assert request.endswith(b"\r\n\r\n{}")
    server = h11.Connection(h11.SERVER)
    server.receive_data(request)
    assert isinstance(server.next_event(), h11.Request)


@pytest.mark.parametrize(
    "answer", [b"", b"-ERR unknown command\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"]
)
async def test_what_is_no_answer(answer: bytes) -> None:
    async with serve_answer(answer) as (port, _):
        with pytest.raises(NoAnswer, match=r"."):
            await ask(f"http://127.0.0.1:{port}/")
        assert await get(port, "/") == (0, "")


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "http:///x", "http://127.0.0.1:x/", "http://127.0.0.1/ä"]
)
async def test_what_cannot_be_asked(url: str) -> None:
    with pytest.raises(NoAnswer, match=r"."):
        await ask(url)

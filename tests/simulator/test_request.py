"""The control API over a real socket: who may use it, and that it survives what it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from trio_asr.simulator import remote as remote_module
from trio_asr.simulator.board import Board
from trio_asr.simulator.ledger import Ledger
from trio_asr.simulator.remote import Remote, serve_remote
from trio_asr.simulator.request import MAX_BODY, MAX_HEAD, is_loopback


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Remote, int]]:
    remote = Remote(Board(), Ledger())
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(partial(serve_remote, remote, host="127.0.0.1", port=0))
        yield remote, port
        nursery.cancel_scope.cancel()


async def told(port: int, data: bytes, *, end: bool = True, within: float = 60.0) -> tuple[int, Any]:
    """Status and document; status 0 if nothing was answered."""
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with suppress(trio.BrokenResourceError), trio.move_on_after(within):
            await stream.send_all(data)
            if end:
                await stream.send_eof()
            async for part in stream:
                answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]), msgspec.json.decode(body)) if head else (0, None)


def request(
    *headers: str, line: str = "GET /faults HTTP/1.1", body: bytes = b"", host: str = "127.0.0.1"
) -> bytes:
    lines = [line, *([f"Host: {host}"] if host else []), *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def put(body: bytes) -> bytes:
    return request(f"Content-Length: {len(body)}", line="PUT /faults HTTP/1.1", body=body)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8081", True),
        ("127.7.7.7", True),
        ("localhost:1", True),
        ("LOCALHOST", True),
        ("[::1]", True),
        ("[::1]:8081", True),
        ("::1", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("", False),
        ("[localhost]", False),
        ("127.0.0.1:x", False),
    ],
)
def test_what_names_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (request(), 200, ""),
        (request("Sec-Fetch-Site: none"), 200, ""),
        (request("Origin: http://127.0.0.1"), 200, ""),
        (request(host="rebound.example"), 403, "Host"),
        (request(host=""), 403, "Host"),
        (request("Host: localhost"), 403, "Host"),
        (request("Origin: http://evil.example"), 403, "origin"),
        (request("Origin: null"), 403, "origin"),
        (request("Origin: http://127.0.0.1:3000"), 403, "origin"),
        (request("Sec-Fetch-Site: cross-site"), 403, "site"),
        (request("Sec-Fetch-Site: same-site"), 403, "site"),
        (request("Content-Length: " + "9" * 5000), 413, "above"),
        (request(f"Content-Length: {MAX_BODY + 1}"), 413, "above"),
        (request("Content-Length: -1"), 400, "Content-Length"),
        (request("Content-Length: 1_0"), 400, "Content-Length"),
        (request("Content-Length: \xb2"), 400, "Content-Length"),
        (request("Content-Length: 1", "Content-Length: 2"), 400, "Content-Length"),
        (request("Transfer-Encoding: chunked"), 411, "Content-Length"),
        (request("no header"), 400, "header"),
        (request("Content-Length: 50", body=b"{"), 400, "body"),
        (b"GET /faults HTTP/1.1\r\nHost: 127.0.0.1\r\n", 400, "head"),
        (b"\x00\xff\r\n\r\n", 400, "request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "request"),
        (b"x" * (MAX_HEAD + 100_000), 431, "head"),
        (request(line="GET /" + "x" * 5000 + " HTTP/1.1"), 404, "there is no"),
        (put(b'{"faults":' + b"[" * 30_000), 400, ""),
        (put(b'{"faults":{"mute_after_s":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}}"), 400, ""),
        (put(b'{"faults":{}, "whom":1}'), 400, "whom"),
        (put(b'{"faults":{"close_reason":"\xff"}}'), 400, ""),
        (put(b'{"faults":{"no_such":1}}'), 400, "no_such"),
        (put(b'{"faults":{"close_reason":"' + b"x" * 124 + b'"}}'), 400, "close_reason"),
        (put(b'{"faults":{"mute_after_s":1e300}}'), 400, "mute_after_s"),
        (put(b'{"faults":{"mute_after_s":1e999}}'), 400, ""),
        (put(b'{"faults":{"abort_after_bytes":' + b"9" * 5000 + b"}}"), 400, ""),
        (put(b'{"faults":{"drop_final_every":-1}}'), 400, "drop_final_every"),
        (put(b"\x00"), 400, ""),
        (put(b""), 400, ""),
    ],
)
async def test_each_is_answered_in_words_and_the_next_one_as_ever(
    data: bytes, status: int, word: str
) -> None:
    async with served() as (remote, port):
        got, document = await told(port, data)
        assert got == status
        if status != 200:
            assert document["error"]
            assert word in document["error"]
            assert len(document["error"]) <= 300
        assert not remote.board.rules
        assert await told(port, request()) == (200, [])


def test_rules_are_bounded() -> None:
    remote = Remote(Board(), Ledger())
    for i in range(100):
        assert remote.answer("PUT", "/faults", b'{"faults":{},"match":{"a":"%d"}}' % i, 0)[0] == 200
    assert remote.answer("PUT", "/faults", b'{"faults":{},"match":{"a":"100"}}', 0)[0] == 400
    assert remote.answer("PUT", "/faults", b'{"faults":{},"match":{"a":"99"}}', 0)[0] == 200


async def test_the_slow_do_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "_REQUEST_S", 0.3)
    async with served() as (_, port), trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(partial(told, port, b"GET /fau", end=False))
        await trio.sleep(0.1)
        with trio.fail_after(60):
            while (await told(port, request()))[0] != 200:  # noqa: ASYNC110 (it is a question)
                await trio.sleep(0.1)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(put),
        st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
            lambda value: put(repr(value).encode("utf-8", "replace"))
        ),
    )
)
def test_whatever_it_is_sent(data: bytes) -> None:
    async def main() -> None:
        async with served() as (_, port):
            assert (await told(port, data))[0] in (0, 200, 400, 403, 404, 405, 413)
            assert await told(port, request()) == (200, [])

    trio.run(main)

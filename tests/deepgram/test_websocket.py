"""The link to Deepgram: what it asks for, how refusals and losses come out, TLS, no socket left open."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import ssl
import struct
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import trio
import trustme
from tests.call_harness import sent
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_asr.config import DeepgramConfig, Secret
from trio_asr.deepgram.border import Border
from trio_asr.deepgram.provider import ConnectFailed, LinkClosed
from trio_asr.deepgram.websocket import CLOSE_S, DeepgramProvider, Dial
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.server import SimulatorSettings, handle, serve
from trio_asr.simulator.stamps import stamp
from trio_asr.wire import messages
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.messages import Error, Metadata, Results, Unknown

KEY = Secret("a-secret-key")
Serve = Callable[[trio.abc.Stream], Awaitable[None]]


def provider(nursery: trio.Nursery, serve_one: Serve, **settings: Any) -> DeepgramProvider:
    """Return a provider whose connections are served by `serve_one`, over memory streams."""

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(serve_one, theirs)
        return ours

    return DeepgramProvider(config(**settings), KEY, dial)


def config(**settings: Any) -> DeepgramConfig:
    return DeepgramConfig(**{"url": "ws://deepgram.test:8080/v1/listen", **settings})


async def failure(serve_one: Serve, **settings: Any) -> ConnectFailed:
    """Return what a connection attempt fails with."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConnectFailed) as caught:
            async with provider(nursery, serve_one, **settings).connect(audio_format(8000)):
                raise AssertionError("it connected")
        nursery.cancel_scope.cancel()
    return caught.value


def answering(response: bytes) -> Serve:
    """Return a server that answers any request with these bytes and closes."""

    async def serve_one(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(response)

    return serve_one


def test_the_target_is_the_old_workers_request() -> None:
    target = DeepgramProvider(config(), KEY).target(audio_format(8000))
    assert target.startswith(
        "/v1/listen?model=nova-2&language=en-US&smart_format=true&interim_results=true"
        "&sample_rate=8000&encoding=linear16&channels=1"
    )


def test_a_query_in_the_url_is_kept_and_values_are_escaped() -> None:
    made = DeepgramProvider(config(url="wss://eu.test/v1/listen?mip_opt_out=true", tag=("a b&c",)), KEY)
    assert made.target(audio_format(16000)).startswith("/v1/listen?mip_opt_out=true&model=")
    assert "tag=a+b%26c" in made.target(audio_format(16000))


def test_nothing_that_holds_the_key_shows_it() -> None:
    made = DeepgramProvider(config(), KEY)
    assert "a-secret-key" not in repr(vars(made))


async def test_a_whole_stream(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(api_key="a-secret-key")
    async with trio.open_nursery() as nursery:

        async def serve_one(stream: trio.abc.Stream) -> None:
            await handle(stream, settings)

        async with provider(nursery, serve_one).connect(audio_format(8000)) as link:
            assert link.request_id == settings.ledger.connections[0].request_id
            assert link.send_audio(b"") is None  # would end the stream, so it is not sent
            await sent(link, stamp(1, 0, 8000))
            await link.send_control(messages.KEEP_ALIVE)
            await link.send_control(messages.CLOSE_STREAM)
            heard = [await link.receive() for _ in range(3)]
            with pytest.raises(LinkClosed) as closed:
                await link.receive()
            assert (closed.value.code, closed.value.reason) == (1000, "")
            with pytest.raises(LinkClosed):
                await sent(link, stamp(1, 0, 80))
        assert [type(m) for m in heard] == [Results, Results, Metadata]
        nursery.cancel_scope.cancel()
    record = settings.ledger.connections[0]
    assert (record.audio_bytes, record.keepalives, record.binary_messages) == (16000, 1, 1)


async def test_a_refusal_keeps_status_reason_and_request_id(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(faults_for=lambda i, q: Faults(refuse_status=400))

    async def serve_one(stream: trio.abc.Stream) -> None:
        await handle(stream, settings)

    failed = await failure(serve_one)
    assert (failed.status, failed.request_id) == (400, settings.ledger.connections[0].request_id)
    assert str(failed) == "HTTP 400: Bad request."


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b'{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials.","request_id":"x"}',
            "Invalid credentials.",
        ),
        (b'{"category":"x","message":"No such model.","details":"more"}', "No such model."),
        (b'{"err_code":"TOO_MANY_REQUESTS"}', "TOO_MANY_REQUESTS"),
        (b"[1]", "[1]"),
        (b"<html>\xff no JSON", "<html>\ufffd no JSON"),
        (b"", ""),
        (b'\xef\xbb\xbf{"err_msg":"marked"}', "marked"),
        (b"\x01\x8b\x00 one\r\ntwo\n", "\ufffd\ufffd\ufffd one  two"),
    ],
)
async def test_the_reason_is_found_in_the_body(body: bytes, reason: str, autojump_clock: MockClock) -> None:
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % len(body)
    failed = await failure(answering(head + body))
    assert (failed.status, failed.reason) == (503, reason)


PACKED_BODY = b'{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials.","request_id":"x"}'


def packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)  # the time would make another name of each test


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        (b"gzip", packed(PACKED_BODY), "Invalid credentials."),
        (b"GZIP", packed(b"<p>busy</p>"), "<p>busy</p>"),
        (b"deflate", zlib.compress(PACKED_BODY), "Invalid credentials."),
        (b"gzip", packed(b"a" * 10_000_000), "a" * 256),
        (b"gzip", packed(b"a-secret-key"), "***"),
        (b"gzip", PACKED_BODY, ""),
        (b"br", b"\x0b\x02\x80abc\x03", ""),
        (b"identity", PACKED_BODY, "Invalid credentials."),
    ],
)
async def test_the_reason_is_found_in_a_body_that_is_packed(
    encoding: bytes, body: bytes, reason: str, autojump_clock: MockClock
) -> None:
    """Before: 200 characters of what gzip looks like."""
    head = b"HTTP/1.1 503 No\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    failed = await failure(answering(head + body))
    assert (failed.status, failed.reason) == (503, reason)


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
async def test_a_header_beyond_ascii_is_readable(charset: str, autojump_clock: MockClock) -> None:
    head = "HTTP/1.1 401 No\r\ndg-error: Schl\u00fcssel ung\u00fcltig\r\n\r\n".encode(charset)
    failed = await failure(answering(head))
    assert failed.reason == "Schl\u00fcssel ung\u00fcltig"


async def test_a_connection_lost_before_the_answer_is_noticed_at_once(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    failed = await failure(answering(b""))
    assert failed.status is None
    assert "before the handshake" in failed.reason
    assert trio.current_time() == began


async def test_no_answer_is_a_timeout(autojump_clock: MockClock) -> None:
    async def never(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    began = trio.current_time()
    failed = await failure(never, connect_timeout_ms=3000)
    assert failed.reason == "no answer within 3000 ms"
    assert trio.current_time() - began == 3


async def test_nonsense_instead_of_http(autojump_clock: MockClock) -> None:
    failed = await failure(answering(b"\x00\x01\x02 nonsense\r\n\r\n"))
    assert failed.status is None


async def test_nobody_there() -> None:
    async def refused(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError("all attempts to connect failed")

    with pytest.raises(ConnectFailed, match="all attempts"):
        async with DeepgramProvider(config(), KEY, refused).connect(audio_format(8000)):
            raise AssertionError("it connected")


async def test_an_error_inside_is_not_taken_for_a_refusal(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()

    async def serve_one(stream: trio.abc.Stream) -> None:
        await handle(stream, settings)

    async with trio.open_nursery() as nursery:
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            async with provider(nursery, serve_one).connect(audio_format(8000)):
                raise OSError("ours")
        nursery.cancel_scope.cancel()
    assert (settings.ledger.total, settings.ledger.open) == (1, 0)


async def test_a_cancelled_connection_says_goodbye_and_does_not_wait_for_an_answer(
    autojump_clock: MockClock,
) -> None:
    """Its reader is cancelled too: the answer could not be seen, and a stop waits for nobody."""
    settings = SimulatorSettings()
    async with trio.open_nursery() as nursery:

        async def serve_one(stream: trio.abc.Stream) -> None:
            await handle(stream, settings)

        with trio.move_on_after(5):
            async with provider(nursery, serve_one).connect(audio_format(8000)):
                await trio.sleep_forever()
        assert trio.current_time() == pytest.approx(5, abs=0.11)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    record = settings.ledger.connections[0]
    assert (settings.ledger.open, record.close_code) == (0, 1000)


@pytest.mark.parametrize("abrupt", [False, True])
async def test_a_lost_connection_closes_our_stream_too(abrupt: bool, autojump_clock: MockClock) -> None:
    fault = Faults(abort_after_s=1) if abrupt else Faults(close_after_s=1, close_code=1011)
    settings = SimulatorSettings(faults_for=lambda i, q: fault)
    streams: list[trio.testing.MemoryReceiveStream] = []
    async with trio.open_nursery() as nursery:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            streams.append(ours.receive_stream)
            nursery.start_soon(handle, theirs, settings)
            return ours

        async with DeepgramProvider(config(), KEY, dial).connect(audio_format(8000)) as link:
            with pytest.raises(LinkClosed) as closed:
                await link.receive()
            assert closed.value.code == (1006 if abrupt else 1011)
        with pytest.raises(trio.ClosedResourceError):
            await streams[0].receive_some(1)
        nursery.cancel_scope.cancel()


async def test_wss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requirements 24: the WebSocket takes frames, over TLS as in production."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    monkeypatch.setattr(ssl, "create_default_context", lambda *a, **k: client)
    settings = SimulatorSettings()
    async with trio.open_nursery() as nursery:
        listening = partial(serve, settings, host="localhost", port=0, ssl_context=server)
        port = await nursery.start(listening)
        made = DeepgramProvider(config(url=f"wss://localhost:{port}/v1/listen"), KEY)
        async with made.connect(audio_format(8000)) as link:
            await sent(link, stamp(1, 0, 8000))
            await link.send_control(messages.CLOSE_STREAM)
            first = await link.receive()
            assert isinstance(first, Results)
        nursery.cancel_scope.cancel()
    assert settings.ledger.connections[0].audio_bytes == 16000


# -- what answers a handshake --------------------------------------------------------------------------------


def accept_of(request: bytes) -> bytes:
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def switching(*headers: bytes, after: bytes = b"", before: bytes = b"") -> Serve:
    """Return a server that answers 101 with these headers (ACCEPT stands for the right one), and stays."""

    async def serve_one(stream: trio.abc.Stream) -> None:
        request = bytes(await stream.receive_some())
        head = b"".join(line.replace(b"ACCEPT", accept_of(request)) + b"\r\n" for line in headers)
        await stream.send_all(before + b"HTTP/1.1 101 Switching Protocols\r\n" + head + b"\r\n" + after)
        await trio.sleep_forever()

    return serve_one


UPGRADE, CONNECTION = b"Upgrade: websocket", b"Connection: Upgrade"
ACCEPT = b"Sec-WebSocket-Accept: ACCEPT"
SOUND = (UPGRADE, CONNECTION, ACCEPT)


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ((UPGRADE, CONNECTION), "no Sec-WebSocket-Accept"),
        ((UPGRADE, CONNECTION, b"Sec-WebSocket-Accept: eA=="), "a wrong Sec-WebSocket-Accept"),
        ((CONNECTION, ACCEPT), "no 'Upgrade: websocket'"),
        ((b"Upgrade: h2c", CONNECTION, ACCEPT), "no 'Upgrade: websocket'"),
        ((UPGRADE, ACCEPT), "no 'Connection: Upgrade'"),
        ((UPGRADE, b"Connection: \xff", ACCEPT), "no 'Connection: Upgrade'"),
        (
            (*SOUND, b"Sec-WebSocket-Extensions: permessage-deflate"),
            "'permessage-deflate', which was not asked",
        ),
        ((*SOUND, b"Sec-WebSocket-Protocol: token"), "'token', which was not asked"),
        ((*SOUND, b"Sec-WebSocket-Protocol: \xff"), "which was not asked"),
    ],
)
async def test_a_101_that_breaks_the_protocol_is_named_so(
    headers: tuple[bytes, ...], problem: str, autojump_clock: MockClock
) -> None:
    failed = await failure(switching(*headers, b"dg-request-id: r1"))
    assert failed.reason.startswith("the handshake breaks the protocol: ")
    assert problem in failed.reason
    assert (failed.status, failed.request_id) == (101, "r1")


@pytest.mark.parametrize(
    "before", [b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"]
)
async def test_a_sound_101_and_what_comes_with_it(before: bytes, autojump_clock: MockClock) -> None:
    frame = b"\x81\x0e" + b'{"type":"Foo"}'
    serve_one = switching(*SOUND, b"DG-Request-Id: r2", after=frame, before=before)
    async with trio.open_nursery() as nursery:
        async with provider(nursery, serve_one).connect(audio_format(8000)) as link:
            assert link.request_id == "r2"
            assert await link.receive() == Unknown("Foo")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (
            b"HTTP/1.1 301 Moved\r\nLocation: https://other.test/x?token=1\r\n\r\n",
            301,
            "https://other.test/x",
        ),
        (b"HTTP/1.1 301 M\r\nLocation: /a-secret-key\r\n\r\n<h1>301</h1>", 301, "it redirects to /***"),
        (b"HTTP/1.1 301 M\r\n\r\n<h1>301</h1>", 301, "<h1>301</h1>"),
        (b"HTTP/1.1 301 M\r\nX Y: z\r\nLocation: /login\r\n\r\n", 301, "it redirects to /login"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", 302, "redirects to /login"),
        (b"HTTP/1.1 308 P\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n", 308, "redirects to nowhere"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>", 200, "not as a WebSocket: <htm>"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, "not as a WebSocket"),
        (b"<html>from the days of HTTP/0.9</html>\r\n\r\n", None, "the answer breaks the protocol"),
        (b"HTTP/2.0 99 x\r\n\r\n", None, "the answer breaks the protocol"),
        (b"\x16\x03\x01\x00\xa5\r\n\r\n", None, "the answer breaks the protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 200, "not as a WebSocket: the answer breaks"),
        (b"HTTP/1.1 101 x\r\nA B: c\r\n\r\n", None, "the answer breaks the protocol"),
        (b"HTTP/1.1 103 x\r\nA B: c\r\n\r\n", None, "the answer breaks the protocol"),
        (b"HTTP/1.1 101 x\r\nA: b\r\n", None, "closed before the handshake"),
        (b"HTTP/1.1 503 x\r\nX: " + b"y" * 1_000_000, 503, "the answer breaks the protocol"),
        (b"HTTP/1.1 103 x\r\n\r\n" * 10_000, None, "does not end"),
        (b"HTTP/1.1 402 x\r\ndg-error: no money\r\n\r\npage", 402, "no money"),
        (b"HTTP/1.1 402 x\r\n\r\n" + b'{"err_msg":"no money"}', 402, "no money"),
        (b"HTTP/1.1 402 x\r\nContent-Length: 99\r\n\r\n" + b'{"err_msg":"no money"}', 402, "no money"),
        (b"HTTP/1.1 402 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 402, ""),
        (b"HTTP/1.1 400 x\r\nContent-Length: 2000\r\n\r\n" + b"[" * 1000 + b"]" * 1000, 400, "[[["),
        (b'HTTP/1.1 400 x\r\n\r\n{"err_msg":' + b'{"a":' * 995 + b"1" + b"}" * 996, 400, "err_msg"),
        (b"HTTP/1.1 400 x\r\n\r\n" + b"9" * 5000, 400, "999"),
    ],
)
async def test_any_other_answer_is_a_refusal_with_its_status_or_named(
    answer: bytes, status: int | None, reason: str, autojump_clock: MockClock
) -> None:
    failed = await failure(answering(answer))
    assert failed.status == status
    assert reason in failed.reason
    assert len(failed.reason) <= 256


CREDENTIALS = b"dg-error: Invalid credentials.\r\nDG-Request-Id: r1\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "odd"),
    [
        (b"HTTP/1.1 401 Unauthorized", b"Transfer-Encoding: identity"),
        (b"HTTP/1.1 401 Unauthorized", b"Transfer-Encoding: gzip, chunked"),
        (b"HTTP/1.1 401 Unauthorized", b"Content-Length: 3\r\nContent-Length: 5"),
        (b"HTTP/1.1 401 Unauthorized", b"Content-Length:"),
        (b"HTTP/1.1 401 Unauthorized", b"X-Foo : a"),
        (b"HTTP/1.1 401 Unauthorized", b"X Foo: a"),
        (b"HTTP/1.1 401 Unauthorized", b"no colon"),
        (b"HTTP/1.1 401 Unauthorized", b"X: " + b"y" * 40_000),
        (EARLY_HINTS + b"HTTP/1.1 401 Unauthorized", b"X Foo: a"),
        (b"HTTP/2 401 Unauthorized", b"A: b"),
        (b"\r\nHTTP/1.1 401 Unauthorized", b"A: b"),
    ],
)
async def test_a_refusal_whose_head_is_no_sound_http_keeps_status_reason_and_request_id(
    status: bytes, odd: bytes, autojump_clock: MockClock
) -> None:
    """As proxies make them. Before: status None, and the account's breaker never opened."""
    head = status + b"\r\n" + CREDENTIALS + odd + b"\r\n\r\nabc"
    for server in (answering(head), dripping(head)):
        failed = await failure(server)
        assert (failed.status, failed.reason, failed.request_id) == (401, "Invalid credentials.", "r1")


def dripping(response: bytes) -> Serve:
    """Return a server that answers any request with these bytes in two pieces, cut early on, and closes."""

    async def serve_one(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(response[:2])
            await trio.sleep(1)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(response[2:])

    return serve_one


async def test_a_head_that_is_cut_short_counts_as_far_as_its_lines_are_whole(
    autojump_clock: MockClock,
) -> None:
    """Half a line might hold half a secret, which no mask would fit."""
    failed = await failure(answering(b"HTTP/1.1 401 U\r\ndg-request-id: r1\r\ndg-error: Token a-sec"))
    assert (failed.status, failed.request_id) == (401, "r1")
    assert "a-sec" not in failed.reason
    failed = await failure(answering(b"HTTP/1.1 401 U\r\ndg-error: a-secret-key\r\nX Foo: a\r\n\r\n"))
    assert failed.reason == "***"


@pytest.mark.parametrize("length", [b"Content-Length: 3000000\r\n", b"", b"Transfer-Encoding: chunked\r\n"])
async def test_a_refusal_of_3_mb_is_read_no_further_than_its_reason(
    length: bytes, autojump_clock: MockClock
) -> None:
    taken = 0

    async def serve_one(stream: trio.abc.Stream) -> None:
        nonlocal taken
        await stream.receive_some()
        await stream.send_all(
            b"HTTP/1.1 401 No\r\ndg-request-id: " + b"i" * 5000 + b"\r\n" + length + b"\r\n"
        )
        with suppress(trio.BrokenResourceError):
            for _ in range(3000):
                piece = b"x" * 1000
                await stream.send_all(b"3e8\r\n" + piece + b"\r\n" if b"chunked" in length else piece)
                taken += 1000
                await trio.sleep(0.001)

    failed = await failure(serve_one)
    assert (failed.status, failed.reason, failed.request_id) == (401, "x" * 256, "i" * 64)
    assert taken < 100_000


@pytest.mark.parametrize("length", [b"Content-Length: 300\r\n", b""])
async def test_a_refusal_whose_body_never_ends_is_one_after_a_second(
    length: bytes, autojump_clock: MockClock
) -> None:
    """The account's breaker must hear of it, whatever a proxy does with the body."""

    async def serve_one(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 401 No\r\n" + length + b"\r\nbegun")
        await trio.sleep_forever()

    began = trio.current_time()
    failed = await failure(serve_one)
    assert (failed.status, failed.reason) == (401, "begun")
    assert trio.current_time() - began == 1


@pytest.mark.parametrize(("after_s", "timeout_ms"), [(0.0, 900), (9.5, 10_000)])
async def test_a_refusal_is_one_when_the_time_to_connect_ends_before_its_body_does(
    after_s: float, timeout_ms: int, autojump_clock: MockClock
) -> None:
    """Before: status None, no breaker opened, and the refused key was tried again and again."""

    async def serve_one(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await trio.sleep(after_s)
        await stream.send_all(
            b"HTTP/1.1 401 U\r\ndg-error: Invalid credentials.\r\ndg-request-id: r1\r\n\r\n"
        )
        await trio.sleep_forever()

    failed = await failure(serve_one, connect_timeout_ms=timeout_ms)
    assert (failed.status, failed.reason, failed.request_id) == (401, "Invalid credentials.", "r1")
    assert trio.current_time() == timeout_ms / 1000


async def test_a_connection_lost_while_we_ask_is_noticed_at_once(autojump_clock: MockClock) -> None:
    async def serve_one(stream: trio.abc.Stream) -> None:
        await stream.aclose()

    failed = await failure(serve_one)
    assert failed.status is None
    assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://[::1]:8080/v1/listen", "[::1]:8080"),
        ("wss://[::1]/v1/listen", "[::1]"),
        ("ws://[fe80::1%25lo]:8080/v1/listen", "[fe80::1]:8080"),
        ("ws://[fe80::1%lo]:8080/v1/listen", "[fe80::1]:8080"),
        ("ws://deepgram.test:80/x", "deepgram.test"),
        ("ws://deepgram.test:443/x", "deepgram.test:443"),
        ("wss://deepgram.test:443/x", "deepgram.test"),
    ],
)
async def test_the_host_header(url: str, host: str, autojump_clock: MockClock) -> None:
    asked: list[bytes] = []

    async def serve_one(stream: trio.abc.Stream) -> None:
        asked.append(bytes(await stream.receive_some()))
        await stream.aclose()

    assert DeepgramProvider(config(url=url), KEY).host_header == host
    if url.startswith("ws:"):
        await failure(serve_one, url=url)
        assert f"\r\nHost: {host}\r\n".encode() in asked[0]


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("ws://[fe80::1%25lo]:8080/x", "fe80::1%lo"),
        ("ws://[fe80::1%lo]:8080/x", "fe80::1%lo"),
        ("ws://[fe80::1%25]:8080/x", "fe80::1%25"),  # an interface by its number
        ("wss://[fe80::1%25lo]/x", "fe80::1%lo"),
    ],
)
async def test_the_zone_of_an_address_is_dialled_and_kept_from_the_peer(
    url: str, dialled: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """RFC 6874: the zone says which of our own interfaces leads there, and no certificate has one."""
    asked: list[str] = []
    named: list[str] = []

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        asked.append(host)
        return memory_stream_pair()[0]

    def tls(context: ssl.SSLContext, host: str) -> None:
        named.append(host)
        raise OSError("far enough")

    monkeypatch.setattr("trio_asr.deepgram.websocket.Tls", tls)
    with pytest.raises(ConnectFailed):
        async with DeepgramProvider(config(url=url, connect_timeout_ms=100), KEY, dial).connect(
            audio_format(8000)
        ):
            raise AssertionError("it connected")
    assert asked == [dialled]
    assert named == (["fe80::1"] if url.startswith("wss") else [])


async def test_half_a_key_is_not_shown_where_a_body_is_cut(autojump_clock: MockClock) -> None:
    """Before: a body was cut to 200 characters before it was searched for the key."""
    failed = await failure(answering(b"HTTP/1.1 401 No\r\n\r\n" + b"x" * 195 + b"a-secret-key"))
    assert failed.reason == "x" * 195 + "***"


async def test_a_name_that_cannot_be_one_is_no_bug_of_ours() -> None:
    with pytest.raises(ConnectFailed, match="UnicodeError"):
        async with DeepgramProvider(config(url="ws://" + "x" * 70 + ".test/"), KEY).connect(
            audio_format(8000)
        ):
            raise AssertionError("it connected")


# -- a key that comes back -----------------------------------------------------------------------------------

ODD_KEY = Secret('a/"secret" k\u00e9y&')


@pytest.mark.parametrize(
    "quoted",
    [
        ODD_KEY.reveal(),
        json.dumps(ODD_KEY.reveal()),
        json.dumps(ODD_KEY.reveal(), ensure_ascii=False),
        json.dumps(ODD_KEY.reveal()).replace("/", "\\/"),
        repr(ODD_KEY.reveal()),
        quote(ODD_KEY.reveal()),
        quote(ODD_KEY.reveal(), safe="").lower(),
        quote_plus(ODD_KEY.reveal()),
        html.escape(ODD_KEY.reveal()),
    ],
)
def test_a_key_is_masked_however_it_is_quoted(quoted: str) -> None:
    said = Border(ODD_KEY).said(f"Token {quoted} is bad")
    assert "***" in said
    assert "secret" not in said
    assert said.startswith("Token ")
    assert said.endswith(" is bad")


@pytest.mark.parametrize("before", range(25))
def test_half_a_key_is_not_shown_where_we_cut(before: int) -> None:
    key = "k" * 20
    assert "k" not in Border(Secret(key)).said("x" * before + key * 1000, 10_000)
    assert len(Border(Secret(key)).said("x" * 1_000_000)) == 256


async def test_a_refusal_that_quotes_the_query_shows_no_secret_of_it(autojump_clock: MockClock) -> None:
    """As an option that we do not know may be one, by its name."""
    head = b"HTTP/1.1 400 No\r\ndg-error: bad query my_token=hunter2%2Fsecret&tier=x\r\n\r\n"
    failed = await failure(answering(head), options={"my_token": "hunter2/secret", "tier": "x"})
    assert failed.reason == "bad query my_token=***&tier=x"


async def test_a_refusal_that_quotes_the_key_is_masked(autojump_clock: MockClock) -> None:
    head = b"HTTP/1.1 401 No\r\ndg-error: Token a-secret-key\r\ndg-request-id: a-secret-key\r\n\r\n"
    failed = await failure(answering(head))
    assert (failed.reason, failed.request_id) == ("Token ***", "***")
    failed = await failure(answering(b'HTTP/1.1 401 No\r\n\r\n{"err_msg":"Token a-secret-key"}'))
    assert failed.reason == "Token ***"
    failed = await failure(answering(b"a-secret-key\r\n\r\n"))
    assert "secret" not in str(failed)


def text(message: bytes) -> bytes:
    return (
        b"\x81"
        + (bytes([len(message)]) if len(message) < 126 else b"\x7e" + struct.pack("!H", len(message)))
        + message
    )


async def test_messages_and_a_close_that_quote_the_key_are_masked_and_cut(autojump_clock: MockClock) -> None:
    error = {"type": "Error", "variant": "a-secret-key", "description": "a-secret-key" + "z" * 500}
    frames = text(json.dumps(error).encode()) + text(b'{"type":"a-secret-key"}')
    frames += b"\x88\x0e\x03\xf3a-secret-key"  # 1011
    serve_one = switching(*SOUND, b"dg-request-id: xa-secret-key", after=frames)
    async with trio.open_nursery() as nursery:
        async with provider(nursery, serve_one).connect(audio_format(8000)) as link:
            assert link.request_id == "x***"
            assert await link.receive() == Error("***", "***" + "z" * 253)
            assert await link.receive() == Unknown("***")
            with pytest.raises(LinkClosed) as closed:
                await link.receive()
            assert (closed.value.code, closed.value.reason) == (1011, "***")
        nursery.cancel_scope.cancel()


# -- floods, and what is no WebSocket ------------------------------------------------------------------------


async def ended(after: bytes, then: Callable[[trio.abc.Stream], Awaitable[None]] | None = None) -> LinkClosed:
    """Return how a connection ends on which this comes after the handshake."""

    async def serve_one(stream: trio.abc.Stream) -> None:
        request = bytes(await stream.receive_some())
        head = b"\r\n".join((*SOUND, b"")).replace(b"ACCEPT", accept_of(request))
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\n" + head + b"\r\n" + after)
            if then is not None:
                await then(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        async with provider(nursery, serve_one).connect(audio_format(8000)) as link:
            with pytest.raises(LinkClosed) as closed:  # noqa: PT012 (whatever comes before)
                while True:
                    await link.receive()
        nursery.cancel_scope.cancel()
    return closed.value


FRAMES = {"ping": b"\x89\x00", "pong": b"\x8a\x00", "results": text(b'{"type":"Results"}')}


@pytest.mark.parametrize("kind", FRAMES)
async def test_a_flood_of_frames_closes_the_connection(kind: str, autojump_clock: MockClock) -> None:
    closed = await ended(FRAMES[kind] * 20_000)
    assert (closed.code, closed.reason) == (1006, "a flood: more than 200 frames a second")


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.soak
async def test_a_lasting_flood_closes_it_too_and_what_is_ordinary_does_not(
    kind: str, autojump_clock: MockClock
) -> None:
    async def every(stream: trio.abc.Stream, seconds: float, times: int) -> None:
        for _ in range(times):
            await stream.send_all(FRAMES[kind])
            await trio.sleep(seconds)
        await stream.send_all(b"\x88\x02\x03\xe8")

    closed = await ended(b"", lambda stream: every(stream, 0.02, 10_000))
    assert closed.code == 1000
    closed = await ended(b"", lambda stream: every(stream, 0.001, 10_000))
    assert closed.reason.startswith("a flood")


@pytest.mark.parametrize("piece", [b"\x00\x00", b"\x00\x01x"])
async def test_a_message_in_endless_pieces_closes_the_connection(
    piece: bytes, autojump_clock: MockClock
) -> None:
    closed = await ended(b"\x01\x01x" + piece * 600)
    assert (closed.code, closed.reason) == (1006, "a message in more than 512 pieces")

    async def slowly(stream: trio.abc.Stream) -> None:
        while True:
            await stream.send_all(piece)
            await trio.sleep(1)

    closed = await ended(b"\x01\x01x", slowly)
    assert closed.reason == "a message in more than 512 pieces"


@pytest.mark.parametrize(
    "after",
    [
        b"\x81\x7f" + struct.pack("!Q", 2**62),
        b"\x01\x7f"
        + struct.pack("!Q", 1_000_000)
        + bytes(1_000_000)
        + b"\x00\x7f"
        + struct.pack("!Q", 100_000),
        b"\x81\x7f" + struct.pack("!Q", 1024 * 1024 + 1) + bytes(5000) + b"\x89\x00",
    ],
)
async def test_a_message_that_is_too_large_is_not_waited_for(after: bytes, autojump_clock: MockClock) -> None:
    closed = await ended(after)
    assert (closed.code, closed.reason) == (1009, "a message of more than 1048576 bytes")


@pytest.mark.parametrize(
    "after",
    [
        b"\x83\x00",  # an opcode that is none
        b"\xc1\x00",  # compressed
        b"\x81\x81abcdx",  # masked
        b"\x09\x00",  # a ping in pieces
        b"\x89\x7e\x00\x80" + bytes(128),
        b"\x80\x00",  # a continuation of nothing
        b"\x01\x00\x81\x00",  # a message within a message
        b"\x81\x7e\x00\x01x",  # a length in more bytes than it takes
        b"\x81\x02\xff\xff",  # no UTF-8
        b"\x88\x01x",  # closes with half a code
        b"\x88\x02\x03\xed",  # 1005
        b"\x88\x02\x00\x01",
        b"\x88\x03\x03\xe8\xff",
    ],
)
async def test_what_breaks_the_protocol_is_a_drop_and_says_nothing_against_the_audio(
    after: bytes, autojump_clock: MockClock
) -> None:
    closed = await ended(after)
    assert closed.code == 1006
    assert closed.reason


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1011, 4000])
async def test_the_code_of_a_close_is_the_peers_own(code: int, autojump_clock: MockClock) -> None:
    closed = await ended(b"\x88\x04" + struct.pack("!H", code) + b"no")
    assert (closed.code, closed.reason) == (code, "no")


async def test_a_ping_that_crosses_our_close_is_no_error(autojump_clock: MockClock) -> None:
    async def serve_one(stream: trio.abc.Stream) -> None:
        request = bytes(await stream.receive_some())
        head = b"\r\n".join((*SOUND, b"")).replace(b"ACCEPT", accept_of(request))
        await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\n" + head + b"\r\n")
        await stream.receive_some()  # our close
        await stream.send_all(b"\x89\x00")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        async with provider(nursery, serve_one).connect(audio_format(8000)):
            pass
        nursery.cancel_scope.cancel()


async def test_a_peer_that_reads_nothing_does_not_hold_up_our_close(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        made = provider(nursery, switching(*SOUND, after=FRAMES["ping"] * 100))
        async with made.connect(audio_format(8000)):
            began = trio.current_time()
        assert trio.current_time() - began <= CLOSE_S
        nursery.cancel_scope.cancel()


def test_dial_is_what_trio_offers() -> None:
    dial: Dial = trio.open_tcp_stream
    assert DeepgramProvider(config(), KEY)._dial is dial

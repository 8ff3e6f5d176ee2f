"""The link to Deepgram: what it asks for, how refusals and losses come out, TLS, no socket left open."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from tests.stage import sent
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_asr.config import DeepgramConfig, Secret
from trio_asr.core import messages
from trio_asr.core.messages import Metadata, Results
from trio_asr.deepgram import DeepgramProvider, Dial
from trio_asr.provider import ConnectFailed, LinkClosed
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.server import SimulatorSettings, handle, serve
from trio_asr.simulator.stamps import stamp

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
            async with provider(nursery, serve_one, **settings).connect(8000):
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
    target = DeepgramProvider(config(), KEY).target(8000)
    assert target.startswith(
        "/v1/listen?model=nova-2&language=en-US&smart_format=true&interim_results=true"
        "&sample_rate=8000&encoding=linear16&channels=1"
    )


def test_a_query_in_the_url_is_kept_and_values_are_escaped() -> None:
    made = DeepgramProvider(config(url="wss://eu.test/v1/listen?mip_opt_out=true", tag=("a b&c",)), KEY)
    assert made.target(16000).startswith("/v1/listen?mip_opt_out=true&model=")
    assert "tag=a+b%26c" in made.target(16000)


def test_nothing_that_holds_the_key_shows_it() -> None:
    made = DeepgramProvider(config(), KEY)
    assert "a-secret-key" not in repr(vars(made))


async def test_a_whole_stream(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(api_key="a-secret-key")
    async with trio.open_nursery() as nursery:

        async def serve_one(stream: trio.abc.Stream) -> None:
            await handle(stream, settings)

        async with provider(nursery, serve_one).connect(8000) as link:
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
    ],
)
async def test_the_reason_is_found_in_the_body(body: bytes, reason: str, autojump_clock: MockClock) -> None:
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % len(body)
    failed = await failure(answering(head + body))
    assert (failed.status, failed.reason) == (503, reason)


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
        async with DeepgramProvider(config(), KEY, refused).connect(8000):
            raise AssertionError("it connected")


async def test_an_error_inside_is_not_taken_for_a_refusal(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()

    async def serve_one(stream: trio.abc.Stream) -> None:
        await handle(stream, settings)

    async with trio.open_nursery() as nursery:
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            async with provider(nursery, serve_one).connect(8000):
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
            async with provider(nursery, serve_one).connect(8000):
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

        async with DeepgramProvider(config(), KEY, dial).connect(8000) as link:
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
        async with made.connect(8000) as link:
            await sent(link, stamp(1, 0, 8000))
            await link.send_control(messages.CLOSE_STREAM)
            first = await link.receive()
            assert isinstance(first, Results)
        nursery.cancel_scope.cancel()
    assert settings.ledger.connections[0].audio_bytes == 16000


def test_dial_is_what_trio_offers() -> None:
    dial: Dial = trio.open_tcp_stream
    assert DeepgramProvider(config(), KEY)._dial is dial

"""The server at the edge of a network: what peers may do to it, and that nobody else notices."""

from __future__ import annotations

import json
import ssl

import msgspec
import pytest
import trio
import trustme
from tests.ingest.gateway_harness import GatewayHarness, peer, recording, run_gateway
from tests.ingest.test_catalogue import GENERIC, TWILIO, generic_start, media, start, stop
from trio.testing import MockClock, memory_stream_pair
from websockets.frames import Frame, Opcode
from websockets.uri import WebSocketURI

from trio_asr.ingest.media_stream import MAX_HEAD_BYTES, READ_BYTES
from trio_asr.ingest.session import BURST_MESSAGES, MESSAGES_PER_S
from trio_asr.lab.dial.caller import place
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.dial.socket import ClientSocket, Refused, parsed
from trio_asr.wire.audio_format import audio_format

UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def text(document: object) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(document).encode()).serialize(mask=True)


class Raw:
    """A connection that says whatever it is told to."""

    def __init__(self, on: GatewayHarness, nursery: trio.Nursery) -> None:
        self._stream, self.its = memory_stream_pair()
        self.ended_at: float | None = None
        self.answer = b""
        nursery.start_soon(on.gateway.server.handle, self.its)
        nursery.start_soon(self._read)

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def _read(self) -> None:
        try:
            while data := await self._stream.receive_some():
                self.answer += data
        except trio.BrokenResourceError:
            pass
        self.ended_at = trio.current_time()


async def test_a_request_that_never_ends(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        slow, silent = Raw(on, nursery), Raw(on, nursery)
        for _ in range(8):
            await slow.send(b"GET /")
            await trio.sleep(1)
        await trio.sleep(3)
        assert (slow.ended_at, silent.ended_at) == (10, 10)
        assert on.gateway.server.places.open == 0
        nursery.cancel_scope.cancel()


async def test_a_request_that_is_too_large(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        raw = Raw(on, nursery)
        await raw.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (2 * MAX_HEAD_BYTES))
        await trio.sleep(0.1)
        assert raw.ended_at == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /", 200),
        (b"GET /health", 200),
        (b"HEAD /", 200),
        (b"GET /twilio", 426),
        (b"\x16\x03\x01 x", 426),
    ],
)
async def test_15_a_load_balancer_is_answered(
    autojump_clock: MockClock, request_line: bytes, status: int
) -> None:
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        raw = Raw(on, nursery)
        await raw.send(request_line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.sleep(0.1)
        assert raw.answer.startswith(b"HTTP/1.1 %d " % status)
        assert (b'"service":"ingest"' in raw.answer) == (request_line in (b"GET /", b"GET /health"))
        assert raw.ended_at == 0
        assert on.gateway.adder.entrants == {}
        nursery.cancel_scope.cancel()


async def test_a_header_that_the_library_cannot_decode_is_no_bug_of_ours(autojump_clock: MockClock) -> None:
    head = (
        b"GET /twilio HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: \xe9\r\n\r\n"
    )
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        raw = Raw(on, nursery)
        await raw.send(head)
        await trio.sleep(0.1)
        assert (raw.answer, raw.ended_at) == (b"", 0)
        assert on.count("ingest_internal_errors_total", place="call") == 0
        nursery.cancel_scope.cancel()


async def test_a_socket_on_which_nothing_begins(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO, start_timeout_s=5) as on, peer(on, TWILIO) as it:
        await it.say({"event": "connected"})
        await trio.sleep(10)
        assert it.close == (1008, "no start within 5 s")
        assert it.closed_at == 5


async def test_what_comes_with_the_request_is_not_lost(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        raw = Raw(on, nursery)
        await raw.send(UPGRADE % b"/twilio" + text(start()) + text(media(0)) + text(stop()))
        await trio.sleep(1)
        assert raw.answer.startswith(b"HTTP/1.1 101 ")
        assert on.audio("CA1") == b"\x01" * 160
        assert on.ends("CA1") == ["stop"]
        nursery.cancel_scope.cancel()


async def refused(on: GatewayHarness, path: str) -> int:
    """The status with which a socket is refused."""
    url = parsed(f"ws://gateway{path}")
    with pytest.raises(Refused) as refusal:
        await ClientSocket.open(await on.reach(url), url, {})
    return refusal.value.status


async def test_an_unknown_path(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on:
        assert await refused(on, "/elsewhere") == 404
        await trio.sleep(0.1)
        assert on.gateway.server.places.open == 0


async def test_no_more_sockets_than_places(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO, max_connections=2) as on:
        async with peer(on, TWILIO), peer(on, TWILIO):
            assert "ingest.max_connections is reached" in on.gateway.not_ready(0)
            assert await refused(on, "/twilio") == 0
        await trio.sleep(0.1)
        assert on.gateway.not_ready(0) == []
        async with peer(on, TWILIO):
            pass


async def test_peers_that_say_nothing_keep_nobody_out(autojump_clock: MockClock) -> None:
    """Who has taken longest over its handshake gives its place up; calls do not."""
    async with run_gateway(TWILIO, max_connections=3) as on, trio.open_nursery() as nursery:
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
            silent = list[Raw]()
            for _ in range(4):
                silent.append(Raw(on, nursery))
                await trio.sleep(0.1)
            assert [one.ended_at is not None for one in silent] == [True, True, False, False]
            async with peer(on, TWILIO) as other:
                await other.say(start("CA2"), media(0), stop("CA2"))
                assert it.closed_at is None
            await trio.sleep(0.5)
            assert on.ends("CA2") == ["stop"]
            assert on.count("ingest_refusals_total", platform="", reason="connections") == 3
        nursery.cancel_scope.cancel()


async def test_no_more_sockets_than_a_route_has(autojump_clock: MockClock) -> None:
    narrow = msgspec.structs.replace(TWILIO, max_connections=1)
    async with run_gateway(narrow, GENERIC) as on, peer(on, narrow):
        assert await refused(on, "/twilio") == 429
        async with peer(on, GENERIC):
            pass


async def test_no_more_sockets_than_an_address_has(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO, max_connections_per_address=1) as on, peer(on, TWILIO):
        assert await refused(on, "/twilio") == 429


async def test_a_peer_that_floods_is_slowed_and_nothing_of_it_is_lost(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start())
        flood = 3 * BURST_MESSAGES
        for n in range(0, flood, 500):
            await it.socket.send([json.dumps(media(n + more, size=8)) for more in range(500)])
        began = trio.current_time()
        needed_s, tally = (flood - BURST_MESSAGES) / MESSAGES_PER_S, on.gateway.metrics.tally("twilio")
        await trio.sleep(began + needed_s - 3 - trio.current_time())
        assert tally.audio_bytes < 8 * flood
        await trio.sleep(6)
        assert tally.audio_bytes == 8 * flood


@pytest.mark.parametrize(
    "nothing",
    [
        Frame(Opcode.PING, b"").serialize(mask=True) * 500,
        Frame(Opcode.PONG, b"").serialize(mask=True) * 500,
        Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
        + Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 498
        + Frame(Opcode.CONT, b"").serialize(mask=True),
    ],
)
@pytest.mark.soak
async def test_a_peer_that_sends_frames_of_nothing_is_slowed(
    autojump_clock: MockClock, nothing: bytes
) -> None:
    """Every frame takes time that belongs to all calls."""
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        raw, began, frames = Raw(on, nursery), trio.current_time(), 40_000
        await raw.send(UPGRADE % b"/twilio" + text(start()) + nothing * (frames // 500) + text(media(0)))
        in_one_read = READ_BYTES * 500 / len(nothing)
        await trio.sleep(
            began + (frames - BURST_MESSAGES - in_one_read) / MESSAGES_PER_S - 1 - trio.current_time()
        )
        assert on.entries("CA1") == []
        await trio.sleep(in_one_read / MESSAGES_PER_S + 2)
        assert on.audio("CA1") == b"\x01" * 160
        nursery.cancel_scope.cancel()


async def test_a_byte_at_a_time_is_slowed(autojump_clock: MockClock) -> None:
    """And all of it is taken."""
    async with run_gateway(GENERIC) as on, trio.open_nursery() as nursery:
        raw = Raw(on, nursery)
        begin = generic_start()
        await raw.send(UPGRADE % b"/v1/ingest" + text(begin))
        reads, receive = 0, raw.its.receive_stream.receive_some_hook

        async def count() -> None:
            nonlocal reads
            reads += 1
            if receive is not None:
                await receive()

        raw.its.receive_stream.receive_some_hook = count
        message = Frame(Opcode.BINARY, b"a" * 10_000).serialize(mask=True)
        for at in range(len(message)):
            await raw.send(message[at : at + 1])
            await trio.sleep(0.0001)
        assert BURST_MESSAGES / 2 < reads < BURST_MESSAGES + 1.1 * MESSAGES_PER_S
        await trio.sleep(1)
        assert on.audio("c") == b"a" * 10_000
        nursery.cancel_scope.cancel()


async def test_a_peer_that_does_not_read_what_it_is_told(autojump_clock: MockClock) -> None:
    """Its acknowledgements wait, up to a bound; others go on."""
    begin = generic_start()
    async with run_gateway(GENERIC, ack_interval=1) as on, trio.open_nursery() as nursery:
        raw = Raw(on, nursery)
        await raw.send(UPGRADE % b"/v1/ingest" + text(begin))
        await trio.sleep(1)
        assert b"started" in raw.answer
        raw.its.send_stream.send_all_hook = trio.sleep_forever  # the kernel takes nothing more
        await raw.send(Frame(Opcode.BINARY, b"a" * 800).serialize(mask=True))
        await trio.sleep(20)
        assert raw.ended_at == pytest.approx(8.1, abs=0.2)  # 5 s for the message, 2 s for the close
        assert on.count("ingest_refusals_total", platform="generic", reason="not_reading") == 1
        assert on.audio("c") == b"a" * 800
        nursery.cancel_scope.cancel()


# -- TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def test_a_call_over_tls(autojump_clock: MockClock, authority: trustme.CA) -> None:
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("gateway").configure_cert(server)
    authority.configure_trust(client)
    played = recording(3, audio_format(8000, "mulaw", 2))
    async with run_gateway(TWILIO, tls=server) as on:

        async def reach(url: WebSocketURI) -> trio.abc.Stream:
            stream = trio.SSLStream(await on.reach(url), client, server_hostname="gateway")
            await stream.do_handshake()
            return stream

        report = await place(Dial("twilio", "wss://gateway/twilio", "CA1", played), reach, lambda: 0.0)
        assert report.as_wished
        await trio.sleep(1)
        assert on.audio("CA1", b"\xff\xff") == played.audio


async def test_a_peer_that_does_not_speak_tls_or_says_nothing(
    autojump_clock: MockClock, authority: trustme.CA
) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("gateway").configure_cert(server)
    async with run_gateway(TWILIO, tls=server) as on, trio.open_nursery() as nursery:
        plain, silent = Raw(on, nursery), Raw(on, nursery)
        await plain.send(UPGRADE % b"/twilio")
        await trio.sleep(1)
        assert plain.ended_at == 0
        await trio.sleep(10)
        assert silent.ended_at == 10
        assert on.gateway.server.places.open == 0
        assert on.count("ingest_internal_errors_total", place="call") == 0
        nursery.cancel_scope.cancel()


# -- stopping ------------------------------------------------------------------------------------------------


async def test_17_a_stop_lets_calls_go_on_for_a_while(autojump_clock: MockClock) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with run_gateway(TWILIO, drain_s=5) as on, peer(on, TWILIO) as it, trio.open_nursery() as nursery:
        await it.say(start(), media(0))
        nursery.start_soon(on.gateway.serve, listeners)
        await trio.lowlevel.checkpoint()
        on.gateway.stop()
        begun = trio.current_time()
        await it.say(media(1))
        assert "it stops" in on.gateway.not_ready(0)
        assert await refused(on, "/twilio") == 0
        await trio.sleep(10)
        assert it.close[0] == 1001
        assert it.closed_at == pytest.approx(begun + 5, abs=0.2)
        assert on.audio("CA1") == b"\x01" * 320
        assert on.ends("CA1") == ["shutdown"]


async def test_17_and_calls_without_socket_end_before_it_does(autojump_clock: MockClock) -> None:
    """However long another gateway might be waited for."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with run_gateway(TWILIO, reconnect_grace_s=60) as on, trio.open_nursery() as nursery:
        nursery.start_soon(on.gateway.serve, listeners)
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
        await trio.sleep(1)
        on.gateway.stop()
        await trio.sleep(4)
        assert on.ends("CA1") == []
        await trio.sleep(2)
        assert on.ends("CA1") == ["disconnected"]
        assert nursery.child_tasks == frozenset()


async def test_17_and_is_over_as_soon_as_they_are(autojump_clock: MockClock) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with run_gateway(TWILIO, drain_s=3600) as on, trio.open_nursery() as nursery:
        nursery.start_soon(on.gateway.serve, listeners)
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
            on.gateway.stop()
            await trio.sleep(100)
            await it.say(media(1), stop())
        await trio.sleep(1)
        assert nursery.child_tasks == frozenset()
        assert on.ends("CA1") == ["stop"]

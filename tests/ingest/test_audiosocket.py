"""AudioSocket's connections, from the first byte to the end, as Asterisk makes them."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from tests.ingest.gateway_harness import GatewayHarness, recording, run_gateway
from trio.testing import MockClock

from trio_asr.config import Route, Secret
from trio_asr.ingest.audiosocket import MOST_AT_ONCE
from trio_asr.ingest.session import Session
from trio_asr.lab.dial.report import Outcome, Report
from trio_asr.lab.dial.settings import Dial, Faults
from trio_asr.lab.dial.socket import parsed
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.tlv import TlvReader, write_tlv

TOKEN = "0011223344556677"
KEYED = Route(
    path="/audiosocket/{token}", platform="audiosocket", port=9092, tenant="acme",
    secrets={"token": Secret(TOKEN)},
)  # fmt: skip
OPEN = Route(path="/audiosocket", platform="audiosocket", port=9092, tenant="acme", auth="none")
CALL = "8899aabbccddeeff"
UUID = bytes.fromhex(TOKEN + CALL)
HELLO, HANGUP = write_tlv(0x01, UUID), write_tlv(0x00)
PCM = bytes(range(160)) * 2
NAMES = {"platform": "audiosocket"}


def audio(pcm: bytes = PCM, kind: int = 0x10) -> bytes:
    return write_tlv(kind, pcm)


async def dialled(on: GatewayHarness, rate: int = 8000, token: str = TOKEN, **faults: Any) -> Report:
    played = recording(2, audio_format(rate))
    url = f"tcp://gateway:9092/{token}"
    report = await on.place(Dial("audiosocket", url, CALL, played, faults=Faults(**faults)))
    await trio.sleep(5)
    return report


async def connected(on: GatewayHarness) -> trio.abc.HalfCloseableStream:
    stream = await on.reach(parsed("tcp://gateway:9092/"))
    assert isinstance(stream, trio.abc.HalfCloseableStream)
    return stream


async def said(stream: trio.abc.Stream) -> list[int]:
    """The types of what the gateway says until it closes."""
    reader, found = TlvReader(), list[int]()
    while data := await stream.receive_some():
        found += [frame.type for frame in reader.take(data)]
    return found


@pytest.mark.parametrize("rate", [8000, 12_000, 16_000, 44_100, 48_000, 96_000])
async def test_a_call_is_on_the_stream_once_and_whole(rate: int, autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        report = await dialled(on, rate)
        assert report.sockets[0].outcome is Outcome.FINISHED
        assert on.audio(CALL, b"\0\0") == recording(2, audio_format(rate)).audio
        assert {entry["tenant_id"] for entry in on.entries(CALL)} == {"acme"}
        assert on.ends(CALL) == ["hangup"]
        assert on.gateway.server.places.open == 0


async def test_3_without_a_hangup_it_ends_after_the_grace(autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        await dialled(on, no_stop=True)
        assert on.ends(CALL) == ["disconnected"]
        assert len(on.audio(CALL, b"\0\0")) == 32_000


async def test_without_a_secret_the_uuid_is_the_call(autojump_clock: MockClock) -> None:
    async with run_gateway(OPEN) as on:
        stream = await connected(on)
        await stream.send_all(HELLO + audio() + HANGUP)
        await stream.send_eof()
        assert await said(stream) == []
        await trio.sleep(1)
        assert on.audio("00112233-4455-6677-8899-aabbccddeeff", b"\0\0") == PCM


async def test_a_wrong_secret_is_hung_up_on(autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        report = await dialled(on, token="ff" * 8)
        assert (report.sockets[0].outcome, report.sockets[0].reason) == (Outcome.CLOSED, "hung up")
        assert on.count("ingest_refusals_total", reason="credentials", **NAMES) == 1
        assert on.entries(CALL) == []


async def test_no_websocket_gets_in_by_that_route(autojump_clock: MockClock) -> None:
    async with run_gateway(OPEN) as on:
        report = await on.place(
            Dial("vonage", "ws://gateway/audiosocket", "c", recording(0.1, audio_format(8000)))
        )
        assert report.sockets[0].status == 404


async def test_frames_split_anywhere(autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        for byte in HELLO + audio() + audio() + HANGUP:
            await stream.send_all(bytes([byte]))
        await stream.send_eof()
        await said(stream)
        await trio.sleep(1)
        assert on.audio(CALL, b"\0\0") == PCM * 2


async def test_2_audio_before_the_uuid_is_held(autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        await stream.send_all(audio() + HELLO + audio() + HANGUP)
        await stream.send_eof()
        await said(stream)
        await trio.sleep(1)
        assert on.audio(CALL, b"\0\0") == PCM * 2
        assert on.count("ingest_odd_messages_total", kind="early", **NAMES) == 1


@pytest.mark.parametrize("sent", [b"", audio(), audio(bytes(60_000)) * 2, b"GET / HTTP/1.1\r\n\r\n"])
async def test_who_says_no_uuid_is_turned_away(sent: bytes, autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        await stream.send_all(sent)
        assert await said(stream) == []
        assert trio.current_time() <= 10
        assert on.count("ingest_refusals_total", reason="no_credentials", **NAMES) == 1
        assert on.gateway.server.places.open == 0


async def test_frames_of_nothing_before_the_uuid_have_an_end(autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        await stream.send_all(write_tlv(0x42) * 100_000)
        assert await said(stream) == []
        assert trio.current_time() < 1
        assert on.count("ingest_refusals_total", reason="no_credentials", **NAMES) == 1


async def test_frames_of_nothing_after_it_leave_others_their_turn(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    hear = Session.hear

    def spied(self: Session, messages: Any) -> None:
        heard.append(len(messages))
        hear(self, messages)

    monkeypatch.setattr(Session, "hear", spied)
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        await stream.send_all(HELLO + audio() + write_tlv(0x42) * 20_000)
        await trio.sleep(60)
        assert max(heard) == MOST_AT_ONCE
        assert sum(heard) == 20_002
        assert on.count("ingest_odd_messages_total", kind="event", **NAMES) == 20_000


async def test_who_connects_and_leaves_is_no_refusal(autojump_clock: MockClock) -> None:
    """As balancers and the doctor do, to see whether somebody listens."""
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        await stream.send_eof()
        assert await said(stream) == []
        assert on.count("ingest_refusals_total", reason="no_credentials", **NAMES) == 0
        assert on.gateway.server.places.open == 0


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (audio() + audio(kind=0x12), "format"),
        (audio(kind=0x18), "sample_rate"),
        (write_tlv(0x01, bytes(16)), "call_id"),
    ],
)
async def test_13_what_cannot_be_taken_is_hung_up_on(
    sent: bytes, reason: str, autojump_clock: MockClock
) -> None:
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        await stream.send_all(HELLO + sent)
        assert await said(stream) == [0]
        assert on.count("ingest_refusals_total", reason=reason, **NAMES) == 1


async def test_15_a_uuid_of_zeros_is_a_probe(autojump_clock: MockClock) -> None:
    async with run_gateway(OPEN) as on:
        stream = await connected(on)
        await stream.send_all(write_tlv(0x01, bytes(16)) + audio())
        await stream.send_eof()
        await said(stream)
        await trio.sleep(5)
        assert on.count("ingest_odd_messages_total", kind="probe", **NAMES) == 1
        assert on.count("ingest_calls_begun_total", **NAMES) == 0


async def test_15_and_keeps_no_place_for_as_long_as_a_call(autojump_clock: MockClock) -> None:
    async with run_gateway(OPEN, idle_s=600) as on:
        stream = await connected(on)
        await stream.send_all(write_tlv(0x01, bytes(16)))
        assert await said(stream) == [0]
        assert trio.current_time() == pytest.approx(10, abs=0.1)


async def test_a_caller_may_say_nothing_for_as_long_as_a_call_may(autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED, idle_s=60) as on:
        stream = await connected(on)
        await stream.send_all(HELLO)
        await trio.sleep(50)
        await stream.send_all(audio() + HANGUP)
        await stream.send_eof()
        await said(stream)
        await trio.sleep(1)
        assert on.audio(CALL, b"\0\0") == PCM
        stream = await connected(on)
        await stream.send_all(HELLO)
        began = trio.current_time()
        assert await said(stream) == [0]
        assert trio.current_time() - began == pytest.approx(60, abs=0.1)


async def test_an_error_is_counted_and_audio_goes_on(autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        await stream.send_all(HELLO + audio() + write_tlv(0xFF, b"\x02") + audio() + HANGUP)
        await stream.send_eof()
        await said(stream)
        await trio.sleep(1)
        assert on.audio(CALL, b"\0\0") == PCM * 2
        assert on.count("ingest_odd_messages_total", kind="told", **NAMES) == 1


async def test_places_are_those_of_all_platforms(autojump_clock: MockClock) -> None:
    one = Route(path="/a", platform="audiosocket", port=9092, tenant="t", auth="none", max_connections=1)
    async with run_gateway(one) as on:
        first, second = await connected(on), await connected(on)
        await first.send_all(HELLO)
        await trio.sleep(0.1)
        await second.send_all(HELLO)
        assert await said(second) == [0]
        assert on.count("ingest_refusals_total", reason="route_connections", **NAMES) == 1
        assert len(on.gateway.server.sessions) == 1


async def test_17_a_stop_hangs_up_and_ends_the_call(autojump_clock: MockClock) -> None:
    async with run_gateway(KEYED) as on:
        stream = await connected(on)
        await stream.send_all(HELLO + audio())
        await trio.sleep(0.5)
        for session in [*on.gateway.server.sessions]:
            session.leave()
        assert await said(stream) == [0]
        await trio.sleep(1)
        assert on.ends(CALL) == ["shutdown"]


async def connection() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a connection over TCP."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        ours = await trio.open_tcp_stream(*listener.socket.getsockname())
        return ours, await listener.accept()


async def silence(client: trio.SocketStream, count: int) -> list[bytes]:
    """The first frames that come back."""
    reader, found = TlvReader(), list[bytes]()
    with trio.fail_after(60):
        while len(found) < count:
            found += [frame.payload for frame in reader.take(await client.receive_some()) if frame.type]
    return found[:count]


@pytest.mark.parametrize(("kind", "size"), [(0x10, 320), (0x12, 640)])
async def test_silence_comes_back_in_the_form_of_what_is_sent(kind: int, size: int) -> None:
    """asterisk/asterisk, issue 2089: without it one call in five is silent."""
    async with run_gateway(KEYED) as on, trio.open_nursery() as nursery:
        (sockets,) = on.gateway.audiosockets
        nursery.start_soon(sockets.keep_silent)
        ours, its = await connection()
        nursery.start_soon(sockets.handle, its)
        async with ours:
            await ours.send_all(HELLO + audio(kind=kind))
            assert (await silence(ours, 10))[-1] == bytes(size)
        nursery.cancel_scope.cancel()


async def test_who_does_not_read_is_sent_whole_frames_later_and_holds_up_nobody() -> None:
    async with run_gateway(KEYED) as on, trio.open_nursery() as nursery:
        (sockets,) = on.gateway.audiosockets
        ours, its = await connection()
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        nursery.start_soon(sockets.handle, its)
        async with ours:
            await ours.send_all(HELLO + audio())
            with trio.fail_after(60):
                while not sockets.lines:  # noqa: ASYNC110 - a socket's end, which no event tells
                    await trio.sleep(0.01)
            (line,) = sockets.lines
            for _ in range(20_000):  # far more than the kernel takes
                line.send_silence()
            reader, found = TlvReader(), list[bytes]()
            with trio.fail_after(60):
                while len(found) < 1000:
                    line.send_silence()
                    found += [frame.payload for frame in reader.take(await ours.receive_some())]
        assert set(found) == {bytes(320)}
        nursery.cancel_scope.cancel()

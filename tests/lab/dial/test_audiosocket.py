"""AudioSocket's frames, and the socket that is none of a WebSocket."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from uuid import NAMESPACE_OID, uuid5

import pytest
import trio
from tests.lab.dial.calls import call, recording
from trio.testing import (
    MemoryReceiveStream,
    MemorySendStream,
    MockClock,
    memory_stream_pair,
    wait_all_tasks_blocked,
)
from websockets.uri import WebSocketURI

from trio_asr.lab.dial.audiosocket import AudioSocket
from trio_asr.lab.dial.caller import place
from trio_asr.lab.dial.frames import frames
from trio_asr.lab.dial.report import Outcome
from trio_asr.lab.dial.socket import ABNORMAL, CLOSE_S, parsed
from trio_asr.lab.dial.tcp import NORMAL, TcpSocket

Pair = trio.StapledStream[MemorySendStream, MemoryReceiveStream]
SECRET, CALL = "0123456789abcdef", "8899aabbccddeeff"


def asterisk(identity: str = CALL, secret: str = SECRET, rate: int = 8000) -> AudioSocket:
    dial = call("audiosocket", recording(0.04, rate=rate), url=f"tcp://a.test:9092/{secret}")
    return AudioSocket(replace(dial, call=identity))


@pytest.mark.parametrize(("rate", "kind"), [(8000, b"\x10"), (16_000, b"\x12"), (96_000, b"\x17")])
def test_a_call(rate: int, kind: bytes) -> None:
    one = asterisk(rate=rate)
    assert one.hello(0) == [b"\x01\x00\x10" + bytes.fromhex(SECRET + CALL)]
    dial, size = one._dial, rate // 50 * 2
    cut = frames(dial.recording, 20, dial.faults, separate=False)
    assert [message for frame in cut for message in one.media(frame)] == [
        kind + size.to_bytes(2, "big") + dial.recording.audio[at : at + size] for at in (0, size)
    ]
    assert (one.stop(0), one.over) == ([b"\x00\x00\x00"], True)


@pytest.mark.parametrize(
    ("identity", "secret", "uuid"),
    [
        ("c-1", SECRET, SECRET + hashlib.sha256(b"c-1").hexdigest()[:16]),
        ("8899AABB", SECRET, SECRET + hashlib.sha256(b"8899AABB").hexdigest()[:16]),
        ("00112233-4455-6677-8899-aabbccddeeff", "", "00112233445566778899aabbccddeeff"),
        ("c-1", "", uuid5(NAMESPACE_OID, "c-1").hex),
    ],
)
def test_the_uuid(identity: str, secret: str, uuid: str) -> None:
    assert asterisk(identity, secret).hello(0) == [b"\x01\x00\x10" + bytes.fromhex(uuid)]


def test_what_it_hears() -> None:
    one = asterisk()
    assert one.hear(b"\x10\x00\x04ab", 0) == []
    assert (one.acked, one.over) == (0, False)
    assert one.hear(b"cd\x00\x00\x00", 0) == []
    assert (one.acked, one.over, one.complaint) == (1, True, "hung up")
    done = asterisk()
    done.stop(0)
    done.hear(b"\x00\x00\x00", 0)
    assert done.complaint == ""


def test_the_url() -> None:
    url = parsed("tcp://10.0.0.1:9092/x")
    assert (url.secure, url.host, url.port) == (False, "10.0.0.1", 9092)


async def test_the_socket(autojump_clock: MockClock) -> None:
    ours, its = memory_stream_pair()
    one = TcpSocket(ours)
    await one.send([b"a", b"b", "no text"])
    assert await its.receive_some() == b"ab"
    await its.send_all(b"xyz")
    assert await one.receive() == b"xyz"
    began = trio.current_time()
    await one.close()
    assert trio.current_time() - began == CLOSE_S  # it says nothing
    await its.aclose()
    assert (await one.receive(), one.code, one.reason) == (None, NORMAL, "")
    await one.send([b"late"])
    await one.close()


async def test_who_sends_while_another_task_closes_has_its_turn() -> None:
    ours, its = (trio.SocketStream(one) for one in trio.socket.socketpair())
    async with ours, its, trio.open_nursery() as nursery:
        one = TcpSocket(ours)
        nursery.start_soon(one.send, [b"x"])
        nursery.start_soon(one.close)
        nursery.start_soon(one.send, [b"x"])
        await wait_all_tasks_blocked()
        await its.aclose()
        assert await one.receive() is None


async def test_a_socket_that_is_cut(autojump_clock: MockClock) -> None:
    ours, _ = memory_stream_pair()
    one = TcpSocket(ours)
    await ours.aclose()
    assert (await one.receive(), one.code) == (None, ABNORMAL)


class Slow(trio.abc.HalfCloseableStream):
    """A stream on which each sending takes 10 ms."""

    def __init__(self, stream: Pair) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(0.01)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_the_last_word_goes_out_whatever_is_heard_meanwhile(autojump_clock: MockClock) -> None:
    ours, its = memory_stream_pair()
    heard = bytearray()

    async def reach(url: WebSocketURI) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Slow(ours)

    async def listen() -> None:
        while data := await its.receive_some():
            heard.extend(data)
        await its.aclose()

    async def talk() -> None:
        while True:
            await trio.sleep(0.005)
            await its.send_all(b"\x10\x00\x00")

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(talk)
            one = call("audiosocket", recording(0.04), url=f"tcp://a.test:9092/{SECRET}")
            report = await place(one, reach)
            nursery.cancel_scope.cancel()
    assert [one.outcome for one in report.sockets] == [Outcome.FINISHED]
    assert heard.endswith(b"\x00\x00\x00")

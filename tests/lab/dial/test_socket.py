"""What a client's WebSocket does by itself, against another implementation of the protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import WebSocketConnection, wrap_server_stream
from wsproto.events import TextMessage

from trio_asr.lab.dial.socket import ABNORMAL, CLOSE_S, ClientSocket, parsed

Serve = Callable[[WebSocketConnection, trio.abc.Stream], Awaitable[None]]


async def with_server(serve: Serve, use: Callable[[ClientSocket], Awaitable[None]]) -> None:
    """Run both sides of a connection until `use` is done."""
    ours, theirs = memory_stream_pair()

    async def accept() -> None:
        request = await wrap_server_stream(nursery, theirs)
        await serve(await request.accept(), theirs)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await use(await ClientSocket.open(ours, parsed("ws://a.test/x"), {}))
        nursery.cancel_scope.cancel()


async def test_pings_are_answered_and_pieces_put_together(autojump_clock: MockClock) -> None:
    async def serve(socket: WebSocketConnection, stream: trio.abc.Stream) -> None:
        await socket.ping(b"there?")
        await socket._send(TextMessage(data="in two ", message_finished=False))
        await socket._send(TextMessage(data="pieces", message_finished=True))
        await socket.send_message(b"\0\1")
        await socket.aclose(4000, "enough")

    async def use(socket: ClientSocket) -> None:
        assert [await socket.receive() for _ in range(3)] == ["in two pieces", b"\0\1", None]
        assert (socket.code, socket.reason) == (4000, "enough")
        await socket.send(["too late"])
        await socket.close()

    await with_server(serve, use)
    assert trio.current_time() == 0


async def test_a_connection_that_breaks(autojump_clock: MockClock) -> None:
    async def serve(socket: WebSocketConnection, stream: trio.abc.Stream) -> None:
        await stream.aclose()

    async def use(socket: ClientSocket) -> None:
        assert await socket.receive() is None
        assert (socket.code, socket.reason) == (ABNORMAL, "")
        await socket.send([b"into the void"])
        await socket.close()

    await with_server(serve, use)
    assert trio.current_time() == 0


async def test_a_server_that_never_closes_is_not_waited_for_forever(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()

    async def accept() -> None:
        request = await wrap_server_stream(reading, theirs)
        await request.accept()
        reading.cancel_scope.cancel()  # from now on nobody reads

    async with trio.open_nursery() as reading:
        reading.start_soon(accept)
        socket = await ClientSocket.open(ours, parsed("ws://a.test/x"), {})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.receive)
        await socket.close()
        nursery.cancel_scope.cancel()
    assert (trio.current_time(), socket.code) == (CLOSE_S, ABNORMAL)

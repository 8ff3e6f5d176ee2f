"""A bare TCP connection with the manners of a WebSocket, for platforms that speak no such thing."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from trio_asr.lab.dial.platform import Message
from trio_asr.lab.dial.socket import ABNORMAL, CLOSE_S, READ_BYTES

NORMAL = 1000  # as a WebSocket's close would say it (RFC 6455, 7.4.1)
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


class TcpSocket:
    """A connection. Messages are bytes as they go, and what is received is whatever has come."""

    reason = ""  # TCP says none

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._turn = trio.StrictFIFOLock()
        self._ended = trio.Event()
        self.code = ABNORMAL

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages. On a connection that is over, they are dropped: `receive` tells of its end."""
        data = b"".join(message for message in messages if isinstance(message, bytes))
        if not data:
            await trio.lowlevel.checkpoint()
            return
        try:
            async with self._turn:
                await self._stream.send_all(data)
        except _BROKEN:
            return

    async def receive(self) -> Message | None:
        """Return the next bytes, or None once the server has closed or the connection is gone."""
        try:
            data = await self._stream.receive_some(READ_BYTES)
        except _BROKEN:
            data = b""
        else:
            self.code = NORMAL
        if not data:
            self._ended.set()
            return None
        return bytes(data)

    async def close(self) -> None:
        """End, and wait up to `CLOSE_S` for the server's end. Another task must receive."""
        try:
            async with self._turn:
                if isinstance(self._stream, trio.abc.HalfCloseableStream):
                    await self._stream.send_eof()
        except _BROKEN:
            return
        with trio.move_on_after(CLOSE_S):
            await self._ended.wait()

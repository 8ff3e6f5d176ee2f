"""The byte stream below a connection: it sends without waiting where it can, and tells when it broke.

A trio stream lets other tasks run at every send. Five times a second and call that costs more than the
sending itself, so what the kernel takes at once is given to it at once.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable

import trio


class WatchedStream(trio.abc.Stream):
    """Any stream; the short ways are for plain TCP. Several tasks may send: whole pieces, one by one."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._turn = trio.StrictFIFOLock()
        self._broken = trio.Event()

    def send(self, data: bytes | bytearray | memoryview) -> Awaitable[None] | None:
        """Send all of `data`; return what to await for that, None if it is done.

        Raises:
            trio.BrokenResourceError: the connection is gone.
        """
        if self._socket is None or self._turn.locked():
            return self._send_in_turn(data)
        sent = self._write(self._socket, data)
        if sent == len(data):
            return None
        self._turn.acquire_nowait()
        return self._send_rest(memoryview(data)[sent:])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if (rest := self.send(data)) is not None:
            await rest

    @staticmethod
    def _write(socket: trio.socket.SocketType, data: bytes | bytearray | memoryview) -> int:
        """Return how much the kernel took."""
        try:
            return os.write(socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:  # a closed socket's number is -1
            raise trio.BrokenResourceError(str(error)) from error

    async def _send_in_turn(self, data: bytes | bytearray | memoryview) -> None:
        async with self._turn:
            await self._stream.send_all(data)

    async def _send_rest(self, data: memoryview) -> None:
        try:
            await self._stream.send_all(data)
        finally:
            self._turn.release()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._receive(max_bytes)
        except trio.BrokenResourceError:
            self._broken.set()
            raise
        if not data:
            self._broken.set()
        return data

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        if self._socket is None or max_bytes is None:
            return await self._stream.receive_some(max_bytes)
        while True:
            if self._socket.fileno() < 0:  # closed by another task, between two reads
                raise trio.ClosedResourceError
            # In this order: what is waited for is hardly ever there already.
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return os.read(self._socket.fileno(), max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        self._broken.set()
        await self._stream.aclose()

    async def cancel_when_broken(self, scope: trio.CancelScope) -> None:
        """Cancel `scope` once nothing more will come."""
        await self._broken.wait()
        scope.cancel()

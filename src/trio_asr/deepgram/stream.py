"""The byte stream below a connection, which sends without a checkpoint where it can.

A trio stream lets other tasks run at every send. At five sends a second for every call, that costs more than
the sending itself. So whatever the kernel takes at once is written at once.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable

import trio

from trio_asr.deepgram.tls import READ, Tls


class WatchedStream(trio.abc.Stream):
    """A byte stream with optional TLS. The fast paths are for sockets; any other stream works, too.

    Several tasks may send. Each piece goes out whole, in the order of the calls.
    """

    __slots__ = ("_socket", "_stream", "_tls", "_turn")

    def __init__(self, stream: trio.abc.Stream, tls: Tls | None = None) -> None:
        self._stream = stream
        self._tls = tls
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._turn = trio.StrictFIFOLock()

    def send(self, data: bytes | bytearray | memoryview) -> Awaitable[None] | None:
        """Send all of `data`; return None if the kernel took it all, else an awaitable for the rest.

        The awaitable waits while the kernel's buffer is full: this is the backpressure. If it is cancelled,
        part of a frame may be out, and the connection is of no more use.

        Raises:
            trio.BrokenResourceError: The connection is gone. The awaitable raises it, too, or
                trio.ClosedResourceError if this side has closed the stream.
        """
        if self._tls is not None:
            try:
                data = self._tls.encrypt(data)
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(str(error)) from error
        return self._send(data)

    def _send(self, data: bytes | bytearray | memoryview) -> Awaitable[None] | None:
        """Send bytes that are ready for the network, in the order of the calls."""
        if self._socket is None or self._turn.locked():
            return self._send_in_turn(data)
        sent = self._write(self._socket, data)
        if sent == len(data):
            return None
        self._turn.acquire_nowait()
        return self._send_rest(memoryview(data)[sent:])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, and wait until the kernel has taken it.

        Raises:
            trio.BrokenResourceError: The connection is gone.
            trio.ClosedResourceError: Another task has closed the stream.
        """
        if (rest := self.send(data)) is not None:
            await rest

    @staticmethod
    def _write(socket: trio.socket.SocketType, data: bytes | bytearray | memoryview) -> int:
        """Write without waiting; return how many bytes the kernel took."""
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
        """Wait until the kernel may take more bytes."""
        await self._stream.wait_send_all_might_not_block()

    async def handshake(self) -> None:
        """Perform the TLS handshake; without TLS, do nothing.

        Raises:
            ssl.SSLError: The peer is not to be trusted, or does not speak TLS.
            trio.BrokenResourceError: The connection is gone.
        """
        if self._tls is None:
            return
        done = False
        while not done:
            refusal = None
            try:
                done = self._tls.shake_hands()
            except ssl.SSLError as error:
                refusal = error
            await self._stream.send_all(self._tls.outgoing())  # on failure this is the alert for the peer
            if refusal is not None:
                raise refusal
            if not done:
                self._tls.incoming(await self._receive_raw(READ))

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return the next bytes of the application; an empty result is the end of the stream.

        Raises:
            trio.BrokenResourceError: The connection is gone, or what came is not TLS of this connection.
            trio.ClosedResourceError: Another task has closed the stream.
        """
        most = READ if max_bytes is None else max_bytes
        return await (self._receive_raw(most) if self._tls is None else self._receive(self._tls, most))

    async def _receive(self, tls: Tls, most: int) -> bytes:
        waited = False
        try:
            while (data := tls.decrypt(most)) is None:
                if (out := tls.outgoing()) and (rest := self._send(out)) is not None:
                    await rest
                tls.incoming(await self._receive_raw(READ))
                waited = True
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(str(error)) from error
        if not waited:
            await trio.lowlevel.checkpoint()
        return data

    async def _receive_raw(self, most: int) -> bytes | bytearray:
        if self._socket is None:
            return await self._stream.receive_some(most)
        while True:
            if self._socket.fileno() < 0:  # another task closed it between two reads
                raise trio.ClosedResourceError
            # Wait first, then read: there is hardly ever something there already.
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return os.read(self._socket.fileno(), most)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        """Close the stream, without a close of TLS: the WebSocket has one of its own."""
        await self._stream.aclose()

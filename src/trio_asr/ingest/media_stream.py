"""The byte stream below a platform's WebSocket: it takes the messages out and leaves the rest to the library.

The handshake, pings and closes are trio-websocket's. Messages are read here (see `wire.client_frames`) and
handed over in a plain call, a whole read at a time, without a task or a channel in between. And while audio
comes that completes nothing yet, the socket is left alone: the kernel keeps what arrives, and one read in a
tenth of a second brings what ten would have.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import trio

from trio_asr.ingest.ticks import Ticks
from trio_asr.wire.client_frames import ClientFrames, Received

MAX_HEAD_BYTES = 16 * 1024  # of a request; those of platforms have 1 KB
READ_BYTES = 64 * 1024
_END_OF_HEAD = b"\r\n\r\n"


class HeadTooLarge(Exception):
    """A request without end."""


class Listener(Protocol):
    """Who takes the messages of a socket."""

    def hear(self, messages: Sequence[Received]) -> None:
        """Take the messages of one read, in order."""
        ...

    def too_large(self, reason: str) -> None:
        """Learn that a message was too large. What comes after it is not read."""
        ...

    def pause_s(self, frames: int) -> float:
        """Return how long the socket is left alone after a read of so many frames, in seconds."""
        ...

    def ended(self) -> None:
        """Learn that nothing more will come."""
        ...


class MediaStream(trio.abc.Stream):
    """A stream for a WebSocket server."""

    def __init__(self, stream: trio.abc.Stream, max_message: int, ticks: Ticks) -> None:
        self._stream, self._ticks = stream, ticks
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._frames = ClientFrames(max_message)
        self._head = b""  # for the library, and sent to it once
        self._rest = b""  # what came behind it
        self._listener: Listener | None = None
        self._accepted = trio.Event()

    async def read_head(self) -> bytes:
        """Read the request, up to the empty line; return it. It may be incomplete if the peer left.

        Raises:
            HeadTooLarge: It does not end.
            trio.BrokenResourceError: The connection is gone.
        """
        data = bytearray()
        while (end := data.find(_END_OF_HEAD)) < 0:
            if len(data) > MAX_HEAD_BYTES:
                raise HeadTooLarge
            piece = await self._stream.receive_some(READ_BYTES)
            if not piece:
                break
            data += piece
        size = len(data) if end < 0 else end + len(_END_OF_HEAD)
        self._head, self._rest = bytes(data[:size]), bytes(data[size:])
        return self._head

    def listen(self, listener: Listener) -> None:
        """Hand the messages to a listener from now on: the handshake is done."""
        self._listener = listener
        self._accepted.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next bytes that are the library's: the request, then frames that are no messages."""
        del max_bytes
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        await self._accepted.wait()  # a peer may not send before it was answered; one that does can wait
        listener = self._listener
        assert listener is not None
        try:
            while data := self._rest or await self._receive():
                self._rest = b""
                before = self._frames.count
                left = self._take(data, listener)
                if (pause_s := listener.pause_s(self._frames.count - before)) > 0:
                    await self._ticks.until(trio.current_time() + pause_s)
                else:
                    await trio.lowlevel.checkpoint()
                if left:
                    return left
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            listener.ended()
            raise
        listener.ended()
        return b""

    async def _receive(self) -> bytes | bytearray:
        """Return the next bytes, or none at the end; what is there is read without a turn of the loop."""
        if self._socket is None:
            return await self._stream.receive_some(READ_BYTES)
        while True:
            if self._socket.fileno() < 0:  # another task has closed it
                raise trio.ClosedResourceError
            try:
                return os.read(self._socket.fileno(), READ_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def _take(self, data: bytes | bytearray, listener: Listener) -> bytes:
        if self._deaf:
            return b""  # it is read, so that the peer learns of the close, and left out
        messages, left = self._frames.take(data)
        if messages:
            listener.hear(messages)
        if reason := self._frames.too_large:
            listener.too_large(reason)
        if self._frames.given_up:
            listener.ended()
        return left

    @property
    def _deaf(self) -> bool:
        return bool(self._frames.too_large)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the stream below may take more."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()

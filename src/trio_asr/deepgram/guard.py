"""The filter between the network and the WebSocket library: only a sound handshake and sound frames pass.

The library trusts its peer. It reads a refusal to its end whatever its size, answers every ping, and raises
what looks like a bug where the peer is at fault. So the answer to the handshake is read here, and frames are
metered here.
"""

from __future__ import annotations

import math

import trio

from trio_asr.deepgram.stream import WatchedStream
from trio_asr.wire.answer import CLOSED_EARLY, Answer, Headers, Refused, switching
from trio_asr.wire.meter import Meter, Offence

REFUSAL_S = 1.0  # the head shows a refusal; its body, which may give the reason, gets this long to arrive
_KEY = b"Sec-WebSocket-Key: "


class GuardedStream(trio.abc.Stream):
    """A byte stream for a WebSocket client, filtered from the client's request on.

    `headers` are those of the answer that opened the connection. `offence` is set when the peer broke the
    protocol or its limits, and the connection ended for that.
    """

    __slots__ = ("_answer", "_max_message", "_meter", "_rest", "_stream", "headers", "offence")

    def __init__(self, stream: WatchedStream, max_message: int) -> None:
        self.headers: Headers = []
        self.offence: Offence | None = None
        self._stream = stream
        self._max_message = max_message
        self._answer: Answer | None = None
        self._meter: Meter | None = None
        self._rest = b""  # bytes that came in the same read as the answer

    @property
    def close_code(self) -> int | None:
        """The code of the close frame that was received, or None if there was none."""
        return None if self._meter is None else self._meter.close_code

    @property
    def refusal(self) -> Refused | None:
        """The refusal whose head has arrived, or None: its body may still be waited for."""
        return None if self._answer is None else self._answer.refusal()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. The first piece is the request, whose key the answer has to match.

        Raises:
            trio.BrokenResourceError: The connection is gone.
        """
        if self._answer is None:
            key = bytes(data).partition(_KEY)[2].partition(b"\r\n")[0]
            self._answer = Answer(key)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the stream below may take more bytes."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return the next bytes: the checked answer to the handshake first, then metered frames.

        Raises:
            Refused: The handshake was not answered with a connection.
            trio.BrokenResourceError: The connection is gone, or has to go because of `offence`.
            trio.ClosedResourceError: The stream was closed by another task.
        """
        meter = self._meter
        if meter is None:
            return await self._handshake()
        if self._rest:
            data: bytes | bytearray = self._rest
            self._rest = b""
        else:
            data = await self._stream.receive_some(max_bytes)
        try:
            meter.take(data, trio.current_time())
        except Offence as offence:
            self.offence = offence
            raise trio.BrokenResourceError(offence.reason) from offence
        return data

    async def _handshake(self) -> bytes:
        """Read the answer and return its head, reduced to the headers that were checked.

        Raises:
            Refused: The answer is not a connection.
            trio.BrokenResourceError: Nothing has been sent, so there is no answer to read.
        """
        answer = self._answer
        if answer is None:
            raise trio.BrokenResourceError("nothing was asked")
        accepted = None
        with trio.CancelScope() as patience:
            while accepted is None:
                accepted = answer.take(await self._receive_answer())
                if answer.refused and patience.deadline == math.inf:
                    patience.deadline = trio.current_time() + REFUSAL_S
        if accepted is None:
            raise self.refusal or Refused(None, CLOSED_EARLY)
        self.headers = accepted.headers
        self._meter = Meter(self._max_message, trio.current_time())
        self._rest = accepted.rest
        return switching(accepted.headers)

    async def _receive_answer(self) -> bytes | bytearray:
        try:
            return await self._stream.receive_some()
        except trio.BrokenResourceError:
            return b""  # judge by what has arrived

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()

"""A client's WebSocket on any byte stream. The protocol is that of `websockets`, which does no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from trio_asr.lab.dial.platform import Message

ABNORMAL = 1006  # RFC 6455, 7.4.1: the connection ended without a close frame
CLOSE_S = 10.0
READ_BYTES = 65536
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


class Refused(Exception):
    """The server did not answer with a WebSocket. `status` is its HTTP status, 0 if there was none."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def parsed(url: str) -> WebSocketURI:
    """Return the parts of a URL. One of "tcp://" is taken as well.

    Raises:
        ValueError: It is none of a WebSocket; the message does not quote it.
    """
    try:
        return parse_uri(f"ws{url[3:]}" if url.startswith("tcp://") else url)
    except (InvalidURI, ValueError):
        raise ValueError("not a URL of a WebSocket, such as wss://host/path") from None


class ClientSocket:
    """An open WebSocket. One task receives; any may send, and what they send goes out in their order."""

    def __init__(self, stream: trio.abc.Stream, protocol: ClientProtocol) -> None:
        self._stream, self._protocol = stream, protocol
        self._turn = trio.StrictFIFOLock()
        self._parts: list[bytes] = []
        self._is_text = False
        self._waiting: list[Message] = []
        self._ended = trio.Event()

    @classmethod
    async def open(
        cls,
        stream: trio.abc.Stream,
        url: WebSocketURI,
        headers: Mapping[str, str],
        subprotocols: Sequence[str] = (),
    ) -> ClientSocket:
        """Shake hands. The user and password of the URL are sent as `Authorization: Basic`.

        Raises:
            Refused: The answer is no WebSocket, or the connection broke.
        """
        offered = [Subprotocol(name) for name in subprotocols]
        protocol = ClientProtocol(url, subprotocols=offered or None)
        request = protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        protocol.send_request(request)
        socket = cls(stream, protocol)
        try:
            await socket._flush()
            while protocol.state is not OPEN and protocol.handshake_exc is None:
                await socket._read()
        except _BROKEN:
            raise Refused(0, "the connection broke in the handshake") from None
        if protocol.handshake_exc is not None:
            raise _refused(protocol.handshake_exc)
        if offered and protocol.subprotocol is None:
            raise Refused(101, f"the subprotocol {offered[0]} was not accepted")
        return socket

    @property
    def code(self) -> int:
        """The code of the server's close frame, `ABNORMAL` without one."""
        return ABNORMAL if self._protocol.close_rcvd is None else self._protocol.close_rcvd.code

    @property
    def reason(self) -> str:
        """The reason in the server's close frame."""
        return "" if self._protocol.close_rcvd is None else self._protocol.close_rcvd.reason

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages. On a connection that is over, they are dropped: `receive` tells of its end."""
        if self._protocol.state is not OPEN:
            await trio.lowlevel.checkpoint()
            return
        for message in messages:
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)
        try:
            await self._flush()
        except _BROKEN:
            return

    async def receive(self) -> Message | None:
        """Return the next message, or None once the server has closed or the connection is gone."""
        while not self._waiting:
            if self._protocol.close_rcvd is not None or self._protocol.parser_exc is not None:
                self._ended.set()
                return None
            try:
                await self._read()
                await self._flush()  # the answers to pings and closes
            except _BROKEN:
                self._ended.set()
                return None
        return self._waiting.pop(0)

    async def close(self) -> None:
        """Send a close frame (1000) and wait up to `CLOSE_S` for the server's. Another task must receive."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(1000)
        try:
            await self._flush()
        except _BROKEN:
            return
        with trio.move_on_after(CLOSE_S):
            await self._ended.wait()

    async def _read(self) -> None:
        data = await self._stream.receive_some(READ_BYTES)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event.opcode, bytes(event.data), event.fin)

    def _take(self, opcode: Opcode, data: bytes, fin: bool) -> None:
        if opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if opcode is not Opcode.CONT:
            self._is_text = opcode is Opcode.TEXT
        self._parts.append(data)
        if fin:
            whole = b"".join(self._parts)
            self._parts = []
            self._waiting.append(whole.decode(errors="replace") if self._is_text else whole)

    async def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        async with self._turn:
            await self._stream.send_all(data)


def _refused(error: Exception) -> Refused:
    if isinstance(error, InvalidStatus):
        body = (error.response.body or b"")[:200].decode(errors="replace")
        return Refused(error.response.status_code, body.strip() or error.response.reason_phrase)
    return Refused(0, "the answer is no WebSocket")

"""The link to Deepgram: one connection as an async context manager over trio-websocket.

Facts per Deepgram's reference "Live Streaming Audio" and the guides "Errors" and "Audio Keep Alive":
HTTP 101 is the only "ready"; audio goes as binary messages, control as JSON text; an empty binary message
would end the stream; refusals carry `dg-error` and `dg-request-id` headers and a JSON body.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlencode, urlsplit

import h11
import trio
import wsproto.utilities
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, wrap_client_stream
from websockets.frames import Frame, Opcode

from trio_asr.config import DeepgramConfig, Secret, query_items
from trio_asr.deepgram.border import MAX_NAME, Border
from trio_asr.deepgram.guard import GuardedStream
from trio_asr.deepgram.provider import ConnectFailed, Link, LinkClosed
from trio_asr.deepgram.stream import WatchedStream
from trio_asr.deepgram.tls import Tls, context
from trio_asr.telemetry.groups import leaves
from trio_asr.wire import messages
from trio_asr.wire.answer import CLOSED_EARLY, Refused, header
from trio_asr.wire.messages import Error, Message, Unknown
from trio_asr.wire.meter import ABNORMAL, Offence

MAX_MESSAGE_BYTES = 1024 * 1024
QUEUE = 16  # messages between the socket and the receiver: a burst of finals, not more
CLOSE_S = 1.0  # a close handshake that takes longer gains nothing: all that matters was received before
CANCELLED_CLOSE_S = 0.1  # our reader is cancelled too and would not see the answer: send the frame, no more

# What the library makes of a peer that breaks the protocol.
_PROTOCOL = (h11.ProtocolError, wsproto.utilities.ProtocolError)
# What a network makes of a handshake; of a name that cannot be one, UnicodeError.
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed, UnicodeError)
# Codes by which a peer says that it cannot use the audio. The library uses them of what the peer sent, too.
_OURS = frozenset({1002, 1003, 1007})

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]


class DeepgramProvider:
    """Connections to Deepgram's live API."""

    name = "deepgram"
    has_sockets = True

    def __init__(self, config: DeepgramConfig, key: Secret, dial: Dial | None = None) -> None:
        self._config = config
        self._key = key  # revealed for the handshake only: nothing that holds it may show it
        self._border = Border(key)
        url = urlsplit(config.url)
        self._secure = url.scheme == "wss"
        self._host = url.hostname or ""
        self._port = url.port or (443 if self._secure else 80)
        self._path = url.path or "/"
        self._query = url.query
        self._tls = context() if self._secure else None
        self._dial = dial or trio.open_tcp_stream

    def target(self, sample_rate: int) -> str:
        """Return the request's path and query."""
        query = urlencode(query_items(self._config, sample_rate))
        return f"{self._path}?{self._query + '&' if self._query else ''}{query}"

    @asynccontextmanager
    async def connect(self, sample_rate: int) -> AsyncIterator[Link]:
        opened = False
        try:
            async with trio.open_nursery() as nursery, _closing(nursery.cancel_scope) as streams:
                with trio.fail_after(self._config.connect_timeout_ms / 1000):
                    stream = await self._reach()
                    streams.append(stream)
                    await stream.begin()
                    guard = GuardedStream(stream, MAX_MESSAGE_BYTES)
                    socket = await self._shake_hands(nursery, guard, self.target(sample_rate))
                opened = True
                try:
                    yield _DeepgramLink(socket, stream, guard, self._border)
                finally:
                    # Shielded: a cancelled connection would send no close frame.
                    cancelled = trio.current_effective_deadline() == -math.inf
                    with trio.move_on_after(CANCELLED_CLOSE_S if cancelled else CLOSE_S, shield=True):
                        await socket.aclose()
        except Exception as error:
            if opened:
                raise
            raise self._failed(error) from None

    async def _reach(self) -> WatchedStream:
        raw = await self._dial(self._host, self._port)
        return WatchedStream(raw, Tls(self._tls, self._host) if self._tls else None)

    async def _shake_hands(
        self, nursery: trio.Nursery, guard: GuardedStream, target: str
    ) -> WebSocketConnection:
        reader = _Reader(nursery, guard)
        opened = await wrap_client_stream(
            cast("trio.Nursery", reader),
            cast("trio.SocketStream", guard),
            self.host_header,
            target,
            extra_headers=[(b"Authorization", b"Token " + self._key.reveal().encode())],
            message_queue_size=QUEUE,
            max_message_size=MAX_MESSAGE_BYTES,
        )
        reader.opened = True
        return opened

    @property
    def host_header(self) -> str:
        """The Host that is asked for: an IPv6 address in brackets, a port that is not the scheme's own."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return host if self._port == (443 if self._secure else 80) else f"{host}:{self._port}"

    def _failed(self, error: Exception) -> Exception:
        """Return what kept the connection from opening, as the one error that callers know."""
        causes = leaves(error)
        said = self._border.said
        for kind in (Refused, trio.TooSlowError, *_PROTOCOL, *_BROKEN):
            for cause in causes:
                if not isinstance(cause, kind):
                    continue
                if isinstance(cause, Refused):
                    request_id = said(cause.request_id, MAX_NAME)
                    return ConnectFailed(said(cause.reason), status=cause.status, request_id=request_id)
                if isinstance(cause, trio.TooSlowError):
                    return ConnectFailed(f"no answer within {self._config.connect_timeout_ms} ms")
                return ConnectFailed(said(f"{type(cause).__name__}: {cause}"))
        return error


class _Reader:
    """Where the library starts its reader, which must not fail for what the peer does."""

    def __init__(self, nursery: trio.Nursery, guard: GuardedStream) -> None:
        self.opened = False
        self._nursery, self._guard = nursery, guard

    def start_soon(self, read: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, read)

    async def _run(self, read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
        except _PROTOCOL as error:
            # For instance the answer to a ping that comes after a close. The connection is over either way.
            if not self.opened:
                raise
            self._guard.offence = self._guard.offence or Offence(str(error))
        if not self.opened:
            raise Refused(None, CLOSED_EARLY)


@asynccontextmanager
async def _closing(tasks: trio.CancelScope) -> AsyncIterator[list[trio.abc.Stream]]:
    """Close the streams in the list at the end, then end the tasks on them.

    trio-websocket leaves its stream open when the peer is gone. Shielded (closing by force does not wait):
    a cancellation here would hide what ended the block.
    """
    streams: list[trio.abc.Stream] = []
    try:
        yield streams
    finally:
        with trio.CancelScope(shield=True):
            for stream in streams:
                await trio.aclose_forcefully(stream)
        tasks.cancel()


class _DeepgramLink:
    """An open connection.

    trio-websocket does all of the protocol but one thing: a message of audio goes to the stream as a frame
    that `websockets` makes. That masks in C, and saves two turns of the event loop.
    """

    __slots__ = ("_border", "_guard", "_socket", "_stream", "request_id")

    def __init__(
        self, socket: WebSocketConnection, stream: WatchedStream, guard: GuardedStream, border: Border
    ) -> None:
        self._socket, self._stream, self._guard, self._border = socket, stream, guard, border
        self.request_id = border.said(header(guard.headers, b"dg-request-id"), MAX_NAME)

    def send_audio(self, pcm: bytes) -> Awaitable[None] | None:
        if not pcm:
            return None  # an empty message is the legacy end of a stream
        if (reason := self._socket.closed) is not None:
            raise self._closed(reason)
        frame = Frame(Opcode.BINARY, pcm)
        try:
            rest = self._stream.send(frame.serialize(mask=True))
        except trio.BrokenResourceError:
            raise self._closed(None) from None
        return None if rest is None else self._sent(rest)

    async def send_control(self, text: str) -> None:
        try:
            await self._socket.send_message(text)
        except ConnectionClosed as closed:
            raise self._closed(closed.reason) from None
        except _PROTOCOL:
            raise self._closed(None) from None

    async def receive(self) -> Message:
        try:
            message = messages.decode(await self._socket.get_message())
        except ConnectionClosed as closed:
            raise self._closed(closed.reason) from None
        if isinstance(message, Error | Unknown):
            return self._masked(message)
        return message

    def _masked(self, message: Error | Unknown) -> Error | Unknown:
        said = self._border.said
        if isinstance(message, Error):
            return Error(said(message.variant, MAX_NAME), said(message.description))
        return Unknown(said(message.type, MAX_NAME), said(message.problem))

    async def _sent(self, rest: Awaitable[None]) -> None:
        try:
            await rest
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._closed(None) from None

    def _closed(self, reason: CloseReason | None) -> LinkClosed:
        """Return how it ended: by the peer's word, by its offence, or without either."""
        if (offence := self._guard.offence) is not None:
            return LinkClosed(offence.code, self._border.said(offence.reason))
        if reason is None:
            return LinkClosed(ABNORMAL, "")
        code, why = int(reason.code), self._border.said(reason.reason or "")
        if code in _OURS and self._guard.close_code != code:
            return LinkClosed(ABNORMAL, f"it breaks the protocol: {why}")
        return LinkClosed(code, why)

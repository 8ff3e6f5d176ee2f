"""The link to Deepgram: one connection as an async context manager over trio-websocket.

Facts per Deepgram's reference "Live Streaming Audio" and the guides "Errors" and "Audio Keep Alive":
HTTP 101 is the only "ready"; audio goes as binary messages, control as JSON text; an empty binary message
would end the stream; refusals carry `dg-error` and `dg-request-id` headers and a JSON body.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, cast
from urllib.parse import urlencode, urlsplit

import h11
import msgspec
import trio
import wsproto.utilities
from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)
from websockets.frames import Frame, Opcode

from trio_asr.config import DeepgramConfig, Secret, query_items
from trio_asr.core import messages
from trio_asr.core.messages import Message
from trio_asr.provider import ConnectFailed, Link, LinkClosed
from trio_asr.stream import WatchedStream
from trio_asr.tls import Tls, context

MAX_MESSAGE_BYTES = 1024 * 1024
QUEUE = 16  # messages between the socket and the receiver: a burst of finals, not more
CLOSE_S = 1.0  # a close handshake that takes longer gains nothing: all that matters was received before
CANCELLED_CLOSE_S = 0.1  # our reader is cancelled too and would not see the answer: send the frame, no more

# What a network, or a server that does not speak HTTP, makes of a handshake.
_BROKEN = (
    OSError,
    trio.BrokenResourceError,
    ConnectionClosed,
    h11.ProtocolError,
    wsproto.utilities.ProtocolError,
)

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]


class DeepgramProvider:
    """Connections to Deepgram's live API."""

    name = "deepgram"
    has_sockets = True

    def __init__(self, config: DeepgramConfig, key: Secret, dial: Dial | None = None) -> None:
        self._config = config
        self._key = key  # revealed for the handshake only: nothing that holds it may show it
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
                    socket = await self._shake_hands(nursery, stream, self.target(sample_rate))
                opened = True
                try:
                    yield _DeepgramLink(socket, stream)
                finally:
                    # Shielded: a cancelled connection would send no close frame.
                    cancelled = trio.current_effective_deadline() == -math.inf
                    with trio.move_on_after(CANCELLED_CLOSE_S if cancelled else CLOSE_S, shield=True):
                        await socket.aclose()
        except Exception as error:
            if opened:
                raise
            _refuse(error, self._config.connect_timeout_ms)

    async def _reach(self) -> WatchedStream:
        raw = await self._dial(self._host, self._port)
        return WatchedStream(raw, Tls(self._tls, self._host) if self._tls else None)

    async def _shake_hands(
        self, nursery: trio.Nursery, stream: WatchedStream, target: str
    ) -> WebSocketConnection:
        host = self._host if self._port in (80, 443) else f"{self._host}:{self._port}"
        opened: WebSocketConnection | None = None
        async with trio.open_nursery() as race:
            race.start_soon(stream.cancel_when_broken, race.cancel_scope)
            opened = await wrap_client_stream(
                nursery,
                cast("trio.SocketStream", stream),
                host,
                target,
                extra_headers=[(b"Authorization", b"Token " + self._key.reveal().encode())],
                message_queue_size=QUEUE,
                max_message_size=MAX_MESSAGE_BYTES,
            )
            race.cancel_scope.cancel()
        if opened is None:
            raise ConnectFailed("the connection was closed before the handshake was answered")
        return opened


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

    __slots__ = ("_socket", "_stream", "request_id")

    def __init__(self, socket: WebSocketConnection, stream: WatchedStream) -> None:
        self._socket, self._stream = socket, stream
        self.request_id = _header(socket.handshake_headers, b"dg-request-id")

    def send_audio(self, pcm: bytes) -> Awaitable[None] | None:
        if not pcm:
            return None  # an empty message is the legacy end of a stream
        if (reason := self._socket.closed) is not None:
            raise _closed(reason)
        frame = Frame(Opcode.BINARY, pcm)
        try:
            rest = self._stream.send(frame.serialize(mask=True))
        except trio.BrokenResourceError:
            raise LinkClosed(1006, "") from None
        return None if rest is None else _sent(rest)

    async def send_control(self, text: str) -> None:
        try:
            await self._socket.send_message(text)
        except ConnectionClosed as closed:
            raise _closed(closed.reason) from None

    async def receive(self) -> Message:
        try:
            return messages.decode(await self._socket.get_message())
        except ConnectionClosed as closed:
            raise _closed(closed.reason) from None


async def _sent(rest: Awaitable[None]) -> None:
    try:
        await rest
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise LinkClosed(1006, "") from None


def _closed(reason: CloseReason | None) -> LinkClosed:
    return LinkClosed(1006, "") if reason is None else LinkClosed(int(reason.code), reason.reason or "")


def _header(headers: Any, name: bytes) -> str:
    return next((bytes(v).decode("latin-1") for k, v in headers if bytes(k).lower() == name), "")


def _refuse(error: Exception, timeout_ms: int) -> NoReturn:
    """Raise what kept the connection from opening, as the one error that callers know."""
    causes = list(_leaves(error))
    for cause in causes:
        if isinstance(cause, ConnectionRejected):
            raise ConnectFailed(
                _header(cause.headers, b"dg-error") or _body_message(cause.body),
                status=cause.status_code,
                request_id=_header(cause.headers, b"dg-request-id"),
            ) from None
    for cause in causes:
        if isinstance(cause, trio.TooSlowError):
            raise ConnectFailed(f"no answer within {timeout_ms} ms") from None
        if isinstance(cause, ConnectFailed):
            raise ConnectFailed(cause.reason) from None
        if isinstance(cause, _BROKEN):
            raise ConnectFailed(f"{type(cause).__name__}: {cause}") from None
    raise error


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _body_message(body: bytes | None) -> str:
    """Return what a refusal's JSON body says (two shapes are documented), else its beginning."""
    try:
        document = msgspec.json.decode(body or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        document = None
    if isinstance(document, dict):
        for name in ("err_msg", "message", "details", "err_code"):
            if isinstance(document.get(name), str):
                return str(document[name])
    return (body or b"")[:200].decode("utf-8", "replace")

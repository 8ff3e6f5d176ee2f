"""The provider Deepgram: each link is one WebSocket, an async context manager over trio-websocket.

Facts per Deepgram's reference "Live Streaming Audio" and the guides "Errors" and "Audio Keep Alive":
HTTP 101 is the only "ready". Audio is sent in binary messages, control messages as JSON text. An empty binary
message would end the stream. Refusals carry the headers `dg-error` and `dg-request-id`, and a JSON body.
"""

from __future__ import annotations

import math
import re
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
from trio_asr.wire.audio_format import Format
from trio_asr.wire.messages import Error, Message, Unknown, Warned
from trio_asr.wire.meter import ABNORMAL, Offence

MAX_MESSAGE_BYTES = 1024 * 1024
QUEUE = 16  # messages between the socket and the receiver: a burst of finals and no more
CLOSE_S = 1.0  # a longer close handshake gains nothing: all that matters was received before it
CANCELLED_CLOSE_S = 0.1  # our reader is cancelled, too, and would not see the answer: just send the frame

# What the library raises when the peer breaks the protocol.
_PROTOCOL = (h11.ProtocolError, wsproto.utilities.ProtocolError)
# What a broken network raises in a handshake. UnicodeError is for a host name that cannot be encoded.
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed, UnicodeError)
# Codes by which a peer says that it cannot use our audio. The library also closes with them itself, over what
# the peer sent.
_OURS = frozenset({1002, 1003, 1007})

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]


class DeepgramProvider:
    """A provider whose links are WebSockets to Deepgram's live API.

    `dial` opens a byte stream to a host and port; by default over TCP.
    """

    name = "deepgram"
    has_sockets = True

    def __init__(self, config: DeepgramConfig, key: Secret, dial: Dial | None = None) -> None:
        self._config = config
        self._key = key  # revealed in the handshake only, so that no object that holds it can show it
        self._border = Border(key, *config.secrets)
        url = urlsplit(config.url)
        self._secure = url.scheme == "wss"
        # RFC 6874: in a URL the zone of a link-local address follows "%25". It concerns this machine alone:
        # the peer and its certificate know the address without it.
        self._host = re.sub(r"%25(?=.)", "%", url.hostname or "")
        self._name = self._host.partition("%")[0]
        self._port = url.port or (443 if self._secure else 80)
        self._path = url.path or "/"
        self._query = url.query
        self._tls = context() if self._secure else None
        self._dial = dial or trio.open_tcp_stream

    def target(self, fmt: Format) -> str:
        """Return the path and query of the request for audio of this format, escaped."""
        query = urlencode(query_items(self._config, fmt.rate, fmt.encoding, fmt.channels))
        return f"{self._path}?{self._query + '&' if self._query else ''}{query}"

    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        """Open a link for raw audio of this format, and close it when the block is left.

        Opening covers the dial, TLS and the WebSocket handshake, within `deepgram.connect_timeout_ms` in all.
        The link is ready when this yields: HTTP 101 has been received. What the link carries is counted by
        Deepgram from 0 for each connection.

        Leaving the block sends a close frame and waits for the peer's: up to `CLOSE_S` seconds, or only
        `CANCELLED_CLOSE_S` if the block was cancelled. That is shielded, or a cancelled connection would send
        no close frame. The socket is closed in every case. To get the last results, send CloseStream and
        receive until the link ends, before leaving the block.

        A background task of the block reads the socket. What the peer does wrong is no error of that task: it
        shows as `LinkClosed` in the link's methods.

        Raises:
            ConnectFailed: No connection was opened: Deepgram refused it (`status` has the HTTP status), the
                network or TLS failed, or the time ran out. Raised on entering only.
        """
        opened = False
        guard: GuardedStream | None = None
        try:
            async with trio.open_nursery() as nursery, _closing(nursery.cancel_scope) as streams:
                with trio.fail_after(self._config.connect_timeout_ms / 1000):
                    stream = await self._reach()
                    streams.append(stream)
                    await stream.handshake()
                    guard = GuardedStream(stream, MAX_MESSAGE_BYTES)
                    socket = await self._shake_hands(nursery, guard, self.target(fmt))
                opened = True
                try:
                    yield _DeepgramLink(socket, stream, guard, self._border)
                finally:
                    cancelled = trio.current_effective_deadline() == -math.inf
                    with trio.move_on_after(CANCELLED_CLOSE_S if cancelled else CLOSE_S, shield=True):
                        await socket.aclose()
        except Exception as error:
            if opened:
                raise
            raise self._failed(error, guard) from None

    async def _reach(self) -> WatchedStream:
        raw = await self._dial(self._host, self._port)
        return WatchedStream(raw, Tls(self._tls, self._name) if self._tls else None)

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
        """The Host header: an IPv6 address in brackets, the port only if it is not the scheme's default."""
        host = f"[{self._name}]" if ":" in self._name else self._name
        return host if self._port == (443 if self._secure else 80) else f"{host}:{self._port}"

    def _failed(self, error: Exception, guard: GuardedStream | None) -> Exception:
        """Return the cause of a failed attempt as `ConnectFailed`; return `error` itself if it is a bug.

        When the time runs out while the body of a refusal is waited for, that refusal is the cause.
        """
        causes = leaves(error)
        said = self._border.said
        for kind in (trio.TooSlowError, Refused, *_PROTOCOL, *_BROKEN):
            for cause in causes:
                if not isinstance(cause, kind):
                    continue
                refused = cause if isinstance(cause, Refused) else None
                if isinstance(cause, trio.TooSlowError):
                    late = Refused(None, f"no answer within {self._config.connect_timeout_ms} ms")
                    refused = (guard and guard.refusal) or late
                if refused is None:
                    return ConnectFailed(said(f"{type(cause).__name__}: {cause}"))
                request_id = said(refused.request_id, MAX_NAME)
                return ConnectFailed(said(refused.reason), status=refused.status, request_id=request_id)
        return error


class _Reader:
    """The nursery that the library starts its reader task in: a peer at fault must not crash that task."""

    def __init__(self, nursery: trio.Nursery, guard: GuardedStream) -> None:
        self.opened = False
        self._nursery, self._guard = nursery, guard

    def start_soon(self, read: Callable[[], Awaitable[None]]) -> None:
        """Start the library's reader task, guarded."""
        self._nursery.start_soon(self._run, read)

    async def _run(self, read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
        except _PROTOCOL as error:
            # For instance, the answer to a ping that came after a close. The connection is over either way.
            if not self.opened:
                raise
            self._guard.offence = self._guard.offence or Offence(str(error))
        if not self.opened:
            raise Refused(None, CLOSED_EARLY)


@asynccontextmanager
async def _closing(tasks: trio.CancelScope) -> AsyncIterator[list[trio.abc.Stream]]:
    """Close the streams in the list when the block ends, then cancel the tasks that use them.

    trio-websocket leaves its stream open when the peer is gone. The closing is shielded: a cancellation here
    would hide what ended the block. It is bounded, since closing by force does not wait.
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

    trio-websocket speaks the protocol, with one exception: a message of audio is framed by `websockets` and
    written to the stream directly. That masks in C, and saves two turns of the event loop.
    """

    __slots__ = ("_border", "_guard", "_socket", "_stream", "request_id")

    def __init__(
        self, socket: WebSocketConnection, stream: WatchedStream, guard: GuardedStream, border: Border
    ) -> None:
        self._socket, self._stream, self._guard, self._border = socket, stream, guard, border
        self.request_id = border.said(header(guard.headers, b"dg-request-id"), MAX_NAME)

    def send_audio(self, pcm: bytes) -> Awaitable[None] | None:
        """Send audio; see `Link.send_audio`.

        Raises:
            LinkClosed: The connection is over.
        """
        if not pcm:
            return None  # an empty message would end the stream
        if (reason := self._socket.closed) is not None:
            raise self._closed(reason)
        frame = Frame(Opcode.BINARY, pcm)
        try:
            rest = self._stream.send(frame.serialize(mask=True))
        except trio.BrokenResourceError:
            raise self._closed(None) from None
        return None if rest is None else self._sent(rest)

    async def send_control(self, text: str) -> None:
        """Send a control message as JSON text.

        Raises:
            LinkClosed: The connection is over.
        """
        try:
            await self._socket.send_message(text)
        except ConnectionClosed as closed:
            raise self._closed(closed.reason) from None
        except _PROTOCOL:
            raise self._closed(None) from None

    async def receive(self) -> Message:
        """Wait for the next message, with the key masked in what is quoted of it.

        Raises:
            LinkClosed: The connection is over.
        """
        try:
            message = messages.decode(await self._socket.get_message())
        except ConnectionClosed as closed:
            raise self._closed(closed.reason) from None
        if isinstance(message, Error | Warned | Unknown):
            return self._masked(message)
        return message

    def _masked(self, message: Error | Warned | Unknown) -> Error | Warned | Unknown:
        said = self._border.said
        if isinstance(message, Unknown):
            return Unknown(said(message.type, MAX_NAME), said(message.problem))
        return type(message)(said(message.what, MAX_NAME), said(message.says))

    async def _sent(self, rest: Awaitable[None]) -> None:
        try:
            await rest
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._closed(None) from None

    def _closed(self, reason: CloseReason | None) -> LinkClosed:
        """Return how the connection ended: by the peer's close frame, by its offence, or by neither."""
        if (offence := self._guard.offence) is not None:
            return LinkClosed(offence.code, self._border.said(offence.reason))
        if reason is None:
            return LinkClosed(ABNORMAL, "")
        code, why = int(reason.code), self._border.said(reason.reason or "")
        if code in _OURS and self._guard.close_code != code:
            return LinkClosed(ABNORMAL, f"it breaks the protocol: {why}")
        return LinkClosed(code, why)

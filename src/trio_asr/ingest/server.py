"""The server that platforms connect to: it admits sockets, and runs a session on each.

Nothing that one peer does costs another anything: every wait has an end, and whatever is caught here ends one
connection only.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from wsproto.utilities import LocalProtocolError

from trio_asr.config import IngestConfig
from trio_asr.ingest.dialect import Dialect, Request
from trio_asr.ingest.dialects.opening import open_dialect
from trio_asr.ingest.doors import Admitted, Doors, Turned
from trio_asr.ingest.media_stream import HeadTooLarge, MediaStream
from trio_asr.ingest.places import Places
from trio_asr.ingest.request import answer_to_plain, is_upgrade, request_of
from trio_asr.ingest.session import NOT_READING, Context, Session
from trio_asr.ingest.ticks import Ticks
from trio_asr.telemetry import logs
from trio_asr.wire.codes import CaughtAt

HANDSHAKE_S = 10.0  # for TLS, the request and its answer
SEND_S = 5.0  # for one message to a peer
CLOSE_S = 2.0  # for the peer's part of the closing
# A peer whose machine is gone says nothing. The kernel asks it after so many seconds, so often, and then
# takes the connection for broken. Pings would do the same, but there are platforms that hang up at them.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
MAX_REASON_BYTES = 123  # of a close frame (RFC 6455, 5.5)
# The library decodes some headers of a request as ASCII; what it does not decode, nobody does here.
BROKEN = (
    ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError,
    LocalProtocolError, HeadTooLarge, ssl.SSLError, UnicodeDecodeError,
)  # fmt: skip


_Shaken = tuple[MediaStream, WebSocketRequest]
# From a connection, its peer's address, and a nursery that ends with it.
Serve = Callable[[trio.abc.Stream, str, trio.Nursery], Awaitable[None]]


class Server:
    """The sockets of one gateway. `health` is what the original said on `/health` of the same port."""

    def __init__(
        self,
        config: IngestConfig,
        context: Context,
        doors: Doors,
        *,
        tls: ssl.SSLContext | None = None,
        health: Callable[[], bytes] = lambda: b"{}",
    ) -> None:
        self.sessions: set[Session] = set()
        self.ticks = Ticks()
        self._left = trio.Event()  # set and replaced whenever a session is over
        self.places = Places(config.max_connections, config.max_connections_per_address)
        self.stopping = False
        self._shaking: dict[trio.CancelScope, None] = {}  # handshakes in progress, the oldest first
        self._config, self._context, self._doors = config, context, doors
        self._tls, self._health = tls, health
        self._log, self._rate = logs.get("ingest"), logs.Rate(10.0)

    async def empty(self) -> None:
        """Wait until there is no session left."""
        while self.sessions:
            await self._left.wait()

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection, from its first byte to its end. Only cancellation gets out."""
        await self.guard(stream, self._websocket)

    async def guard(self, stream: trio.abc.Stream, serve: Serve) -> None:
        """Serve one connection if there is a place for it, and close it. Only cancellation gets out."""
        if self.stopping or (self.places.full and not self._make_place()):
            self.turned(Turned(503, "stopping" if self.stopping else "connections", "no place is free"))
            await trio.aclose_forcefully(stream)
            return
        self.places.open += 1
        try:
            address = _watched(stream)
            async with trio.open_nursery() as nursery:
                await serve(stream, address, nursery)
                nursery.cancel_scope.cancel()
        except* BROKEN:
            pass  # the peer went away, or sent nonsense
        except* OSError:
            pass  # it went away before it was looked at
        except* Exception as errors:  # noqa: BLE001 - a bug over one connection is no end of the others
            self._context.internal.caught(CaughtAt.CALL, errors)
        finally:
            self.places.open -= 1
            await trio.aclose_forcefully(stream)

    async def _websocket(self, stream: trio.abc.Stream, address: str, nursery: trio.Nursery) -> None:
        if (shaken := await self._shake_hands(stream, nursery)) is not None:
            await self._serve(*shaken, address)

    def _make_place(self) -> bool:
        """Have the slowest handshake give its place up; return whether there is one.

        Peers that say nothing would otherwise keep all others out.
        """
        if not self._shaking:
            return False
        slowest = next(iter(self._shaking))
        del self._shaking[slowest]
        slowest.cancel()
        self.turned(Turned(503, "connections", "others came while it was at its handshake"))
        return True

    @contextmanager
    def shaking(self, seconds: float) -> Iterator[None]:
        """Give a handshake so much time; less, if others wait for its place."""
        with trio.move_on_after(seconds) as scope:
            self._shaking[scope] = None
            try:
                yield
            finally:
                self._shaking.pop(scope, None)

    async def _shake_hands(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> _Shaken | None:
        """Return what a peer asks for; None if that is a page, or it takes too long over it."""
        with self.shaking(HANDSHAKE_S):
            if self._tls is not None:
                stream = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
                await stream.do_handshake()
            media = MediaStream(stream, self._config.max_message_kb * 1024, self.ticks)
            head = await media.read_head()
            if is_upgrade(head):
                return media, await wrap_server_stream(nursery, media)
            await media.send_all(answer_to_plain(head, self._health()))
        return None

    async def _serve(self, media: MediaStream, asked: WebSocketRequest, address: str) -> None:
        request = request_of(asked.path, asked.headers, asked.proposed_subprotocols, address)
        admitted = self.admit(request, self._doors)
        if isinstance(admitted, Turned):
            with trio.fail_after(SEND_S):
                await asked.reject(admitted.status, extra_headers=admitted.headers)
            return
        dialect, subprotocol = open_dialect(admitted.route, request, self._config.ack_interval)
        with self.seated(admitted):
            with trio.fail_after(SEND_S):
                websocket = await asked.accept(subprotocol=subprotocol)
            with self.session(admitted, dialect) as session:
                media.listen(session)
                await _converse(websocket, session)

    def admit(self, request: Request, doors: Doors) -> Admitted | Turned:
        """Return whether a peer may have a session."""
        admitted = doors.judge(request, time.time())
        if isinstance(admitted, Admitted):
            admitted = self._placed(admitted)
        if isinstance(admitted, Turned):
            self.turned(admitted)
        return admitted

    @contextmanager
    def seated(self, admitted: Admitted) -> Iterator[None]:
        """Count a socket of its address and its route."""
        place = admitted.address, id(admitted.route)
        self.places.enter(*place)
        try:
            yield
        finally:
            self.places.leave(*place)

    @contextmanager
    def session(self, admitted: Admitted, dialect: Dialect) -> Iterator[Session]:
        """Have a session, which is over at the end."""
        session = Session(self._context, admitted, dialect)
        self.sessions.add(session)
        try:
            yield session
        finally:
            session.ended()
            self.sessions.discard(session)
            self._left.set()
            self._left = trio.Event()

    def _placed(self, admitted: Admitted) -> Admitted | Turned:
        """Return what was admitted, or that there is no place for it."""
        route, address = admitted.route, admitted.address
        if self.places.address_full(address):
            return Turned(429, "address_connections", f"too many sockets of {address}", route.platform)
        if self.places.route_full(id(route), route.max_connections):
            return Turned(429, "route_connections", f"too many sockets on {route.path}", route.platform)
        return admitted

    def turned(self, turned: Turned) -> None:
        """Count a peer that was turned away, and say so at times."""
        self._context.metrics.refused(turned.platform, turned.kind)
        if self._rate.allow(trio.current_time()):
            self._log.warning(
                "Sockets turned away",
                platform=turned.platform,
                kind=turned.kind,
                reason=turned.reason,
                suppressed=self._rate.skipped,
            )


async def _converse(websocket: WebSocketConnection, session: Session) -> None:
    """Say what is to be said, until the session is over; then close."""
    while not session.over.is_set():
        woken = session.woken
        with trio.move_on_at(session.patience) as scope:
            await woken.wait()
        if scope.cancelled_caught and trio.current_time() >= session.patience:
            session.late()
        session.woken = trio.Event()
        await _say(websocket, session)
    with trio.move_on_after(CLOSE_S):
        if session.close is None:
            await websocket.get_message()  # it raises, once the library has answered the peer's close
        else:
            await _say(websocket, session)
            code, reason = session.close
            await websocket.aclose(code, _cut(reason))


async def _say(websocket: WebSocketConnection, session: Session) -> None:
    while session.sayings:
        with trio.move_on_after(SEND_S) as scope:
            await websocket.send_message(session.sayings.popleft())
        if scope.cancelled_caught:
            session.refuse(NOT_READING, "what is said to this peer is not read")
            session.sayings.clear()


def _cut(reason: str) -> str:
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")


def _watched(stream: trio.abc.Stream) -> str:
    """Have the kernel watch over a connection; return the peer's address, which only sockets have.

    Raises:
        OSError: The peer is gone already.
    """
    if not isinstance(stream, trio.SocketStream):
        return ""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        stream.setsockopt(socket.IPPROTO_TCP, option, value)
    return str(stream.socket.getpeername()[0])

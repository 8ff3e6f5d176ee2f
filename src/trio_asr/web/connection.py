"""One HTTP connection: hypercorn's HTTP/1.1 over a stream, with limits that hypercorn lacks.

Hypercorn's own server speaks HTTP/2 with anybody who asks for it in plain text, by the first bytes or by an
upgrade. Those connections have no idle timeout, and every PING is answered. It also sends in a shield without
a bound. So this replaces its TCP server, and uses only the plain one of its protocols.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import h11
import trio
from hypercorn.config import Config as Settings
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, ConnectionState, Scope
from hypercorn.utils import parse_socket_addr

from trio_asr.telemetry.internal import InternalErrors
from trio_asr.web.clients import Client, Pace
from trio_asr.wire.codes import CaughtAt

# A request must have arrived as a whole within this time, counted from the accept or from the last answer.
REQUEST_S = 10.0
# A peer that does not take a piece of an answer within this time does not read, and is dropped. A stop may
# have to wait for one piece.
SEND_S = 2.0
PIECE_BYTES = 64 * 1024
RECEIVE_BYTES = 16 * 1024
QUEUE = 10  # parts of a request that may wait for the application
VERSIONS = (b"1.0", b"1.1")


class Turns:
    """A first-in-first-out queue of the requests of all connections, paced by a token bucket.

    Only the head of the queue takes a token. So a request that leaves the queue costs the others nothing.
    Else a crowd that asks, hangs up and comes again would delay everybody more and more.
    """

    def __init__(self) -> None:
        self._pace = Pace()
        self._queue = trio.StrictFIFOLock()

    async def wait(self) -> None:
        """Wait for this request's turn. Cancel it to leave the queue."""
        async with self._queue:
            await trio.sleep_until(self._pace.turn(trio.current_time()))


class Connection:
    """One connection, from the accept to the close."""

    def __init__(
        self, stream: trio.SocketStream, app: ASGIFramework, settings: Settings, internal: InternalErrors
    ) -> None:
        """Take an accepted stream.

        Raises:
            OSError: The peer is gone already.
        """
        peername = parse_socket_addr(stream.socket.family, stream.socket.getpeername())
        self.client = Client(peername[0] if peername else "", trio.current_time())
        self._peername = peername
        self._server = parse_socket_addr(stream.socket.family, stream.socket.getsockname())
        self._stream, self._app, self._settings, self._internal = stream, app, settings, internal
        self._scope = trio.CancelScope()
        self._sending = trio.Lock()

    def drop(self) -> None:
        """End the connection at once."""
        self._scope.cancel()

    async def run(self, context: WorkerContext, turns: Turns) -> None:
        """Answer requests until the peer or a limit ends the connection.

        No exception gets out: any error costs this connection alone, and is counted as an internal error.
        """
        try:
            with self._scope:
                self._wait()
                await self._serve(context, turns)
        except Exception as error:  # noqa: BLE001 - in code that is not ours, over bytes that anybody sent
            self._internal.caught(CaughtAt.PAGE, error)
        finally:
            with trio.CancelScope(shield=True):  # closing by force does not wait
                await trio.aclose_forcefully(self._stream)

    async def _serve(self, context: WorkerContext, turns: Turns) -> None:
        async with trio.open_nursery() as nursery:
            tasks: Any = _Tasks(nursery, self._app, self._internal)  # the half of the interface that is used
            wrapped: Any = self._app  # the tasks run the application that they know
            protocol = _Http11(
                wrapped, self._settings, context, tasks, ConnectionState({}), False, self._peername,
                self._server, self._handle,
            )  # fmt: skip
            protocol.turns, protocol.asked, protocol.begins = turns, self._asked, self._begins
            await self._read(protocol)
            # A request in progress learns that nobody listens, and ends.
            self._scope.deadline = trio.current_time() + SEND_S

    async def _read(self, protocol: H11Protocol) -> None:
        data = b"-"
        while data:
            try:
                data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            await protocol.handle(RawData(data))
        await protocol.handle(Closed())

    # -- events of the protocol ------------------------------------------------------------------------

    async def _handle(self, event: Event) -> None:
        """Do what the protocol asks for. Only sending waits."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            await self._close()
        elif isinstance(event, Updated):
            if event.idle:
                self._wait()
            else:
                self._scope.deadline = math.inf

    def _wait(self) -> None:
        """Start the time that the peer has for its next request."""
        self.client.answered += self.client.asked
        self.client.asked = False
        self.client.waiting = trio.current_time()
        self._scope.deadline = self.client.waiting + REQUEST_S

    def _asked(self) -> None:
        """Record that a request waits for its turn."""
        self.client.asked = True

    def _begins(self) -> None:
        """Record that the request is being answered."""
        self.client.waiting = None

    async def _close(self) -> None:
        """End the connection in order: what was sent arrives, and nothing more is read."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await self._stream.send_eof()
        self.drop()

    async def _send(self, data: bytes) -> None:
        """Send all of `data`, or drop a peer that does not read.

        It is shielded, up to `SEND_S` seconds for a piece: a page's time limit would leave half a message.
        """
        async with self._sending:
            for start in range(0, len(data), PIECE_BYTES):
                with trio.move_on_after(SEND_S, shield=True) as scope:
                    try:
                        await self._stream.send_all(data[start : start + PIECE_BYTES])
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        scope.cancel()
                if scope.cancel_called:
                    self.drop()
                    return


class _Http11(H11Protocol):
    """Hypercorn's HTTP/1.1 and nothing else: no HTTP/2, no WebSocket, one request at a time."""

    turns: Turns
    asked: Callable[[], None]
    begins: Callable[[], None]

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore offers of another protocol: the answer is in this one."""

    async def _create_stream(self, request: h11.Request) -> None:
        if request.http_version not in VERSIONS:
            await self._refuse(505)
        elif not request.target.startswith(b"/"):
            await self._refuse(400)
        else:
            self.asked()
            await self.turns.wait()
            self.begins()
            await super()._create_stream(_without_upgrade(request))

    async def _refuse(self, status: int) -> None:
        await self._send_error_response(status)
        await self.send(Closed())


def _without_upgrade(request: h11.Request) -> h11.Request:
    headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
    if len(headers) == len(request.headers):
        return request
    return h11.Request(
        method=request.method, target=request.target, headers=headers, http_version=request.http_version
    )


class _Tasks:
    """Hypercorn's task group, which runs the application."""

    def __init__(self, nursery: trio.Nursery, app: ASGIFramework, internal: InternalErrors) -> None:
        self._nursery, self._app, self._internal = nursery, app, internal

    async def spawn_app(
        self,
        app: Any,
        config: Settings,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start the application with one request; return a function that passes it parts of the request."""
        del app, config
        into, out = trio.open_memory_channel[ASGIReceiveEvent](QUEUE)
        self._nursery.start_soon(self._run, scope, out, send)

        async def put(event: ASGIReceiveEvent) -> None:
            # Never wait for room in the channel: the end of an answer is reported here, perhaps by the
            # application itself. Parts may be dropped: no page takes a body, and a page that waits for the
            # peer's end is cancelled with the connection.
            with suppress(trio.WouldBlock):
                into.send_nowait(event)
            await trio.lowlevel.checkpoint()

        return put

    async def _run(
        self,
        scope: Scope,
        out: trio.MemoryReceiveChannel[ASGIReceiveEvent],
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> None:
        try:
            await self._app(scope, out.receive, send)
        except Exception as error:  # noqa: BLE001 - one request's failure is one request's
            self._internal.caught(CaughtAt.PAGE, error)
        await send(None)

    def spawn(self, func: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a task in the connection's nursery."""
        self._nursery.start_soon(func, *args)

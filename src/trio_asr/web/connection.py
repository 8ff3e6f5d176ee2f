"""One HTTP connection: hypercorn's HTTP/1.1 over a stream, within limits that hypercorn does not have.

Hypercorn's own server speaks HTTP/2 with whoever asks for it in plain text, by the first bytes or by an
upgrade; those connections have no idle timeout, and every PING is answered. It also sends in a shield without
a bound. So this takes the place of its TCP server, and of its protocols only the plain one is used.
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

# Within so long a request must be there as a whole, counted from the connection's begin or the last answer.
REQUEST_S = 10.0
# A piece of an answer goes within this time, or the peer is dropped: it does not read. A stop may have to
# wait for one.
SEND_S = 2.0
PIECE_BYTES = 64 * 1024
RECEIVE_BYTES = 16 * 1024
QUEUE = 10  # parts of a request that wait for the application
VERSIONS = (b"1.0", b"1.1")


class Turns:
    """Requests of all connections, each in its turn.

    Only the first in the queue has a turn set aside for it. So those who leave the queue cost nobody theirs:
    a crowd that asks, hangs up and comes again would put off all others for ever longer.
    """

    def __init__(self) -> None:
        self._pace = Pace()
        self._queue = trio.StrictFIFOLock()

    async def wait(self) -> None:
        """Wait until a request may be answered."""
        async with self._queue:
            await trio.sleep_until(self._pace.turn(trio.current_time()))


class Connection:
    """A peer's connection, from its acceptance to its end."""

    def __init__(
        self, stream: trio.SocketStream, app: ASGIFramework, settings: Settings, internal: InternalErrors
    ) -> None:
        """Raises OSError if the peer is gone already."""
        peername = parse_socket_addr(stream.socket.family, stream.socket.getpeername())
        self.client = Client(peername[0] if peername else "", trio.current_time())
        self._peername = peername
        self._server = parse_socket_addr(stream.socket.family, stream.socket.getsockname())
        self._stream, self._app, self._settings, self._internal = stream, app, settings, internal
        self._scope = trio.CancelScope()
        self._sending = trio.Lock()

    def drop(self) -> None:
        """End it now."""
        self._scope.cancel()

    async def run(self, context: WorkerContext, turns: Turns) -> None:
        """Answer requests, until the peer or a limit ends it; whatever else happens is this one's alone."""
        try:
            with self._scope:
                self._wait()
                await self._serve(context, turns)
        except Exception as error:  # noqa: BLE001 - in code that is not ours, over bytes that anybody sent
            self._internal.caught("page", error)
        finally:
            with trio.CancelScope(shield=True):  # closing does not wait
                await trio.aclose_forcefully(self._stream)

    async def _serve(self, context: WorkerContext, turns: Turns) -> None:
        async with trio.open_nursery() as nursery:
            tasks: Any = _Tasks(
                nursery, self._app, self._internal
            )  # with the half of the interface that is used
            wrapped: Any = self._app  # what is run is what the tasks know
            protocol = _Http11(
                wrapped, self._settings, context, tasks, ConnectionState({}), False, self._peername,
                self._server, self._handle,
            )  # fmt: skip
            protocol.turns, protocol.asked, protocol.begins = turns, self._asked, self._begins
            await self._read(protocol)
            # What is in progress learns that nobody listens, and ends.
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

    # -- what the protocol wants -----------------------------------------------------------------------

    async def _handle(self, event: Event) -> None:
        """Do what the protocol asks for; only the sending of data waits."""
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
        """From now on the peer owes a request."""
        self.client.answered += self.client.asked
        self.client.asked = False
        self.client.waiting = trio.current_time()
        self._scope.deadline = self.client.waiting + REQUEST_S

    def _asked(self) -> None:
        """A request is there, and waits for its turn."""
        self.client.asked = True

    def _begins(self) -> None:
        """It is its turn."""
        self.client.waiting = None

    async def _close(self) -> None:
        """End it in order: what was sent arrives, and nothing more is read."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await self._stream.send_eof()
        self.drop()

    async def _send(self, data: bytes) -> None:
        """Send all of it. In a shield: what a page's time limit cuts off would leave half a message."""
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
    """HTTP/1.1 as hypercorn has it, and nothing else: no HTTP/2, no WebSocket, one request at a time."""

    turns: Turns
    asked: Callable[[], None]
    begins: Callable[[], None]

    async def _check_protocol(self, event: h11.Request) -> None:
        """Change to no other protocol; whoever offers one is answered in this."""

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
    """Hypercorn's task group: where the application runs."""

    def __init__(self, nursery: trio.Nursery, app: ASGIFramework, internal: InternalErrors) -> None:
        self._nursery, self._app, self._internal = nursery, app, internal

    async def spawn_app(
        self,
        app: Any,
        config: Settings,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start the application with one request; return where parts of the request go."""
        del app, config
        into, out = trio.open_memory_channel[ASGIReceiveEvent](QUEUE)
        self._nursery.start_soon(self._run, scope, out, send)

        async def put(event: ASGIReceiveEvent) -> None:
            # Never for a free place: whoever ends an answer says so here, and the application may be just
            # that one. No page takes a body; and who waits for the peer's end is cancelled with it.
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
            self._internal.caught("page", error)
        await send(None)

    def spawn(self, func: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a task beside."""
        self._nursery.start_soon(func, *args)

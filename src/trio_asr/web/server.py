"""The listening socket, and hypercorn behind it."""

import logging
import socket
from collections.abc import Sequence

import hypercorn.trio
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.config import Sockets
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)
from quart_trio import QuartTrio

from trio_asr import logs
from trio_asr.config import HttpConfig

_log = logs.get(__name__)

# Hypercorn sends in a shield without a bound, so a client that never reads could hold up the end of the
# process. The kernel breaks such a connection after this time; accepted sockets inherit the option. No longer
# than the two seconds that a stop may take beyond its grace.
SEND_TIMEOUT_MS = 2_000
# What the kernel takes for a client that does not read, before that time begins: a few pictures of the page.
SEND_BUFFER_BYTES = 128 * 1024
MAX_HEADER_BYTES = 16 * 1024  # of a request; browsers send the cookies of all that is on localhost
# How long requests in progress may take at the end. They are answered from memory.
GRACE_S = 1.0
# Before another try after hypercorn has failed.
RESTART_S = 1.0


class CannotListenError(Exception):
    """The address is taken, not ours, or does not exist."""


async def serve(
    app: QuartTrio,
    config: HttpConfig,
    *,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests until ``shutdown`` is set, or for ever; started with the port, which may have been 0.

    A failure of the HTTP server itself is logged and the server started anew on the same socket: pages must
    not end calls. Raises CannotListenError.
    """
    stop = trio.Event() if shutdown is None else shutdown
    try:
        listeners = await trio.open_tcp_listeners(config.port, host=config.host)
    except OSError as exc:
        raise CannotListenError(
            f"http.host, http.port: cannot listen on {config.host}, port {config.port}: {exc.strerror or exc}"
        ) from exc
    sockets = [listener.socket for listener in listeners]
    try:
        for sock in sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_TIMEOUT_MS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        task_status.started(sockets[0].getsockname()[1])
        await _serve_again_and_again(app, sockets, stop)
    finally:
        for sock in sockets:
            sock.close()


async def _serve_again_and_again(
    app: QuartTrio, sockets: Sequence[trio.socket.SocketType], shutdown: trio.Event
) -> None:
    patient = _patient(app)
    while True:
        try:
            await hypercorn.trio.serve(patient, _Settings(sockets), shutdown_trigger=shutdown.wait)
        except Exception:  # noqa: BLE001 - whatever a request has brought about in a server that is not ours
            _log.exception("HTTP server failed; starting it again")
            with trio.move_on_after(RESTART_S):
                await shutdown.wait()
        if shutdown.is_set():
            return


def _patient(app: QuartTrio) -> ASGIFramework:
    """The application, told of a disconnect only when it is not in the middle of sending.

    While hypercorn handles the last message of an answer it reports the end of the request; quart-trio then
    cancels the task that still sends, and a connection that was to be closed stays open for ever.
    """

    async def patient(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        sending = trio.Lock()

        async def send_whole(message: ASGISendEvent) -> None:
            async with sending:
                await send(message)

        async def receive_between() -> ASGIReceiveEvent:
            message = await receive()
            async with sending:
                return message

        await app(scope, receive_between, send_whole)

    return patient


class _Settings(HypercornConfig):
    """Hypercorn on sockets that are listening already. It closes what it is given, so it gets copies."""

    def __init__(self, sockets: Sequence[trio.socket.SocketType]) -> None:
        super().__init__()
        self._listening = sockets
        self.graceful_timeout = GRACE_S
        self.include_server_header = False
        self.h11_max_incomplete_size = self.h2_max_header_list_size = MAX_HEADER_BYTES
        self.websocket_max_message_size = 1024  # there is no WebSocket here
        self.errorlog = logging.getLogger("hypercorn.error")

    def create_sockets(self) -> Sockets:
        copies = [socket.fromfd(one.fileno(), one.family, one.type) for one in self._listening]
        return Sockets(secure_sockets=[], insecure_sockets=copies, quic_sockets=[])

"""The HTTP server: it listens, admits clients, and limits their use of the process's descriptors."""

import errno
import logging
import resource
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from trio_asr.config import HttpConfig
from trio_asr.telemetry import logs
from trio_asr.web.base import App
from trio_asr.web.clients import Client, Clients
from trio_asr.web.connection import Connection, Turns

_log = logs.get(__name__)

# After this time the kernel breaks a connection whose peer does not read. Accepted sockets inherit the
# option. It is no longer than the two seconds that a stop may take beyond its grace.
SEND_TIMEOUT_MS = 2_000
# What the kernel buffers for a client that does not read, before that time starts: a few pictures.
SEND_BUFFER_BYTES = 128 * 1024
MAX_HEADER_BYTES = 16 * 1024  # of a request; browsers send the cookies of everything on localhost
# How long requests in progress may take at a stop. They are answered from memory.
GRACE_S = 1.0
# The pause before a restart of a server that has failed.
RESTART_S = 1.0
# What accept raises when the process or the machine runs out. It would raise again at once: hence the pause.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
EXHAUSTED_S = 0.1
LOG_S = 10.0


class CannotListenError(Exception):
    """An address that is taken, is not ours, or does not exist."""


async def serve(
    app: App,
    config: HttpConfig,
    *,
    shutdown: trio.Event | None = None,
    keys: str = "http.host, http.port",
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests until `shutdown` is set, or for ever. Report the port, which may be 0 in the config.

    `keys` are those of the address, for an error about it.

    A failure of the HTTP server itself is logged, and the server is restarted on the same socket: pages must
    not end calls.

    Raises:
        CannotListenError: The address cannot be listened on. Raised before the task has started.
    """
    stop = trio.Event() if shutdown is None else shutdown
    files = raise_file_limit()
    try:
        listeners = await trio.open_tcp_listeners(config.port, host=config.host)
    except OSError as exc:
        raise CannotListenError(
            f"{keys}: cannot listen on {config.host}, port {config.port}: {exc.strerror or exc}"
        ) from exc
    try:
        for listener in listeners:
            listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_TIMEOUT_MS)
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        task_status.started(listeners[0].socket.getsockname()[1])
        while not stop.is_set():
            try:
                await _Server(app, files).run(listeners, stop)
            except Exception:  # noqa: BLE001 - whatever it is, pages must not end calls
                _log.exception("HTTP server failed; starting it again")
                with trio.move_on_after(RESTART_S):
                    await stop.wait()
    finally:
        for listener in listeners:
            listener.socket.close()


async def answer_one(app: App, stream: trio.SocketStream) -> None:
    """Answer requests on one connection until it ends.

    Raises:
        OSError: The peer is gone already.
    """
    connection = Connection(stream, _patient(app), _settings(), app.internal)
    await connection.run(WorkerContext(None), Turns())


def raise_file_limit() -> int:
    """Raise the process's soft limit on open files to the hard limit; return the limit.

    The soft limit is low by custom, for programs that use select(2). Nothing here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class _Server:
    """One run of the server: it accepts connections and admits clients within the limits."""

    def __init__(self, app: App, files: int) -> None:
        self._app, self._patient = app, _patient(app)
        self._clients, self._turns = Clients(files), Turns()
        self._open: dict[Client, Connection] = {}
        self._settings = _settings()
        self._context = WorkerContext(None)
        self._rate = logs.Rate(LOG_S)

    async def run(self, listeners: Sequence[trio.SocketListener], stop: trio.Event) -> None:
        """Serve until `stop` is set, then drain: requests that are being answered have `GRACE_S` seconds.

        Raises:
            ExceptionGroup: A listener failed, other than for want of descriptors or memory.
        """
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(self._accept, listener, nursery)
                await stop.wait()
                accepting.cancel_scope.cancel()
            await self._context.terminated.set()
            for client, connection in self._open.items():
                if client.waiting is not None:
                    connection.drop()
            nursery.cancel_scope.deadline = trio.current_time() + GRACE_S

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._turned_away(str(error.strerror))
                await trio.sleep(EXHAUSTED_S)
            else:
                self._let_in(stream, nursery)

    def _let_in(self, stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        try:
            connection = Connection(stream, self._patient, self._settings, self._app.internal)
        except OSError:  # it is gone already
            stream.socket.close()
            return
        losers = self._clients.admit(connection.client, stream.socket.fileno())
        if losers is None:
            stream.socket.close()
            self._turned_away("no place is free")
            return
        for loser in losers:
            self._open[loser].drop()
            self._turned_away("others came")
        self._open[connection.client] = connection
        nursery.start_soon(self._run, connection)

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run(self._context, self._turns)
        finally:
            self._clients.remove(connection.client)
            del self._open[connection.client]

    def _turned_away(self, why: str) -> None:
        self._app.turned_away.inc()
        if self._rate.allow(trio.current_time()):
            _log.warning(
                "HTTP connections turned away", reason=why, open=len(self._clients),
                most=self._clients.most, suppressed=self._rate.skipped,
            )  # fmt: skip


def _patient(app: App) -> ASGIFramework:
    """Wrap the application so that it learns of a disconnect only when it is not in the middle of sending.

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


def _settings() -> HypercornConfig:
    settings = HypercornConfig()
    settings.include_server_header = False
    settings.h11_max_incomplete_size = MAX_HEADER_BYTES
    settings.errorlog = logging.getLogger("hypercorn.error")
    return settings

"""The listening socket, and hypercorn behind it."""

import logging
import os
import socket
from collections.abc import Sequence

import hypercorn.trio
import trio
from hypercorn.config import Config as HypercornConfig
from quart_trio import QuartTrio

from trio_asr import logs
from trio_asr.config import HttpConfig

_log = logs.get(__name__)

# Hypercorn sends in a shield without a bound, so a client that never reads could hold up the end of the
# process. The kernel breaks such a connection after this time; accepted sockets inherit the option.
SEND_TIMEOUT_MS = 5_000
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
        task_status.started(sockets[0].getsockname()[1])
        await _serve_again_and_again(app, sockets, shutdown or trio.Event())
    finally:
        for sock in sockets:
            sock.close()


async def _serve_again_and_again(
    app: QuartTrio, sockets: Sequence[trio.socket.SocketType], shutdown: trio.Event
) -> None:
    while True:
        try:
            await hypercorn.trio.serve(app, _hypercorn_config(sockets), shutdown_trigger=shutdown.wait)
        except Exception:  # noqa: BLE001 - whatever a request has brought about in a server that is not ours
            _log.exception("HTTP server failed; starting it again")
            with trio.move_on_after(RESTART_S):
                await shutdown.wait()
        if shutdown.is_set():
            return


def _hypercorn_config(sockets: Sequence[trio.socket.SocketType]) -> HypercornConfig:
    config = HypercornConfig()
    # Copies, since hypercorn closes what it is given and ours must outlive it.
    config.bind = [f"fd://{os.dup(sock.fileno())}" for sock in sockets]
    config.graceful_timeout = GRACE_S
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    return config

"""The gateway: the composition root of an ingest, and the order in which it starts and stops."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

import msgspec
import trio

from trio_asr.bus.calls import CallStore
from trio_asr.config import Config, HttpConfig, IngestConfig, Route
from trio_asr.core.ingest.series import Terms
from trio_asr.ingest.adder import Adder
from trio_asr.ingest.audiosocket import AudioSockets
from trio_asr.ingest.doors import KINDS, Doors
from trio_asr.ingest.metrics import IngestMetrics
from trio_asr.ingest.server import Server
from trio_asr.ingest.session import Context
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.problems import Problems
from trio_asr.telemetry.systemd import Notifier
from trio_asr.web.ingest_app import create_ingest_app
from trio_asr.web.server import CannotListenError, raise_file_limit
from trio_asr.web.server import serve as serve_pages
from trio_asr.wire.codes import Problem

SERVICE = "ingest"  # the name that the original's monitoring expects
LAST_S = 10.0  # for what is left to add, once the last socket is closed
BEAT_S = 10.0
BACKLOG = 1000  # connections that the kernel keeps until they are accepted


class Gateway:
    """One gateway. `config.ingest` must have routes for it to be of use."""

    def __init__(
        self, config: Config, store: CallStore, notifier: Notifier, *, tls: ssl.SSLContext | None = None
    ) -> None:
        ingest = config.ingest
        self.port = self.pages_port = 0
        self.metrics = IngestMetrics(sorted({route.platform for route in ingest.route}), KINDS)
        self.internal = InternalErrors(self.metrics)
        self.problems = Problems()
        self._ingest, self._store, self._notifier = ingest, store, notifier
        self._log = logs.get("gateway")
        self._stop = trio.Event()
        self._stopped = trio.Event()
        self.adder = Adder(
            store,
            self.problems,
            self.internal,
            max_buffered_bytes=ingest.max_buffered_total_mb * 1024 * 1024,
            delay=self.metrics.delay,
        )
        context = Context(self.adder, self.metrics, self.internal, _terms(ingest), ingest.start_timeout_s)
        tcp = [route for route in ingest.route if route.platform == "audiosocket"]
        others = tuple(route for route in ingest.route if route not in tcp)
        self.server = Server(ingest, context, _doors(ingest, *others), tls=tls, health=self._original_health)
        self.audiosockets = [
            AudioSockets(
                self.server,
                _doors(ingest, route),
                route,
                start_s=ingest.start_timeout_s,
                idle_s=ingest.idle_s,
            )
            for route in tcp
        ]
        self.metrics.sockets.read = lambda: len(self.server.sessions)
        self.metrics.calls.read = lambda: len(self.adder.entrants)
        self.metrics.buffered_s.read = lambda: self.adder.buffered_s
        self.metrics.buffered_bytes.read = lambda: self.adder.buffered_bytes

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Stop in order: no new sockets, and those that are open may go on for `ingest.drain_s`."""
        self._stop.set()

    def health(self) -> dict[str, Any]:
        """Return what `/health` says: what the original said, and what goes on."""
        problems = self.problems.ages(trio.current_time())
        return {
            "status": "degraded" if problems else "healthy",
            "service": SERVICE,
            "pubsub": Problem.REDIS not in problems,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "sockets": len(self.server.sessions),
            "calls": len(self.adder.entrants),
            "bufferedSeconds": round(self.adder.buffered_s, 1),
            "problems": {name: round(age, 1) for name, age in problems.items()},
        }

    def not_ready(self, now: float) -> list[str]:
        """Return why no call should be sent here; empty if nothing speaks against it."""
        reasons = ["it stops"] if self.stopping else []
        if self.server.places.full:
            reasons.append("ingest.max_connections is reached")
        return reasons + [f"{name} for {age:.0f} s" for name, age in self.problems.ages(now).items()]

    def _original_health(self) -> bytes:
        return msgspec.json.encode(self.health())

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped. Report the port for media once it is open.

        Raises:
            ExceptionGroup: It holds `CannotListenError` if an address cannot be listened on.
        """
        try:
            async with trio.open_nursery() as nursery:
                pages = HttpConfig(host=self._ingest.pages_host, port=self._ingest.pages_port)
                app = create_ingest_app(self, self.metrics, self.internal)
                self.pages_port = await nursery.start(
                    lambda task_status: serve_pages(
                        app, pages, keys="ingest.pages_host, ingest.pages_port", task_status=task_status
                    )
                )
                ports = [("ingest.port", self._ingest.port)]
                ports += [(f"port of {one.route.path}", one.route.port or 0) for one in self.audiosockets]
                listeners = [await self._listen(key, port) for key, port in ports]
                for audiosockets in self.audiosockets:
                    nursery.start_soon(audiosockets.keep_silent)
                nursery.start_soon(self.adder.run)
                nursery.start_soon(self.adder.keep_time)
                nursery.start_soon(self.server.ticks.run)
                nursery.start_soon(self._beat)
                self.port, *tcp = (one[0].socket.getsockname()[1] for one in listeners)
                self._notifier.ready("Taking calls")
                more = {"audiosocket_ports": tcp} if tcp else {}
                self._log.info("Ready for calls", port=self.port, pages_port=self.pages_port, **more)
                task_status.started(self.port)
                await self.serve(*listeners)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._store.aclose()
        self._log.info("Stopped")

    async def _beat(self) -> NoReturn:
        """Feed systemd's watchdog while the event loop turns."""
        while True:
            await trio.sleep(self._notifier.watchdog_interval_s or BEAT_S)
            self._notifier.watchdog()

    async def _listen(self, key: str, port: int) -> list[trio.SocketListener]:
        raise_file_limit()
        host = self._ingest.host
        try:
            return await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        except OSError as error:
            raise CannotListenError(
                f"ingest.host, {key}: cannot listen on {host}, port {port}: {error.strerror or error}"
            ) from error

    async def serve(self, *listeners: list[trio.SocketListener]) -> None:
        """Take sockets until a stop, then drain. The first listeners are for WebSockets."""
        handlers = [self.server.handle, *(one.handle for one in self.audiosockets)]
        async with trio.open_nursery() as sockets:
            async with trio.open_nursery() as accepting:
                for handle, some in zip(handlers, listeners, strict=True):
                    accepting.start_soon(partial(trio.serve_listeners, handle, some, handler_nursery=sockets))
                await self._stop.wait()
                self.server.stopping = True
                accepting.cancel_scope.cancel()
            self._notifier.stopping()
            self._log.info("Stopping", sockets=len(self.server.sessions), drain_s=self._ingest.drain_s)
            with trio.move_on_after(self._ingest.drain_s):
                await self.server.empty()
            for session in [*self.server.sessions]:
                session.leave()
            self.adder.hasten(trio.current_time() + LAST_S / 2)
            with trio.move_on_after(LAST_S):
                await self.adder.over()
                await self.server.empty()
            sockets.cancel_scope.cancel()


def _doors(ingest: IngestConfig, *routes: Route) -> Doors:
    return Doors(msgspec.structs.replace(ingest, route=routes))


def _terms(ingest: IngestConfig) -> Terms:
    return Terms(
        entry_ms=ingest.entry_ms,
        align_ms=ingest.align_ms,
        reconnect_grace_s=ingest.reconnect_grace_s,
        idle_s=ingest.idle_s,
        max_buffered_s=ingest.max_buffered_s,
    )

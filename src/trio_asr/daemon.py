"""The composition root: what the daemon is made of, and in which order its parts start and stop.

::

    web, notifier            from the first moment to the last
    tenure                   while this worker owns the calls; standby in between
      lease, committer       outlive the calls, to drain what they leave
        dispatcher, housekeeping, one task per call
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import trio

from trio_asr.bus.away import away
from trio_asr.bus.base import Bus, BusUnavailable
from trio_asr.bus.lease import Lease, OwnershipLost
from trio_asr.config import Config, merge
from trio_asr.deepgram.provider import Provider
from trio_asr.interaction.interaction import Interaction
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.telemetry.systemd import Notifier
from trio_asr.web.app import create_app
from trio_asr.web.history import History
from trio_asr.web.server import serve as serve_web
from trio_asr.web.view import Role
from trio_asr.wire.codes import CaughtAt, Problem
from trio_asr.wire.records import NewerState
from trio_asr.worker.foreign_readers import ForeignReaders
from trio_asr.worker.tenure import Tenure, build_tenure

RELEASE_S = 1.0
BEAT_S = 1.0

T = TypeVar("T")


class Daemon:
    """One worker. It runs from `run` until `stop`."""

    def __init__(
        self, config: Config, bus: Bus, provider: Provider, metrics: Metrics, notifier: Notifier
    ) -> None:
        self.port = 0  # of HTTP, once it listens
        self.tenure: Tenure | None = None  # while this worker owns the calls
        self._config, self._bus, self._provider = config, bus, provider
        self._metrics, self._notifier = metrics, notifier
        self._role: Role = "starting"
        self._problems = Problems()
        self._foreign_readers = ForeignReaders(bus, config.redis, self._problems)
        self.internal = InternalErrors(metrics)
        self.history = History(metrics)
        self._stopping = trio.Event()
        self._log = logs.get("daemon")

    # -- what the web pages see ------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        """The role of this worker, as the pages show it."""
        return self._role

    @property
    def provider(self) -> str:
        """The name of the provider."""
        return self._provider.name

    @property
    def active_buffers(self) -> int:
        """The number of calls in progress."""
        return len(self.interactions)

    @property
    def active_connections(self) -> int | None:
        """The number of open connections (None: the provider has no sockets)."""
        if not self._provider.has_sockets:
            return None
        return 0 if self.tenure is None else self.tenure.services.admission.open

    @property
    def refused(self) -> bool:
        """Whether the provider refuses the key or the account."""
        return self.tenure is not None and self.tenure.services.admission.refused

    @property
    def interactions(self) -> Mapping[str, Interaction]:
        """The calls in progress, by id."""
        return {} if self.tenure is None else self.tenure.calls.interactions

    @property
    def lag_s(self) -> float:
        """The lag of reading for the call that is furthest behind, in seconds."""
        return self._metrics.reader_lag_seconds.read()

    def problems(self, now: float) -> Mapping[str, float]:
        """Return for how long each present problem has lasted, in seconds."""
        return self._problems.ages(now)

    # -- life ------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Stop in order: read no more, commit what is there, release the lease."""
        if not self._stopping.is_set():
            self._log.info("Stopping")
            self._notifier.stopping()
            self._stopping.set()

    def reload(self, loaded: Config) -> None:
        """Apply what a new configuration may change for calls in progress."""
        self._notifier.reloading()
        self._config, changed, waiting = merge(self._config, loaded)
        logs.set_level(self._config.log.level)
        if self.tenure is not None:
            self.tenure.services.config = self._config
            self.tenure.services.admission.resize(self._config.deepgram.max_connections)
        for name, interaction in list(self.interactions.items()):
            try:
                interaction.reload(self._config)
            # A bug in one costs that call the new configuration, and no other.
            except Exception as error:  # noqa: BLE001 - it is counted and logged
                self.internal.caught(CaughtAt.RELOAD, error, interaction_id=name)
        self._metrics.reloaded(True)
        self._log.info("Configuration reloaded", changed=changed)
        if waiting:
            self._log.warning("These changes need a restart", keys=waiting)
        self._notifier.ready(self._role)

    def not_reloaded(self, problems: list[str]) -> None:
        """Go on as before: the new configuration cannot be used."""
        self._notifier.reloading()
        self._metrics.reloaded(False)
        self._log.error("Configuration not reloaded; nothing changes", problems=problems)
        self._notifier.ready(self._role)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until stopped. `task_status` gets the HTTP port once it listens.

        Raises:
            ExceptionGroup: The port cannot be listened on (`CannotListenError`), another program works on our
                calls at the start (`ForeignConsumerError`), there is work that only a later version can do
                (`NewerState`), or there is a bug that nothing contains.
        """
        async with trio.open_nursery() as nursery:
            app = create_app(self, self._metrics, self.internal, self._config)
            self.port = await nursery.start(serve_web, app, self._config.http)
            self._notifier.ready("starting")
            self._log.info("Serving", provider=self.provider, http_port=self.port, pid=os.getpid())
            nursery.start_soon(self._beat)
            task_status.started(self.port)
            while not self._stopping.is_set():
                await self._tenure()
            self._become("stopping")
            nursery.cancel_scope.cancel()
        await self._bus.aclose()

    async def _tenure(self) -> None:
        """Own the calls once: wait for the lease, then work until stopped or replaced.

        Raises:
            ExceptionGroup: Another program works on our calls at the start (`ForeignConsumerError`), there is
                work that only a later version can do (`NewerState`), or there is a bug that nothing contains.
        """
        lease = Lease(self._bus, self._config.redis.lease_ms, self._save)
        try:
            if not await self._unless_stopped(partial(self._acquire, lease)):
                return
            self._become("active")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, lease)
                await self._work(lease, nursery)
                nursery.cancel_scope.cancel()
        except* NewerState:
            # For a worker that knows it. Whoever cancels this ends the worker as well.
            await self._unless_slow(self._release(lease))  # noqa: ASYNC120
            raise
        except* OwnershipLost:
            self._log.warning("Another worker has taken over; standing by")
            self._become("standby")
        else:
            await self._unless_slow(self._release(lease))
        finally:
            self.tenure = None
            self._metrics.no_calls()
            self._problems.resolve_all(trio.current_time())

    async def _unless_stopped(self, job: Callable[[], Awaitable[T]]) -> T | None:
        """Wait for something that may take forever. Return its result, or None if stopped meanwhile."""
        done = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_stopped, nursery.cancel_scope)
            done = await job()
            nursery.cancel_scope.cancel()
        return done

    async def _cancel_when_stopped(self, scope: trio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()

    async def _acquire(self, lease: Lease) -> bool:
        """Wait for the lease. Return True.

        Raises:
            ForeignConsumerError: Another program works on our calls, and this worker has only just started.
        """
        while True:
            now = trio.current_time()
            try:
                alone = await self._foreign_readers.alone(starting=self._role == "starting")
                held = alone and await lease.acquire()
            except BusUnavailable as error:
                away(Problem.REDIS, error, self._problems, self.internal)
            else:
                self._problems.resolve(Problem.REDIS, now)
                if held:
                    return True
                self._become("standby")
            await trio.sleep(lease.period_s)

    async def _keep(self, lease: Lease) -> None:
        """Renew the lease. Never returns.

        Raises:
            OwnershipLost: Another worker has taken over.
        """
        while True:
            await trio.sleep(lease.period_s)
            try:
                await lease.renew()
                self._problems.resolve(Problem.LEASE, trio.current_time())
            except BusUnavailable as error:
                away(Problem.LEASE, error, self._problems, self.internal)

    @staticmethod
    async def _unless_slow(job: Awaitable[None]) -> None:
        with trio.move_on_after(RELEASE_S):
            await job

    async def _release(self, lease: Lease) -> None:
        try:
            await lease.release()
        except BusUnavailable:
            self._log.warning("The lease could not be released; a standby waits until it expires")

    async def _work(self, lease: Lease, outer: trio.Nursery) -> None:
        """Work until stopped, then commit what is in flight."""
        async with trio.open_nursery() as nursery:
            build = partial(
                build_tenure, nursery, self._config, self._bus, lease, provider=self._provider,
                metrics=self._metrics, problems=self._problems, internal=self.internal,
            )  # fmt: skip
            self.tenure = tenure = await self._unless_stopped(build)
            if tenure is not None:
                tenure.services.config = self._config  # it may have been reloaded meanwhile
                outer.start_soon(tenure.services.committer.run)
                nursery.start_soon(tenure.run)
                await self._stopping.wait()
                nursery.cancel_scope.cancel()
        if tenure is not None:
            tenure.housekeeping.note_floors()
            with trio.move_on_after(self._config.shutdown.grace_ms / 1000):
                await tenure.services.committer.flush()

    def _save(self) -> None:
        self._log.error("Redis has lost its data; what is in memory is written again")
        if self.tenure is not None:
            self.tenure.calls.save()

    def _become(self, role: Role) -> None:
        if role != self._role:
            self._role = role
            self._log.info(f"Now {role}")
            if role != "stopping":
                self._notifier.status(role)

    async def _beat(self) -> None:
        """Feed the watchdog while the event loop turns, and measure how well it turns. Never returns."""
        interval = self._notifier.watchdog_interval_s
        period = min(BEAT_S, interval / 3) if interval else BEAT_S
        while True:
            due = trio.current_time() + period
            await trio.sleep_until(due)
            self._notifier.watchdog()
            self._metrics.loop_late(max(0.0, trio.current_time() - due))
            self.history.note(due, len(self.interactions))

"""The composition root: what the daemon is made of, and in which order its parts start and stop.

::

    web, notifier, office    from the first moment to the last
    solo or member           which shards this worker holds, and when
      holding                a shard, from its lease to the release
        committer            outlives the calls, to drain what they leave
        tenure               dispatcher, housekeeping, one task per call
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import trio

from trio_asr.bus.base import Bus
from trio_asr.bus.control import Router
from trio_asr.config import Config, merge
from trio_asr.deepgram.provider import Provider
from trio_asr.interaction.interaction import Interaction
from trio_asr.telemetry import logs
from trio_asr.telemetry.fleet import FleetPicture
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.labels import Role
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier
from trio_asr.web.app import create_app
from trio_asr.web.history import History
from trio_asr.web.server import serve as serve_web
from trio_asr.wire.codes import CaughtAt
from trio_asr.worker.member import Member
from trio_asr.worker.office import Office
from trio_asr.worker.solo import Solo

BEAT_S = 1.0


class Daemon:
    """One worker. It runs from `run` until `stop`. With a router it is a member of a fleet."""

    def __init__(
        self, config: Config, bus: Bus | Router, provider: Provider, metrics: Metrics, notifier: Notifier
    ) -> None:
        self.port = 0  # of HTTP, once it listens
        self.internal = InternalErrors(metrics)
        self.office = Office(config, provider, metrics, self.internal)
        self.history = History(metrics)
        self._config = config
        self._metrics, self._notifier = metrics, notifier
        self._role: Role = "starting"
        self._stopping = False
        self._log = logs.get("daemon")
        self.work: Solo | Member
        if isinstance(bus, Router):
            self.work = Member(self.office, bus, self._become)
        else:
            self.work = Solo(self.office, bus, self._become)

    # -- what the web pages see ------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        """The role of this worker, as the pages show it."""
        return self._role

    def takes_part(self, now: float) -> bool:
        """Return whether this worker does its part of the work, or stands in for others as one of a fleet."""
        return self.work.takes_part(now)

    @property
    def provider(self) -> str:
        """The name of the provider."""
        return self.office.provider.name

    @property
    def active_buffers(self) -> int:
        """The number of calls in progress."""
        return self.office.totals.calls

    @property
    def active_connections(self) -> int | None:
        """The number of open connections (None: the provider has no sockets)."""
        return self.office.open_connections if self.office.provider.has_sockets else None

    @property
    def refused(self) -> bool:
        """Whether the provider refuses the key or the account."""
        return self.office.refused

    @property
    def interactions(self) -> Mapping[str, Interaction]:
        """The calls in progress, by id."""
        return self.office.by_id()

    @property
    def lag_s(self) -> float:
        """The lag of reading for the call that is furthest behind, in seconds."""
        return self.office.lag_s()

    @property
    def fleet(self) -> FleetPicture | None:
        """The fleet as this member sees it; None if this worker is in none."""
        return self.work.picture() if isinstance(self.work, Member) else None

    def elsewhere(self, interaction_id: str) -> Mapping[str, object]:
        """Return the shard of a call by the formula, and who has it; empty if this worker is in no fleet."""
        return self.work.elsewhere(interaction_id) if isinstance(self.work, Member) else {}

    def problems(self, now: float) -> Mapping[str, float]:
        """Return for how long each present problem has lasted, in seconds."""
        return self.office.problems.ages(now)

    # -- life ------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def stop(self) -> None:
        """Stop in order: read no more, commit what is there, give the leases back or to other members."""
        if not self._stopping:
            self._log.info("Stopping")
            self._notifier.stopping()
            self._stopping = True
            self.work.stop()

    def reload(self, loaded: Config) -> None:
        """Apply what a new configuration may change for calls in progress."""
        self._notifier.reloading()
        self._config, changed, waiting = merge(self._config, loaded)
        logs.set_level(self._config.log.level)
        self.office.reload(self._config)
        for interaction in list(self.office.interactions()):
            try:
                interaction.reload(self._config)
            # A bug in one costs that call the new configuration, and no other.
            except Exception as error:  # noqa: BLE001 - it is counted and logged
                self.internal.caught(CaughtAt.RELOAD, error, **interaction.call.names)
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
                (`NewerState`), it cannot be in the fleet (`FleetError`), or there is a bug.
        """
        async with trio.open_nursery() as nursery:
            app = create_app(self, self._metrics, self.internal, self._config)
            self.port = await nursery.start(serve_web, app, self._config.http)
            self._notifier.ready("starting")
            self._log.info("Serving", provider=self.provider, http_port=self.port, pid=os.getpid())
            nursery.start_soon(self._beat)
            nursery.start_soon(self.office.run)
            task_status.started(self.port)
            await self.work.run()
            self._become("stopping")
            nursery.cancel_scope.cancel()
        await self.work.aclose()

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
            if isinstance(self.work, Member) and not self._stopping:
                shards = f"{len(self.work.held())} of {self._config.fleet.shards} shards"
                self._notifier.status(f"{shards}, {self.active_buffers} calls")
            self._metrics.loop_late(max(0.0, trio.current_time() - due))
            self.history.note(due, self.office.totals.calls)

"""The jobs that run once a second for all calls: idle calls, floors, bounds. Gauges are read here, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import trio

from trio_asr.bus.base import Bus, BusUnavailable, KeyMisused
from trio_asr.config import Config
from trio_asr.core.reader_state import REPLAY_MARGIN_MS
from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.codes import CaughtAt, EndReason, GapReason, Problem
from trio_asr.worker.calls import Calls
from trio_asr.worker.dispatcher import Dispatcher

PERIOD_S = 1.0
# Messages of one call that wait for a key which somebody has to repair: an hour of speech, 1 MB.
MAX_WAITING_ITEMS = 2000
CATCHUP_BYTES = 2_000_000  # given up each second so that stuck calls that are behind can catch up
MAX_CALLS, KEYS = Problem.MAX_CALLS, Problem.KEYS  # problems


class Housekeeping:
    """The daemon's slow loop."""

    def __init__(self, bus: Bus, calls: Calls, dispatcher: Dispatcher, services: Services) -> None:
        self._bus, self._calls, self._dispatcher = bus, calls, dispatcher
        self._services = services
        self._misused: set[str] = set()
        metrics = services.metrics
        metrics.calls.read = lambda: len(calls.interactions)
        metrics.calls_waiting.read = lambda: len(calls.waiting)
        metrics.calls_behind.read = lambda: len(self._behind())
        metrics.unfinalized_seconds.read = lambda: sum(
            s.call.timeline.unfinalized_s for s in calls.interactions.values()
        )
        metrics.unfinalized_bytes.read = lambda: sum(
            s.call.timeline.held_bytes for s in calls.interactions.values()
        )
        metrics.reader_lag_seconds.read = self._lag_s

    @property
    def _config(self) -> Config:
        return self._services.config  # which a reload replaces

    async def run(self) -> None:
        """Run all jobs once a second. Never returns, and lets no exception out.

        A bug in a job costs one round of it. Whatever needs Redis is skipped while Redis does not answer.
        """
        while True:
            await trio.sleep(PERIOD_S)
            now = trio.current_time()
            for job in (
                partial(self._end_idle, now),
                partial(self._give_up_ended, now),
                self._shed,
                self._bound,
                self._services.admission.nobody_waits,
                partial(self._say_who_waits, now),
                self.note_floors,
            ):
                with self._net(job):
                    job()
            for ask in (self._look_at_keys, self._show_lag, self._trim):
                with self._net(ask), suppress(BusUnavailable):  # the dispatcher notices and reports it
                    await ask()

    @contextmanager
    def _net(self, job: Callable[[], object]) -> Iterator[None]:
        """Let a bug in one job cost this round of it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see above
            name = getattr(job, "func", job).__name__
            self._services.internal.caught(CaughtAt.HOUSEKEEPING, error, job=name)

    async def _look_at_keys(self) -> None:
        """Name the keys whose type somebody has changed: whatever needs them waits."""
        now, problems = trio.current_time(), self._services.problems
        misused = set(await self._bus.misused())
        for key in misused:
            problems.report_key(key, KEYS, now, str(KeyMisused(key)))
        for key in self._misused - misused:
            problems.resolve_key(key, now)
        self._misused = misused

    async def _show_lag(self) -> None:
        if not self._config.redis.allow_foreign_consumers:  # else the group's position belongs to them
            await self._bus.show_lag(*self._dispatcher.floors())

    async def _trim(self) -> None:
        if self._config.redis.trim:
            confirmed = self._dispatcher.reader_outbox.confirmed.audio_floor
            await self._bus.trim(ids.earlier(confirmed, REPLAY_MARGIN_MS))

    def note_floors(self) -> None:
        """Commit the floors: how far back a restart must read."""
        self._dispatcher.reader_outbox.floor(*self._dispatcher.floors())
        self._services.committer.submit(self._dispatcher.reader_outbox)

    def _end_idle(self, now: float) -> None:
        """End calls that have been idle for long: producers do not always say that a call is over.

        Idle time counts only while everything that the producer sent was read and handed over. Audio that is
        not finalized keeps a call alive if it is not connected. If it is connected, it gets its last results
        by closing.
        """
        timeout_s = self._config.interaction.idle_timeout_ms / 1000
        for interaction in list(self._calls.interactions.values()):
            interaction.progressed_at(now)
            if (
                not self._dispatcher.caught_up
                or interaction.behind
                or interaction.inbox.frames
                or self._is_busy(interaction)
            ):
                interaction.active_at = now
            elif interaction.running and now - interaction.active_at >= timeout_s:
                self._calls.close(interaction, EndReason.IDLE)

    @staticmethod
    def _is_busy(interaction: Interaction) -> bool:
        return interaction.call.timeline.unfinalized > 0 and not interaction.sender.connected

    def _give_up_ended(self, now: float) -> None:
        """Give up what is left of a call that is over and finds no connection: nothing else bounds it."""
        patience_s = self._config.interaction.max_unfinalized_s
        for interaction in self._calls.interactions.values():
            if (
                interaction.closing
                and self._is_busy(interaction)
                and now - interaction.progressed_at(now) > patience_s
            ):
                interaction.call.give_up_oldest(
                    interaction.call.timeline.unfinalized_s + 1, GapReason.RETENTION
                )
                self._services.committer.submit(interaction.call.outbox)

    def _shed(self) -> None:
        """Give up transcripts that Redis has refused for as long as audio would be kept."""
        patience_s = self._config.interaction.max_unfinalized_s
        for interaction in self._calls.interactions.values():
            call, outbox = interaction.call, interaction.call.outbox
            if self._services.committer.is_blocked(outbox) and outbox.waiting <= MAX_WAITING_ITEMS:
                continue  # its messages are not at fault: it waits for a key that all calls need
            patience = round(patience_s * call.next_format.rate)
            before = outbox.earlier(call.timeline.finalized, patience)
            if outbox.confirmed_until < before:
                outbox.shed(before)

    def _bound(self) -> None:
        """Hold the audio that is not finalized within its bounds: one for each call, one for all together.

        Beyond the bound of all, the largest calls give up first, and stuck calls before them: what those
        hold is not the others' fault.
        """
        shares, now = self._calls.shares, trio.current_time()
        interactions = [
            interaction for interaction in self._calls.interactions.values() if not interaction.failed
        ]
        shares.taken = sum(interaction.size for interaction in interactions)
        for interaction in interactions:
            interaction.limit = shares.limit(interaction, now)
        excess = allowance = shares.taken - shares.total
        stuck = {interaction for interaction in interactions if shares.is_stuck(interaction, now)}
        if any(interaction.behind and not interaction.over for interaction in stuck):
            # Newer audio waits on the stream until they can take it.
            allowance += max(shares.total // 10, min(CATCHUP_BYTES, shares.total // 2))
        for interaction in sorted(
            interactions,
            key=lambda interaction: (interaction not in stuck, -interaction.call.timeline.held_bytes),
        ):
            call = interaction.call
            share = min(allowance if interaction in stuck else excess, call.timeline.held_bytes // 2)
            if share <= 0:
                continue
            call.give_up_oldest(share / (call.next_format.bytes_per_s or 1), GapReason.MEMORY)
            self._services.committer.submit(call.outbox)
            excess -= share
            allowance -= share
            shares.taken -= share

    def _say_who_waits(self, now: float) -> None:
        if self._calls.waiting:
            most = self._config.interaction.max_calls
            self._services.problems.report(
                MAX_CALLS, now, f"all places are taken: {most} calls are in progress"
            )
        else:
            self._services.problems.resolve(MAX_CALLS, now)

    def _behind(self) -> list[Interaction]:
        return [
            interaction
            for interaction in self._calls.interactions.values()
            if interaction.missed and not interaction.over
        ]

    def _lag_s(self) -> float:
        """Return how far reading lags for the call that is furthest behind, in seconds."""
        return max([self._dispatcher.lag_s, *map(_age_s, self._behind())])


def _age_s(interaction: Interaction) -> float:
    """Return how long ago the first entry was added that a call has not read, in seconds, or a bit more."""
    return max(0.0, time.time() - ids.milliseconds(interaction.latest) / 1000)

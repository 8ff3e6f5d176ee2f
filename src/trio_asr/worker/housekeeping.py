"""The jobs that run once a second for all calls of a tenure: idle calls, what is given up, floors."""

from __future__ import annotations

import trio

from trio_asr.bus.base import Bus, KeyMisused
from trio_asr.config import Config
from trio_asr.core.reader_state import REPLAY_MARGIN_MS
from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.codes import EndReason, GapReason, Problem
from trio_asr.worker.calls import Calls
from trio_asr.worker.dispatcher import Dispatcher
from trio_asr.worker.rounds import every_second

# Messages of one call that wait for something which somebody has to repair: an hour of speech, 1 MB.
MAX_WAITING_ITEMS = 2000
# Where nothing has changed as far as we know, somebody else may have changed something.
LOOK_AGAIN_S, DO_AGAIN_S = 5.0, 10.0


class _Done:
    """What was last done on the bus: it need not be done again at once if nothing has moved since."""

    def __init__(self) -> None:
        self._with: object = None
        self._until = 0.0

    def suffices(self, floor: object, now: float) -> bool:
        """Return whether it was done with this floor, or floors, and not long ago."""
        return floor == self._with and now < self._until

    def note(self, floor: object, now: float) -> None:
        """Note that it is done."""
        self._with, self._until = floor, now + DO_AGAIN_S


class Housekeeping:
    """The daemon's slow loop."""

    def __init__(self, bus: Bus, calls: Calls, dispatcher: Dispatcher, services: Services) -> None:
        self._bus, self._calls, self._dispatcher = bus, calls, dispatcher
        self._services = services
        self._misused: set[str] = set()
        self._look_again = 0.0
        self._shown, self._trimmed = _Done(), _Done()

    @property
    def _config(self) -> Config:
        return self._services.config  # which a reload replaces

    async def run(self) -> None:
        """Run all jobs once a second. Never returns, and lets no exception out."""
        jobs = (
            self._end_idle, self._give_up_ended, self._shed, self._dispatcher.note_floors,
            self._look_at_keys, self._show_lag, self._trim,
        )  # fmt: skip
        await every_second(jobs, self._services.internal)

    async def _look_at_keys(self) -> None:
        """Name the keys whose type somebody has changed: whatever needs them waits."""
        now, problems = trio.current_time(), self._services.problems
        if now < self._look_again and not self._misused:
            return
        self._look_again = now + LOOK_AGAIN_S
        misused = set(await self._bus.misused())
        for key in misused:
            problems.report_key(key, Problem.KEYS, now, str(KeyMisused(key)))
        for key in self._misused - misused:
            problems.resolve_key(key, now)
        self._misused = misused

    async def _show_lag(self) -> None:
        floors, now = self._dispatcher.floors(), trio.current_time()
        if self._config.redis.allow_foreign_consumers:
            return  # the group's position belongs to them
        # Also now and then where nothing moves: somebody may have removed the group.
        if not self._shown.suffices(floors, now):
            await self._bus.show_lag(*floors)
            self._shown.note(floors, now)

    async def _trim(self) -> None:
        floor, now = self._dispatcher.reader_outbox.confirmed.audio_floor, trio.current_time()
        # Also now and then where nothing moves: another group may have been in the way, or a failover has
        # brought back what was cut.
        if self._config.redis.trim and not self._trimmed.suffices(floor, now):
            await self._bus.trim(ids.earlier(floor, REPLAY_MARGIN_MS))
            self._trimmed.note(floor, now)

    def _end_idle(self) -> None:
        """End calls that have been idle for long: producers do not always say that a call is over.

        Idle time counts only while everything that the producer sent was read and handed over. Audio that is
        not finalized keeps a call alive if it is not connected. If it is connected, it gets its last results
        by closing.
        """
        now, timeout_s = trio.current_time(), self._config.interaction.idle_timeout_ms / 1000
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

    def _give_up_ended(self) -> None:
        """Give up what is left of a call that is over and finds no connection: nothing else bounds it."""
        now, patience_s = trio.current_time(), self._config.interaction.max_unfinalized_s
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
                continue  # its messages are not at fault: what they wait for is not about this call
            patience = round(patience_s * call.next_format.rate)
            before = outbox.earlier(call.timeline.finalized, patience)
            if outbox.confirmed_until < before:
                outbox.shed(before)

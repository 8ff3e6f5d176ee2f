"""What is looked at once a second, for all calls: idle ones, floors, bounds, gauges."""

from __future__ import annotations

from contextlib import suppress

import trio

from trio_asr.bus.base import Bus, BusUnavailable
from trio_asr.calls import Calls
from trio_asr.config import Config
from trio_asr.core import entries
from trio_asr.core.reading import REPLAY_MARGIN_MS
from trio_asr.dispatcher import Dispatcher
from trio_asr.services import Services
from trio_asr.slots import Slot

PERIOD_S = 1.0


class Housekeeping:
    """The daemon's slow loop."""

    def __init__(self, bus: Bus, calls: Calls, dispatcher: Dispatcher, services: Services) -> None:
        self._bus, self._calls, self._dispatcher = bus, calls, dispatcher
        self._services = services

    @property
    def _config(self) -> Config:
        return self._services.config  # which a reload replaces

    async def run(self) -> None:
        while True:
            await trio.sleep(PERIOD_S)
            now = trio.current_time()
            self._end_idle(now)
            self._give_up_ended(now)
            self._shed()
            self._bound()
            self._services.connections.nobody_waits()
            self._gauges()
            self.note_floors()
            with suppress(BusUnavailable):  # the reader notices, and says so
                if not self._config.redis.allow_foreign_consumers:  # else the group's position is theirs
                    await self._bus.show_lag(*self._dispatcher.floors())
                if self._config.redis.trim:
                    confirmed = self._dispatcher.box.confirmed.audio_floor
                    await self._bus.trim(entries.earlier(confirmed, REPLAY_MARGIN_MS))

    def note_floors(self) -> None:
        """Commit how far a restart need not go back."""
        self._dispatcher.box.floor(*self._dispatcher.floors())
        self._services.committer.submit(self._dispatcher.box)

    def _end_idle(self, now: float) -> None:
        """End calls of which nothing was heard for long: producers do not always say that a call is over.

        Idle time counts only while all that the producer sent was read and handed over. What is not
        finalized keeps a call that is not connected alive; one that is connected gets its last results by
        closing.
        """
        timeout_s = self._config.interaction.idle_timeout_ms / 1000
        for slot in list(self._calls.slots.values()):
            slot.progress(now)
            if not self._dispatcher.caught_up or slot.held.frames or self._is_busy(slot):
                slot.active_at = now
            elif now - slot.active_at >= timeout_s and slot.end is None and not slot.closing:
                self._calls.close(slot, "idle")

    @staticmethod
    def _is_busy(slot: Slot) -> bool:
        return slot.call.timeline.unfinalized > 0 and not slot.interaction.sender.connected

    def _give_up_ended(self, now: float) -> None:
        """Give up what is left of a call that is over and finds no connection: nothing else bounds it."""
        patience_s = self._config.interaction.max_unfinalized_s
        for slot in self._calls.slots.values():
            if slot.closing and self._is_busy(slot) and now - slot.progress(now) > patience_s:
                slot.call.give_up_oldest(slot.call.unfinalized_s() + 1, "retention")
                self._services.committer.submit(slot.call.outbox)

    def _shed(self) -> None:
        """Give up transcripts that Redis has refused for as long as audio would be kept."""
        patience_s = self._config.interaction.max_unfinalized_s
        for slot in self._calls.slots.values():
            timeline, outbox = slot.call.timeline, slot.call.outbox
            before = timeline.finalized - round(patience_s * timeline.rate_at(timeline.finalized))
            if outbox.confirmed.place.finalized < before:
                outbox.shed(before)

    def _bound(self) -> None:
        """Hold the un-finalized audio of all calls within its bound: the largest give up their oldest."""
        limit = self._config.interaction.max_unfinalized_total_mb * 1_000_000
        slots = [slot for slot in self._calls.slots.values() if not slot.failed]
        excess = sum(slot.call.timeline.held_bytes for slot in slots) - limit
        if excess <= 0:
            return
        for slot in sorted(slots, key=lambda slot: -slot.call.timeline.held_bytes):
            timeline = slot.call.timeline
            rate = timeline.rate_at(timeline.finalized) or 1
            share = min(excess, timeline.held_bytes // 2)
            slot.call.give_up_oldest(share / 2 / rate, "memory")
            self._services.committer.submit(slot.call.outbox)
            excess -= share
            if excess <= 0:
                return

    def _gauges(self) -> None:
        metrics, slots = self._services.metrics, self._calls.slots.values()
        metrics.calls.set(len(slots))
        metrics.waiting_for_slot.set(self._services.connections.waiting)
        metrics.unfinalized_seconds.set(sum(slot.call.unfinalized_s() for slot in slots))
        metrics.unfinalized_bytes.set(sum(slot.call.timeline.held_bytes for slot in slots))

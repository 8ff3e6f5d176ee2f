"""The calls in progress: begun, handed their frames, ended, and restarted when they fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import trio

from trio_asr.bus.base import Bus
from trio_asr.config import Config
from trio_asr.core.outbox import Item
from trio_asr.core.past import PastCalls
from trio_asr.core.waiting import Waiting
from trio_asr.interaction.interaction import Frames, Interaction
from trio_asr.interaction.services import Services
from trio_asr.interaction.slots import Held, Slot
from trio_asr.telemetry import logs
from trio_asr.wire import ids
from trio_asr.wire.codes import CaughtAt, EndReason
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Stored, read_checkpoint
from trio_asr.worker.restarts import Anew, Restarts, needed_after
from trio_asr.worker.shares import Shares
from trio_asr.worker.stored import StoredCalls

FRAMES = 256  # batches that a call may be behind; its reader never waits, so one or two is what happens


class Calls:
    """All calls of this worker. `nursery` holds their tasks."""

    def __init__(self, nursery: trio.Nursery, bus: Bus, services: Services) -> None:
        self.slots: dict[str, Slot] = {}
        self.waiting = Waiting()
        self.dealt_with = 0  # up to this key all was, that was of no call in progress at the start
        self.past = PastCalls()
        self.shares = Shares(self.slots, services)
        self.stored = StoredCalls(bus, services)
        self._nursery, self._services, self._metrics = nursery, services, services.metrics
        self._log = logs.get("calls")
        self._restarts = Restarts(self.stored, services)
        self._behind = trio.Event()

    @property
    def _config(self) -> Config:
        return self._services.config  # which a reload replaces

    @property
    def full(self) -> bool:
        """There are as many calls as there may be."""
        return len(self.slots) >= self._config.interaction.max_calls

    # -- beginning -------------------------------------------------------------------------------------

    def unknown(self, arrivals: Mapping[str, Held]) -> list[str]:
        """Return the ids of calls that are not in progress and may have something new among `arrivals`."""
        return [
            interaction_id
            for interaction_id, held in arrivals.items()
            if interaction_id not in self.slots and self.past.has_news(interaction_id, held.frames)
        ]

    def meet(self, interaction_id: str, stored: Stored, held: Held, now: float) -> None:
        """Begin a call that was not in progress, unless all that is held was dealt with before it ended."""
        if interaction_id in self.slots:
            return  # begun meanwhile, for one that is behind: it reads these again
        checkpoint = read_checkpoint(stored)
        place, after = checkpoint.place, needed_after(stored)
        until = max(ids.key(place.entry), 0 if after else self.dealt_with)
        past = self.past.learn(interaction_id, until, held.frames, place if checkpoint.over else None)
        news = next((frame for frame in held.frames if ids.key(frame.entry) > past.until), None)
        if news is None or not self.past.has_news(interaction_id, held.frames):
            return
        if self.full or self.waiting:  # whoever comes now has no right before those who wait
            self._metrics.calls_deferred.inc()
            self._metrics.calls_refused.inc(self.waiting.add(interaction_id, news, now))
            self._behind.set()
            return
        if after:  # in progress, and somebody took it out of the live ones
            self.begin(interaction_id, stored, news.tenant_id, after)
            return
        slot = self.begin(interaction_id, stored, news.tenant_id)
        slot.held, slot.first = held, held.frames[0].entry

    def begin(self, interaction_id: str, stored: Stored, tenant: str = "", after: EntryId = "") -> Slot:
        """Start a call's tasks, from its checkpoint if it has one; with `after`, behind, from there on."""
        call = self.stored.call(interaction_id, stored, tenant, self.past.recall(interaction_id))
        send, receive = trio.open_memory_channel[Frames](FRAMES)
        now = trio.current_time()
        slot = Slot(
            Interaction(call, self._services), send, now, call.outbox.tenant_id or tenant,
            resume_at=call.resume_at, cursor_at=now, handed_at=now,
        )  # fmt: skip
        slot.held.limit = slot.limit = self.shares.limit(slot, now)  # one read may bring more than that
        if after:
            slot.handed = after
            slot.fall_behind()
            self._behind.set()
        self.slots[interaction_id] = slot
        self._nursery.start_soon(self._run, slot, receive)
        return slot

    def hand_over(self, arrivals: Iterable[str], now: float) -> None:
        """See to the calls that have got frames worth it: they get what is held, or wait for more."""
        for interaction_id in arrivals:
            slot = self.slots.get(interaction_id)
            if slot is None or slot.over or not slot.held.frames:
                continue  # over before these, which are read again if it goes on; or they had left already
            size = slot.held.size
            try:
                taken = slot.hand_over(now)
            except Exception as error:  # noqa: BLE001 - a bug in one call's step is that call's
                self._services.internal.caught(CaughtAt.CALL, error, **slot.call.names)
                taken = False
            self.shares.taken += size - slot.held.size
            if not taken:
                self._metrics.overruns.inc()
                self.restart(interaction_id, "it cannot take its frames")

    # -- who is behind ---------------------------------------------------------------------------------

    def fall_behind(self, slot: Slot) -> None:
        """Let a call take nothing of what comes: it reads that again."""
        slot.fall_behind()
        self._behind.set()

    async def somebody_waits(self) -> None:
        """Wait until a call is behind, or one has to wait for room."""
        while not self.waiting and not any(slot.behind and not slot.over for slot in self.slots.values()):
            self._behind = trio.Event()
            await self._behind.wait()

    async def admit(self) -> None:
        """Begin calls that wait for room, while there is some."""
        while not self.full and (interaction_id := self.waiting.best(trio.current_time())) is not None:
            (stored,) = await self.stored.load([interaction_id])
            waiter = self.waiting.take(interaction_id)
            if waiter is not None and interaction_id not in self.slots:
                after = min(waiter.after, needed_after(stored) or waiter.after, key=ids.key)
                slot = self.begin(interaction_id, stored, waiter.tenant, after)
                slot.next_end = waiter.end

    def make_room(self, now: float) -> None:
        """Let calls end in which nobody has spoken for a while, where others wait to begin."""
        for slot in self.shares.to_make_room(len(self.waiting), now):
            self.close(slot, EndReason.IDLE)

    def caught_up(self, slot: Slot) -> None:
        """Let a call that was behind take what comes again."""
        slot.behind = slot.missed = False
        if slot.next_end:
            at, slot.next_end = slot.next_end, ""
            self.end(slot.call.id, at, EndReason.CALL_END)

    def other_tenant(self, slot: Slot, tenant: str) -> None:
        """Let a call end whose id another tenant uses from here on: that is a new call."""
        slot.next_tenant = tenant
        slot.missed = True
        self.close(slot, EndReason.OTHER_TENANT)

    # -- ending ----------------------------------------------------------------------------------------

    def end(self, interaction_id: str, at: EntryId, reason: str) -> None:
        """Let a call end, after the grace; an end that was applied before, or of no call, is ignored."""
        slot = self.slots.get(interaction_id)
        if slot is None:
            self.waiting.end(interaction_id, at)
            return
        ended = slot.call.outbox.confirmed.ended
        if ended and ids.key(at) <= ids.key(ended):
            return
        if slot.behind:
            slot.next_end = at
        elif slot.end is None:
            slot.end = at, reason
            self._nursery.start_soon(self._close_after_grace, slot)

    async def _close_after_grace(self, slot: Slot) -> None:
        await trio.sleep(self._config.interaction.end_grace_ms / 1000)
        self.close(slot)

    def close(self, slot: Slot, reason: str = "") -> None:
        """Take no more frames for this call: its tasks finish what they have."""
        if reason and slot.end is None:
            slot.end = slot.call.last_entry, reason
        slot.release()
        stuck = bool(slot.held.frames)
        slot.close()
        if stuck:
            self.restart(slot.call.id, "it cannot take its frames")
        slot.frames.close()

    async def _run(self, slot: Slot, frames: trio.MemoryReceiveChannel[Frames]) -> None:
        """Run a call's tasks to their end, and draw the conclusions; whatever fails is this call's alone."""
        call = slot.call
        try:
            done = await self._live(slot, frames)
            if done:
                await self._over(slot)
            else:
                self._begin_again(slot, await self._restarts.restart_later(slot))
        except Exception as error:  # noqa: BLE001 - a bug in how calls end is one call's, too
            self._services.internal.caught(CaughtAt.CALL, error, **call.names)
            if self.slots.get(call.id) is slot:
                del self.slots[call.id]

    async def _live(self, slot: Slot, frames: trio.MemoryReceiveChannel[Frames]) -> bool:
        """Run a call's tasks; False if it must restart."""
        call = slot.call
        try:
            with slot.scope:
                await slot.interaction.run(frames)
                if call.begun:
                    call.end(*(slot.end or (call.last_entry, EndReason.CLOSED)))
                await self._services.committer.drained(call.outbox)
        except Exception as error:  # noqa: BLE001 (a failing call is an outcome here: it disturbs no other)
            self._log.error("Call failed; it restarts from its checkpoint", **call.names)
            self._services.internal.caught(CaughtAt.CALL, error, **call.names)
            return False
        return not slot.scope.cancelled_caught

    async def _over(self, slot: Slot) -> None:
        call = slot.call
        timeline = call.timeline
        if call.begun:
            self._log.info(
                "Call ended", **call.names, reason=slot.end[1] if slot.end else "",
                audio_ms=timeline.ms(timeline.received), connections=call.connection,
            )  # fmt: skip
        self._restarts.well(call.id)
        if slot.failed:
            self._begin_again(slot, await self._restarts.reload(slot))
            return
        del self.slots[call.id]
        self.past.remember(call.id, call.past())
        if slot.missed:
            fresh = self.begin(call.id, call.outbox.stored, slot.next_tenant, slot.latest)
            fresh.next_end = slot.next_end
        self._behind.set()  # there is room

    def stale(self, interaction_id: str) -> None:
        """What is stored of a call ("" is the reader) was changed by somebody else."""
        if interaction_id:
            self.restart(interaction_id, "its stored state was changed by somebody else")
        else:
            self._nursery.start_soon(self.stored.set_reader_aside)

    # -- restarting ------------------------------------------------------------------------------------

    def restart(self, interaction_id: str, why: str) -> None:
        """Start a call anew from what Redis has of it."""
        slot = self.slots.get(interaction_id)
        if slot is not None and not slot.failed:
            self._log.warning("Call restarts from its checkpoint", why=why, **slot.call.names)
            slot.fail()
            slot.scope.cancel()

    def _begin_again(self, slot: Slot, anew: Anew) -> None:
        """Begin a call anew: it reads again what it needs, up to the front and an end that it had."""
        fresh = self.begin(slot.call.id, anew.stored, slot.tenant, anew.after)
        fresh.first = slot.first
        fresh.next_end = slot.next_end
        if not fresh.next_end and slot.end is not None and slot.end[1] == EndReason.CALL_END:
            fresh.next_end = slot.end[0]

    def forget_above(self, last: EntryId) -> None:
        """Hold no entry id above `last` any more: the audio stream has begun again from there."""
        for slot in self.slots.values():
            slot.forget_above(last)
            if not slot.failed:
                self._services.committer.submit(slot.call.outbox)
        self.past.forget_above(last)
        self.dealt_with = min(self.dealt_with, ids.key(last))
        self.waiting.forget_above(last)

    def save(self) -> None:
        """Write the checkpoints of all calls again, from memory: Redis has lost its data."""
        for slot in self.slots.values():
            outbox = slot.call.outbox
            if outbox.idle and not slot.failed:  # what has something to say is saved by saying it
                outbox.put(Item())
                self._services.committer.submit(outbox)

    # -- looking over all ------------------------------------------------------------------------------

    def floors(self, audio: EntryId, ends: EntryId) -> tuple[EntryId, EntryId]:
        """Return the first entries that a restart would need, given how far reading has come."""
        for slot in self.slots.values():
            floor = slot.floor()
            if floor is not None:
                audio = min(audio, floor, key=ids.key)
            own_end = slot.end[0] if slot.end is not None and slot.end[1] == EndReason.CALL_END else ""
            ends = min(ends, own_end or ends, slot.next_end or ends, key=ids.key)
        return self.waiting.floors(audio, ends)

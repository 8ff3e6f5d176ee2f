"""The calls in progress: begun, handed their frames, ended, and restarted when they fail."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

import trio

from trio_asr import logs
from trio_asr.bus.base import Bus
from trio_asr.config import Config
from trio_asr.core import entries
from trio_asr.core.backoff import Backoff
from trio_asr.core.call import Bounds, Call
from trio_asr.core.checkpoint import Stored, decode_checkpoint
from trio_asr.core.entries import EntryId
from trio_asr.core.outbox import Item, Outbox, Topics
from trio_asr.core.recent import Recent
from trio_asr.interaction import Frames, Interaction
from trio_asr.services import Services
from trio_asr.slots import Held, Slot

FRAMES = 256  # batches that a call may be behind; its reader never waits, so one or two is what happens
MAX_LATE = 10_000  # frames kept for a call that is closing; beyond, they are read again from the stream
MAX_PAST = 20_000  # calls that are over, remembered so that no frame of a replay asks Redis
EVENTS_MAXLEN = 100_000
RESTART_BASE_S, RESTART_CAP_S = 1.0, 60.0
STUCK_S = 20.0  # a connection attempt and a stall fit in; a call without progress for longer holds up nobody
FULL = 0.5  # of what a call, and all of them, may hold: catching up stops reading there


class Rewind(NamedTuple):
    """What reading has to go back to: the first entry of the calls that restart, and their ends."""

    first: EntryId | None
    ends: dict[str, EntryId]


class Calls:
    """All calls of this worker. `nursery` holds their tasks."""

    def __init__(self, nursery: trio.Nursery, bus: Bus, services: Services) -> None:
        self.slots: dict[str, Slot] = {}
        self.replay_until = 0  # entries up to here may have been handed over before (0: none that is to come)
        self._nursery, self._bus, self._services = nursery, bus, services
        self._metrics = services.metrics
        self._log = logs.get("calls")
        self._past: OrderedDict[str, int] = OrderedDict()
        self._restarts: dict[str, Backoff] = {}
        self._reloaded: list[tuple[Slot, Stored]] = []

    @property
    def _config(self) -> Config:
        return self._services.config  # which a reload replaces

    # -- beginning -------------------------------------------------------------------------------------

    def unknown(self, arrivals: Mapping[str, Held]) -> list[str]:
        """Return the ids of calls that are not in progress and may have something new among `arrivals`."""
        return [
            interaction_id
            for interaction_id, held in arrivals.items()
            if interaction_id not in self.slots
            and self._past.get(interaction_id, -1) < entries.key(held.frames[-1].entry)
        ]

    def meet(self, interaction_id: str, stored: Stored, held: Held) -> None:
        """Begin a call that was not in progress, unless all that is held was dealt with before it ended."""
        until = entries.key(decode_checkpoint(stored.state).place.entry)
        if entries.key(held.frames[-1].entry) > until:
            self.begin(interaction_id, stored).held = held
        else:
            self._remember(interaction_id, until)

    def begin(self, interaction_id: str, stored: Stored) -> Slot:
        """Start a call's tasks, from its checkpoint if it has one."""
        redis = self._config.redis
        topics = Topics(redis.transcript_key(interaction_id), redis.events_stream, EVENTS_MAXLEN)
        limits = self._config.interaction
        call = Call(
            Outbox(interaction_id, topics, stored), Bounds(limits.gap_fill_ms, limits.max_unfinalized_s)
        )
        if self._config.http.token is not None:  # else nobody may see them
            call.outbox.recent = Recent()
        send, receive = trio.open_memory_channel[Frames](FRAMES)
        slot = Slot(Interaction(call, self._services), send, trio.current_time())
        slot.cursor_at = slot.active_at
        self.slots[interaction_id] = slot
        self._past.pop(interaction_id, None)
        self._nursery.start_soon(self._run, slot, receive)
        return slot

    def hand_over(self, arrivals: Iterable[str], now: float) -> None:
        """See to the calls that have got frames worth it: they get what is held, or wait for more."""
        for interaction_id in arrivals:
            slot = self.slots.get(interaction_id)
            if slot is None or not slot.held.frames:
                continue  # over before these frames, or they had left already
            if slot.failed:
                slot.held.take()  # to be read again
            elif slot.closing:
                self._keep(slot)
            elif not slot.hand_over(now):
                self._metrics.overruns.inc()
                self.restart(interaction_id, "it cannot take its frames")

    def _keep(self, slot: Slot) -> None:
        """Keep frames that came while their call closes: it goes on with them on a new connection."""
        self._metrics.late_frames.inc(slot.keep(MAX_LATE))

    # -- ending ----------------------------------------------------------------------------------------

    def end(self, interaction_id: str, at: EntryId, reason: str) -> None:
        """Let a call end, after the grace; an end that was applied before, or of no call, is ignored."""
        slot = self.slots.get(interaction_id)
        if slot is None:
            return
        ended = slot.call.outbox.confirmed.ended
        if ended and entries.key(at) <= entries.key(ended):
            return
        if slot.closing:
            slot.late_end = at  # counts if it goes on with late frames
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
        slot.closing = True
        if slot.held.frames:
            self.restart(slot.call.id, "it cannot take its frames")
        slot.frames.close()

    async def _run(self, slot: Slot, frames: trio.MemoryReceiveChannel[Frames]) -> None:
        call = slot.call
        try:
            with slot.scope:
                await slot.interaction.run(frames)
                at, reason = slot.end or (call.last_entry, "closed")
                call.end(at, reason)
                await self._services.committer.drained(call.outbox)
        except Exception:  # noqa: BLE001 (a failing call is an outcome here: it disturbs no other)
            self._log.exception("Call failed; it restarts from its checkpoint", **call.names)
            self._metrics.failed("internal", time.time())
            await self._restart_later(slot)
            return
        if slot.scope.cancelled_caught:
            await self._restart_later(slot)
        else:
            await self._over(slot)

    async def _over(self, slot: Slot) -> None:
        call = slot.call
        timeline = call.timeline
        self._log.info(
            "Call ended",
            **call.names,
            reason=slot.end[1] if slot.end else "",
            audio_ms=timeline.ms(timeline.received),
            connections=call.connection,
        )
        self._restarts.pop(call.id, None)
        self._keep(slot)  # what was read with calls that are unknown, and waits for those
        if slot.failed or (slot.late and call.timeline.half_sample):
            await self._reload(slot)  # the other half of that sample begins the late frames
            return
        del self.slots[call.id]
        self._remember(call.id, entries.key(call.last_entry))
        if slot.late:
            fresh = self.begin(call.id, call.outbox.stored)
            for frame in slot.late:
                fresh.held.add(frame)
            fresh.hand_over(trio.current_time())
            if slot.late_end:
                self.end(call.id, slot.late_end, "call_end")

    def _remember(self, interaction_id: str, until: int) -> None:
        self._past[interaction_id] = until
        while len(self._past) > MAX_PAST:
            self._past.popitem(last=False)

    # -- restarting ------------------------------------------------------------------------------------

    def restart(self, interaction_id: str, why: str) -> None:
        """Start a call anew from what Redis has of it."""
        slot = self.slots.get(interaction_id)
        if slot is not None and not slot.failed:
            self._log.warning("Call restarts from its checkpoint", why=why, **slot.call.names)
            slot.fail()
            slot.scope.cancel()

    async def _restart_later(self, slot: Slot) -> None:
        slot.fail()
        slot.call.timeline.finalize(slot.call.timeline.received)  # it may wait for long: let go of the audio
        await self._services.committer.forget(slot.call.outbox)
        backoff = self._restarts.setdefault(slot.call.id, Backoff(RESTART_BASE_S, RESTART_CAP_S))
        await trio.sleep(backoff.next())
        await self._reload(slot)

    async def _reload(self, slot: Slot) -> None:
        outbox = slot.call.outbox
        (stored,) = await self._services.patiently(partial(self._bus.load, [outbox.interaction_id]))
        kept = stored if stored.rev else outbox.stored  # nothing at all: Redis has lost its data
        self._reloaded.append((slot, kept))

    def begin_reloaded(self) -> Rewind:
        """Begin the calls that restart, just before the reader goes back for them.

        No sooner: a frame handed over before those that it is to read again would take their place.
        """
        firsts, ends = [], {}
        for slot, stored in self._reloaded:
            fresh = self.begin(slot.call.id, stored)
            fresh.first = slot.first
            firsts.append(fresh.begin())
            if slot.end is not None and slot.end[1] == "call_end":
                ends[slot.call.id] = slot.late_end or slot.end[0]
        self._reloaded.clear()
        return Rewind(min(filter(None, firsts), key=entries.key, default=None), ends)

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
                audio = min(audio, floor, key=entries.key)
            if slot.end is not None and slot.end[1] == "call_end":
                ends = min(ends, slot.end[0], key=entries.key)
        return audio, ends

    def saturated(self, now: float) -> bool:
        """Say whether reading further would fill memory: a call that makes progress has enough to do.

        A call that is stuck holds up nobody: it runs into its own bound.
        """
        limits = self._config.interaction
        held = 0
        for slot in self.slots.values():
            if now - slot.progress(now) >= STUCK_S:
                continue
            held += slot.call.timeline.held_bytes
            if slot.call.unfinalized_s() > FULL * limits.max_unfinalized_s:
                return True
        return held > FULL * limits.max_unfinalized_total_mb * 1_000_000

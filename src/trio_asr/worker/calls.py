"""The calls in progress: started, handed their frames, ended, and restarted if they fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import trio

from trio_asr.bus.base import Bus
from trio_asr.config import Config
from trio_asr.core.past import PastCalls
from trio_asr.core.waiting import Waiting
from trio_asr.interaction.inbox import Inbox
from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.codes import CaughtAt, EndReason
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import NewerState, Stored, read_checkpoint
from trio_asr.wire.transcripts import Item
from trio_asr.worker.restarts import RestartPoint, Restarts, needed_after
from trio_asr.worker.shares import Shares
from trio_asr.worker.stored import StoredCalls


class Calls:
    """All calls of one tenure. `nursery` holds their tasks."""

    def __init__(self, nursery: trio.Nursery, bus: Bus, services: Services) -> None:
        self.interactions: dict[str, Interaction] = {}
        self.waiting = Waiting()
        # The key up to which everything was dealt with that belonged to no call in progress at the start.
        self.dealt_with = 0
        self.past = PastCalls()
        self.shares = Shares(self.interactions, services)
        self.stored = StoredCalls(bus, services)
        self._nursery, self._services, self._metrics = nursery, services, services.metrics
        self._log = services.problems.logger("calls")
        self._restarts = Restarts(self.stored, services)
        self._behind = trio.Event()

    @property
    def _config(self) -> Config:
        return self._services.config  # which a reload replaces

    @property
    def full(self) -> bool:
        """Whether there are as many calls in this process as there may be."""
        return self._services.totals.calls >= self._config.interaction.max_calls

    # -- starting --------------------------------------------------------------------------------------

    def unknown(self, arrivals: Mapping[str, Inbox]) -> list[str]:
        """Return the ids of calls that are not in progress and may have news among `arrivals`."""
        return [
            interaction_id
            for interaction_id, held in arrivals.items()
            if interaction_id not in self.interactions and self.past.has_news(interaction_id, held.frames)
        ]

    def start_if_news(self, interaction_id: str, stored: Stored, held: Inbox, now: float) -> None:
        """Start an unknown call if what was read of it is news, or let it wait to be admitted.

        It is no news if everything held for the call was dealt with before the call ended.

        Raises:
            Exception: A bug in how a call starts.
        """
        if interaction_id in self.interactions:
            return  # started meanwhile, behind: it reads these frames again
        checkpoint = read_checkpoint(stored)
        place, after = checkpoint.place, needed_after(stored)
        until = max(ids.key(place.entry), 0 if after else self.dealt_with)
        past = self.past.learn(interaction_id, until, held.frames, place if checkpoint.over else None)
        news = next((frame for frame in held.frames if ids.key(frame.entry) > past.until), None)
        if news is None or not self.past.has_news(interaction_id, held.frames):
            return
        if self.full or self.waiting:  # a newcomer does not overtake those that wait
            self._metrics.calls_deferred.inc()
            self._metrics.calls_refused.inc(self.waiting.add(interaction_id, news, now))
            self._behind.set()
            return
        if after:  # in progress, but somebody removed it from the live set
            self.start_call(interaction_id, stored, news.tenant_id, after)
            return
        interaction = self.start_call(interaction_id, stored, news.tenant_id)
        interaction.inbox = held
        interaction.progress.begin(held.frames[0].entry)

    def start_call(
        self, interaction_id: str, stored: Stored, tenant: str = "", after: EntryId = ""
    ) -> Interaction:
        """Start a call's tasks, from its checkpoint if it has one. With `after`, it starts behind.

        It then reads the stream from the entry after that one.

        Raises:
            Unreadable: What is stored is no state of ours.
        """
        call = self.stored.call(interaction_id, stored, tenant, self.past.recall(interaction_id))
        interaction = Interaction(call, self._services, tenant, after)
        limit = self.shares.limit(interaction, trio.current_time())
        interaction.inbox.limit = interaction.limit = limit  # one read may bring more than that
        if after:
            self._behind.set()
        self.interactions[interaction_id] = interaction
        self._nursery.start_soon(self._run, interaction)
        return interaction

    def hand_over(self, arrivals: Iterable[str], now: float) -> None:
        """Hand their inboxes to the calls that have enough in them, or let those wait for more."""
        for interaction_id in arrivals:
            interaction = self.interactions.get(interaction_id)
            if interaction is None or interaction.over or not interaction.inbox.frames:
                continue  # it is over, and reads these again if it continues; or they left already
            size = interaction.inbox.size
            try:
                taken = interaction.hand_over(now)
            except Exception as error:  # noqa: BLE001 - a bug in one call's step is that call's
                self._services.internal.caught(CaughtAt.CALL, error, **interaction.call.names)
                taken = False
            self._services.totals.taken += size - interaction.inbox.size
            if not taken:
                self._metrics.overruns.inc()
                self.restart(interaction_id, "it cannot take its frames")

    # -- calls that are behind -------------------------------------------------------------------------

    def fall_behind(self, interaction: Interaction) -> None:
        """Let a call take nothing that arrives. It will read that again."""
        interaction.fall_behind()
        self._behind.set()

    async def catchup_needed(self) -> None:
        """Wait until a call is behind, or waits to be admitted."""
        while not self.waiting and not any(
            interaction.behind and not interaction.over for interaction in self.interactions.values()
        ):
            self._behind = trio.Event()
            await self._behind.wait()

    async def admit(self) -> None:
        """Start calls that wait to be admitted, up to the limit."""
        while not self.full and (interaction_id := self.waiting.best(trio.current_time())) is not None:
            (stored,) = await self.stored.load([interaction_id])
            waiter = self.waiting.take(interaction_id)
            if waiter is not None and interaction_id not in self.interactions:
                after = min(waiter.after, needed_after(stored) or waiter.after, key=ids.key)
                interaction = self.start_call(interaction_id, stored, waiter.tenant, after)
                interaction.next_end = waiter.end

    def close_quiet_calls(self, now: float) -> None:
        """Close calls without audio for a while, if others wait to be admitted."""
        for interaction in self.shares.to_close_for_waiting(len(self.waiting), now):
            self.close(interaction, EndReason.IDLE)

    def caught_up(self, interaction: Interaction) -> None:
        """Let a call that was behind take what arrives again."""
        interaction.caught_up()
        if interaction.next_end:
            at, interaction.next_end = interaction.next_end, ""
            self.end(interaction.call.id, at, EndReason.CALL_END)

    def other_tenant(self, interaction: Interaction, tenant: str) -> None:
        """End a call whose id another tenant uses from now on: that is a new call."""
        interaction.next_tenant = tenant
        interaction.fall_behind()
        self.close(interaction, EndReason.OTHER_TENANT)

    # -- ending ----------------------------------------------------------------------------------------

    def end(self, interaction_id: str, at: EntryId, reason: EndReason) -> None:
        """End a call after the grace. An end that was applied before, or of no call, is ignored."""
        interaction = self.interactions.get(interaction_id)
        if interaction is None:
            self.waiting.end(interaction_id, at)
            return
        ended = interaction.call.outbox.confirmed.ended
        if ended and ids.key(at) <= ids.key(ended):
            return
        if interaction.behind:
            interaction.next_end = at
        elif interaction.end is None:
            interaction.end_at(at, reason)
            self._nursery.start_soon(self._close_after_grace, interaction)

    async def _close_after_grace(self, interaction: Interaction) -> None:
        await trio.sleep(self._config.interaction.end_grace_ms / 1000)
        self.close(interaction)

    def close(self, interaction: Interaction, reason: EndReason | None = None) -> None:
        """Take no more frames for this call. Its tasks finish those that came."""
        if reason is not None and interaction.end is None:
            interaction.end_at(interaction.call.last_entry, reason)
        if not interaction.close():
            self.restart(interaction.call.id, "it cannot take its frames")

    async def _run(self, interaction: Interaction) -> None:
        """Run a call's tasks to their end and draw the conclusions. Whatever fails costs this call alone.

        Raises:
            NewerState: The call must restart, and its state is for a later version of this program.
        """
        call = interaction.call
        try:
            done = await self._live(interaction)
            if done:
                await self._over(interaction)
            else:
                self._start_again(interaction, await self._restarts.restart_later(interaction))
        except NewerState:
            raise
        except Exception as error:  # noqa: BLE001 - a bug in how calls end is one call's, too
            self._services.internal.caught(CaughtAt.CALL, error, **call.names)
            if self.interactions.get(call.id) is interaction:
                del self.interactions[call.id]

    async def _live(self, interaction: Interaction) -> bool:
        """Run a call's tasks. Return False if the call must restart."""
        call = interaction.call
        try:
            return await interaction.run()
        except Exception as error:  # noqa: BLE001 - a failing call is an outcome here; no other is affected
            self._log.error("Call failed; it restarts from its checkpoint", **call.names)
            self._services.internal.caught(CaughtAt.CALL, error, **call.names)
            return False

    async def _over(self, interaction: Interaction) -> None:
        call = interaction.call
        timeline = call.timeline
        if call.begun:
            self._log.info(
                "Call ended", **call.names, reason=interaction.end[1] if interaction.end else "",
                audio_ms=timeline.ms(timeline.received), connections=call.connection,
            )  # fmt: skip
        self._restarts.forget_strikes(call.id)
        if interaction.failed:
            self._start_again(interaction, await self._restarts.restart_point(interaction))
            return
        del self.interactions[call.id]
        self.past.remember(call.id, call.past())
        if interaction.missed:
            fresh = self.start_call(call.id, call.outbox.stored, interaction.next_tenant, interaction.latest)
            fresh.next_end = interaction.next_end
        self._behind.set()  # another call may be admitted

    # -- restarting ------------------------------------------------------------------------------------

    def restart(self, interaction_id: str, why: str) -> None:
        """Stop a call, so that it starts again from its checkpoint."""
        interaction = self.interactions.get(interaction_id)
        if interaction is not None and not interaction.failed:
            self._log.warning("Call restarts from its checkpoint", why=why, **interaction.call.names)
            interaction.fail()

    def _start_again(self, interaction: Interaction, point: RestartPoint) -> None:
        """Start a call again. It reads what it needs again, up to the front and to an end that it had."""
        fresh = self.start_call(interaction.call.id, point.stored, interaction.tenant, point.after)
        fresh.progress.first = interaction.progress.first
        fresh.next_end = interaction.next_end or interaction.call_end

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the audio stream has started over from there."""
        for interaction in self.interactions.values():
            interaction.forget_above(last)
            if not interaction.failed:
                self._services.committer.submit(interaction.call.outbox)
        self.past.forget_above(last)
        self.dealt_with = min(self.dealt_with, ids.key(last))
        self.waiting.forget_above(last)

    def save(self) -> None:
        """Write the checkpoints of all calls again, from memory: Redis has lost its data."""
        for interaction in self.interactions.values():
            outbox = interaction.call.outbox
            if outbox.idle and not interaction.failed:  # the others are saved by their next commit
                outbox.put(Item())
                self._services.committer.submit(outbox)

    # -- all calls -------------------------------------------------------------------------------------

    def floors(self, audio: EntryId, ends: EntryId) -> tuple[EntryId, EntryId]:
        """Return the first entries that a restart would need, given how far the streams were read."""
        for interaction in self.interactions.values():
            floor = interaction.floor()
            if floor is not None:
                audio = min(audio, floor, key=ids.key)
            own_ends = (interaction.call_end or ends, interaction.next_end or ends)
            ends = min(ends, *own_ends, key=ids.key)
        return self.waiting.floors(audio, ends)

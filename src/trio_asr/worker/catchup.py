"""Catch-up: replaying the stream for calls that are behind, beside the live reads at the front.

A call that is behind delays no other. A call that holds as much audio as it may takes no more; neither does
one that is ending or failing, or that waits to be admitted. Its frames stay on the stream, where they are
safe. Once it can take some, catch-up goes through the stream again from where the call stopped, up to the
front, and gives it its own frames. All calls that are behind share such a pass. Nothing is held for any
other.
"""

from __future__ import annotations

import time

import trio

from trio_asr.bus.base import Bus, Page
from trio_asr.interaction.inbox import Inbox
from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.entries import decode_frame, peek_id
from trio_asr.wire.ids import EntryId
from trio_asr.worker.calls import Calls
from trio_asr.worker.retry import patiently

LOOK_S = 0.1  # polling: whether a call can take more may change with every final, of any call
# After a page, this part of the time that it took is left to the live calls, and at least this many seconds.
REST, LEAST_REST_S = 1.0, 0.002
STEP_S = 0.01  # other tasks wait no longer than this
TURN_S = 1.0  # the length of a pass; the next one may be for other calls
NEAR_MS = 10_000  # on the stream: calls this close to the one least behind are read for with it


class Front:
    """How far the front of the stream was sorted: no call that is behind has skipped anything after this.

    Up to the key `overlap`, entries may have been handed over by catch-up before they come to the front.
    """

    def __init__(self, begin: EntryId) -> None:
        self.sorted = begin
        self.overlap = 0


class CatchUp:
    """The catch-up of one tenure."""

    def __init__(self, bus: Bus, calls: Calls, services: Services, front: Front) -> None:
        self._bus, self._calls, self._services, self._front = bus, calls, services, front
        self._joined: set[Interaction] = set()  # the calls that get all of their frames from this pass
        self._full: set[Interaction] = set()  # the calls that this pass has filled
        self._pending = 0  # bytes of audio in inboxes, not handed over yet
        self._far = False  # the last turn was that of the call furthest behind

    async def run(self) -> None:
        """Replay for calls that are behind. Never returns.

        Raises:
            Exception: A bug in how a pass goes.
        """
        calls = self._calls
        while True:
            await calls.catchup_needed()
            now = trio.current_time()
            if calls.waiting:
                calls.close_quiet_calls(now)
                await calls.admit()
            positions = [
                interaction.latest
                for interaction in calls.interactions.values()
                if calls.shares.wants_catchup(interaction, now)
            ]
            if positions:
                await self._pass(self._start_of_pass(positions))
            await trio.sleep(LOOK_S)

    def _start_of_pass(self, positions: list[EntryId]) -> EntryId:
        """Return the entry after which to go through the stream.

        The call least behind and the one furthest behind take turns, so that the one is soon at the front,
        wherever the other is.
        """
        self._far = not self._far
        if not self._far:
            near = max(map(ids.milliseconds, positions)) - NEAR_MS
            positions = [entry for entry in positions if ids.milliseconds(entry) >= near]
        return min(positions, key=ids.key)

    async def _pass(self, after: EntryId) -> None:
        """Replay the stream from `after` to the front, for as long as any call takes what is there."""
        self._joined, self._full = set(), set()
        stop = trio.current_time() + TURN_S
        while trio.current_time() < stop:
            self._join(after)
            if not self._joined:
                return
            # The calls that remain may need nothing for a while.
            after = max(
                after, min((interaction.latest for interaction in self._joined), key=ids.key), key=ids.key
            )
            front = self._front.sorted
            began = time.perf_counter()
            page = await patiently(self._services, lambda: self._bus.read_again(after))  # noqa: B023 - called at once
            await self._take(page)
            if page.entries:
                after = page.entries[-1][0].decode()
                for interaction in self._joined:
                    if not interaction.over:
                        interaction.progress.passed = after
            # A page that is not full had everything, up to the front as it was when the page was requested.
            reached = after if page.full else max(after, front, key=ids.key)
            if ids.key(self._front.sorted) <= ids.key(reached):
                self._front.overlap = max(self._front.overlap, ids.key(after))
                for interaction in self._joined:
                    if not interaction.over:  # else it has taken nothing since, and continues from there
                        self._calls.caught_up(interaction)
                return
            await trio.sleep(max(LEAST_REST_S, REST * (time.perf_counter() - began)))

    def _join(self, after: EntryId) -> None:
        """Add the calls that have all of their frames up to `after`."""
        here = ids.key(after)
        for interaction in self._calls.interactions.values():
            if (
                interaction.behind
                and not interaction.over
                and interaction not in self._full
                and ids.key(interaction.latest) >= here
            ):
                self._joined.add(interaction)
                elsewhere = interaction.size - interaction.inbox.size
                interaction.limit = self._calls.shares.limit(interaction, trio.current_time())
                interaction.inbox.limit = interaction.limit - elsewhere
        self._joined = {interaction for interaction in self._joined if not interaction.over}

    async def _take(self, page: Page) -> None:
        """Give each call its own frames of a page."""
        arrivals: dict[str, Inbox] = {}
        stop = time.perf_counter() + STEP_S
        for raw_id, fields in page.entries:
            interaction = self._calls.interactions.get(peek_id(fields) or "")
            if interaction is not None and interaction in self._joined:
                self._give(interaction, raw_id.decode(), fields, arrivals)
            if time.perf_counter() > stop:
                self._hand_over(arrivals)
                arrivals = {}
                await trio.lowlevel.checkpoint()
                stop = time.perf_counter() + STEP_S
        self._hand_over(arrivals)

    def _hand_over(self, arrivals: dict[str, Inbox]) -> None:
        self._pending = 0  # from here on `Shares.taken` counts it
        self._calls.hand_over(arrivals, trio.current_time())

    def _below_total(self) -> bool:
        shares = self._calls.shares
        return shares.totals.taken + self._pending < shares.total

    def _give(
        self, interaction: Interaction, entry: EntryId, fields: list[bytes], arrivals: dict[str, Inbox]
    ) -> None:
        if interaction.over or ids.key(entry) <= ids.key(interaction.latest):
            return
        try:
            frame = decode_frame(fields, self._services.config.interaction.default_sample_rate)
        except Exception:  # noqa: BLE001 - logged and counted at the first read
            return
        frame.entry = entry
        if interaction.is_other(frame):
            self._calls.other_tenant(interaction, frame.tenant_id)
            return
        if not interaction.may_hold(frame) or not self._below_total():
            self._joined.discard(interaction)
            self._full.add(interaction)
            return
        self._pending += len(frame.pcm)
        if interaction.inbox.add(frame):
            arrivals[interaction.call.id] = interaction.inbox

"""The dispatcher: from batches of the bus to the calls that they belong to.

It never awaits a call. The frames of a batch are sorted by call and handed over at once. A call that cannot
take its frames fails alone and restarts from its checkpoint; so does one whose task ends with an error. A
call that holds enough falls behind, alone, and catches up later on what it skips here (`catchup.py`).

An end of a call, being on another stream, is often read before the call's last frames. Both streams are read
at one moment, so an end counts once the audio stream was read empty, or past the end's id. Then the call
gets a short grace for what its producer had not added yet.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import trio

from trio_asr.bus.base import Batch, Bus, RawEntry
from trio_asr.core.reader_state import REPLAY_MARGIN_MS, ReaderOutbox
from trio_asr.interaction.inbox import Inbox
from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire import ids
from trio_asr.wire.codes import CaughtAt, EndReason, ErrorKind
from trio_asr.wire.entries import decode_end, decode_frame
from trio_asr.wire.frames import CallEnd, Frame
from trio_asr.wire.ids import EntryId
from trio_asr.worker.calls import Calls
from trio_asr.worker.catchup import CatchUp, Front
from trio_asr.worker.junkyard import JUNK_LOG_S, Junkyard
from trio_asr.worker.positions import Positions
from trio_asr.worker.restarts import replayed_from
from trio_asr.worker.restoring import restore
from trio_asr.worker.retry import patiently

MAX_ENDS = 10_000  # ends that wait for the audio before them
STEP_S = 0.02  # of decoding at a time; other tasks run in between


class Dispatcher:
    """The reader of one tenure."""

    def __init__(self, bus: Bus, calls: Calls, services: Services, reader_outbox: ReaderOutbox) -> None:
        self.caught_up = False
        self._lag_s = 0.0  # age of the newest entry when it was read
        self._asked_at, self._unanswered = 0.0, False  # the read that is under way
        self.entries = 0  # read so far, of both streams
        self.reader_outbox = reader_outbox
        self._bus, self._calls, self._services = bus, calls, services
        self._config, self._metrics = services.config, services.metrics
        self._log = services.problems.logger("dispatcher")
        self._trim_log = logs.Rate(JUNK_LOG_S)
        self._junk = Junkyard(reader_outbox, services, self._log)
        self._at = Positions(bus, services, *reader_outbox.start())
        if isinstance(added := reader_outbox.confirmed.audio_added, int):
            bus.goes_on(reader_outbox.confirmed.audio_floor, added)
        self._front = Front(self._at.audio)
        # Entries before this key are read only for what they teach about repeats.
        self._needed = ids.key(reader_outbox.confirmed.audio_floor)
        self._oldest_ms = 0  # at the first start ever, entries before this moment are skipped
        self._ends: OrderedDict[str, EntryId] = OrderedDict()

    async def run(self) -> None:
        """Restore the calls in progress, then read and dispatch. Never returns.

        Raises:
            ExceptionGroup: A bug in how a batch is dispatched, or in catch-up.
        """
        self._asked_at = trio.current_time()
        lowest = await restore(self._bus, self._calls, self._services)
        if self.reader_outbox.broken and lowest is not None:
            self._at.audio, self._needed = replayed_from(lowest), ids.key(lowest)
        elif self.reader_outbox.first_start:
            await self._skip_old()
        self._calls.dealt_with = max(0, self._needed - 1)
        self._front.sorted = self._at.audio
        self._log.info("Reading", after=self._at.audio, calls_restored=len(self._calls.interactions))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(CatchUp(self._bus, self._calls, self._services, self._front).run)
            while True:
                self._asked_at = trio.current_time()
                batch = await patiently(
                    self._services, partial(self._bus.read, self._at.audio, self._at.ends), self._lost
                )
                self._unanswered = False
                await self._take(batch)

    @property
    def lag_s(self) -> float:
        """The age of the newest entry when it was read, in seconds; it grows while no read is answered."""
        return self._lag_s + (trio.current_time() - self._asked_at if self._unanswered else 0.0)

    def floors(self) -> tuple[EntryId, EntryId]:
        """Return the entries that a restart must read from: audio and ends."""
        audio, ends = self._calls.floors(self._at.audio, self._at.ends)
        if self._ends:
            ends = min(ends, *self._ends.values(), key=ids.key)
        return audio, ends

    def note_floors(self) -> None:
        """Let the floors be committed: how far back a restart must read."""
        audio, ends = self.floors()
        self.reader_outbox.floor(audio, ends, self._at.added(audio))
        self._services.committer.submit(self.reader_outbox)

    # -- reading ---------------------------------------------------------------------------------------

    def _lost(self) -> None:
        self.caught_up, self._unanswered = False, True

    async def _skip_old(self) -> None:
        """Skip what is too old to be of use: nothing says whether it was dealt with."""
        now_ms = await patiently(self._services, self._bus.now_ms, self._lost)
        self._oldest_ms = now_ms - round(self._config.redis.max_backlog_s * 1000)

    async def _take(self, batch: Batch) -> None:
        self.entries += len(batch.audio) + len(batch.ends)
        taken = 0
        while taken < len(batch.audio):
            taken = await self._take_some(batch.audio, taken)
        if batch.audio:
            self._metrics.reads.inc()
            read_ms = ids.milliseconds(self._at.audio)
            if read_ms > self._oldest_ms + REPLAY_MARGIN_MS:
                self._oldest_ms = 0  # nothing as old as that will come any more
            self._lag_s = max(0.0, time.time() - read_ms / 1000)
        else:
            self._lag_s = 0.0
        if batch.trimmed is not None and ids.key(batch.trimmed) >= self._needed:
            self._warn_trimmed(batch.trimmed)
        if batch.gone is not None and ids.key(batch.gone) > ids.key(self._at.audio):
            if ids.key(batch.gone) > self._needed:  # else it was dealt with before this start
                self._warn_trimmed(batch.gone)
            self._at.audio = self._front.sorted = batch.gone
        if batch.added is not None:
            self._at.counted(batch.added)
        self.caught_up = not batch.audio_full
        self._take_ends(batch)
        if batch.last_audio is not None or batch.last_end is not None:
            await self._look_at_positions(batch)

    async def _take_some(self, audio: Sequence[RawEntry], begin: int) -> int:
        """Dispatch entries from `begin` on, as many as are decoded in one step. Return where that ends."""
        if begin:
            await trio.lowlevel.checkpoint()
        arrivals, end = self._sort(audio, begin)
        self._front.sorted = audio[end - 1][0].decode()
        unknown = self._calls.unknown(arrivals)
        if unknown:
            stored = await self._calls.stored.load(unknown)
            for interaction_id, one in zip(unknown, stored, strict=True):
                held, now = arrivals[interaction_id], trio.current_time()
                try:
                    self._calls.start_if_news(interaction_id, one, held, now)
                except Exception as error:  # noqa: BLE001 - a bug in how a call starts costs that call alone
                    self._services.internal.caught(CaughtAt.CALL, error, interaction_id=interaction_id)
        self._calls.hand_over(arrivals, trio.current_time())
        self._at.read_audio(audio[end - 1])
        if self._front.overlap and ids.key(self._front.sorted) >= self._front.overlap:
            self._front.overlap = 0
        return end

    async def _look_at_positions(self, batch: Batch) -> None:
        """Go back with a stream that has started over below what was read of it."""
        audio = await self._at.begun_again(batch.last_audio, batch.last_end)
        self.reader_outbox.forget_above(self._at.audio, self._at.ends)
        if audio is None:
            return
        self._front.sorted, self._front.overlap = audio, 0
        self._calls.forget_above(audio)
        for interaction_id, entry in self._ends.items():
            self._ends[interaction_id] = min(entry, audio, key=ids.key)
        if audio == ids.ORIGIN:
            await self._skip_old()

    def _warn_trimmed(self, until: EntryId) -> None:
        """Report that a producer trimmed the stream under the reader: that audio is lost."""
        self._metrics.input_trimmed.inc()
        self._metrics.failed(ErrorKind.TRIMMED, time.time())
        if self._trim_log.allow(trio.current_time()):
            self._log.error(
                "Audio was trimmed before it could be read; see MAXLEN at the producers", until=until
            )

    def _sort(  # noqa: C901, PLR0912 - runs for every frame, where one more function call is felt
        self, audio: Sequence[RawEntry], begin: int
    ) -> tuple[dict[str, Inbox], int]:
        """Decode entries and add each frame to its call's inbox. What cannot be used is dead-lettered.

        Return the inboxes that call for a decision, also those of unknown calls, and how far this step came.
        """
        arrivals: dict[str, Inbox] = {}
        interactions, overlap = self._calls.interactions, self._front.overlap
        default_rate = self._services.config.interaction.default_sample_rate  # a reload may have replaced it
        oldest_ms, clock = self._oldest_ms, time.perf_counter
        stop = clock() + STEP_S
        for taken in range(begin, len(audio)):
            raw_id, fields = audio[taken]
            entry = raw_id.decode()
            if oldest_ms and self._is_old(entry):
                continue
            try:
                frame = decode_frame(fields, default_rate)
            except Exception as error:  # noqa: BLE001 - whatever a decoder does not foresee costs its entry
                self._junk.put(entry, fields, error, ends=False)
                if clock() > stop:
                    return arrivals, taken + 1
                continue
            frame.entry = entry
            interaction = interactions.get(frame.interaction_id)
            if interaction is None:
                held = self._held_of(frame, arrivals)
                if held is None:
                    continue
                if held.tenant != frame.tenant_id:
                    return arrivals, taken  # the frames held start the call; this one is judged by that
            elif (
                interaction.behind or overlap or frame.tenant_id != interaction.tenant
            ) and not self._is_for(interaction, frame):
                continue
            else:
                held = interaction.inbox
            if held.add(frame):
                arrivals[frame.interaction_id] = held
                if held.size > held.limit:
                    if interaction is None:
                        return arrivals, taken + 1
                    if interaction.size > len(frame.pcm):  # else this one frame exceeds the limit by itself
                        held.drop_last()
                    self._calls.fall_behind(interaction)
            if frame.odd and clock() > stop:
                return arrivals, taken + 1
        return arrivals, len(audio)

    def _is_old(self, entry: EntryId) -> bool:
        old = ids.milliseconds(entry) < self._oldest_ms
        self._metrics.backlog_skipped.inc(old)
        return old

    def _is_for(self, interaction: Interaction, frame: Frame) -> bool:
        """Return whether a call takes a frame: it may be behind, have it already, or be another tenant's."""
        if interaction.behind:
            interaction.fall_behind()
            if interaction.closing:
                self._metrics.late_frames.inc()
            return False
        if self._front.overlap and ids.key(frame.entry) <= ids.key(interaction.latest):
            return False
        if interaction.is_other(frame):
            self._calls.other_tenant(interaction, frame.tenant_id)
            return False
        return True

    def _held_of(self, frame: Frame, arrivals: dict[str, Inbox]) -> Inbox | None:
        """Return the inbox for a frame of an unknown call, or None if the call waits to be admitted."""
        if self._calls.waiting and self._calls.waiting.note(frame, trio.current_time()):
            return None
        held = arrivals.get(frame.interaction_id)
        if held is None:
            held = arrivals[frame.interaction_id] = Inbox(self._calls.shares.share(frame.format))
            held.tenant = frame.tenant_id
        return held

    # -- ends ------------------------------------------------------------------------------------------

    def _take_ends(self, batch: Batch) -> None:
        for raw_id, fields in batch.ends:
            entry = raw_id.decode()
            try:
                end: CallEnd = decode_end(fields)
            except Exception as error:  # noqa: BLE001 - whatever a decoder does not foresee costs its entry
                self._junk.put(entry, fields, error, ends=True)
                continue
            self._ends[end.interaction_id] = entry
        if batch.ends:
            self._at.read_ends(batch.ends[-1][0].decode())
        while len(self._ends) > MAX_ENDS:
            self._ends.popitem(last=False)
            self._metrics.ends_dropped.inc()
        if self._ends:
            self._settle_ends(ids.key(self._at.audio))

    def _settle_ends(self, audio_at: int) -> None:
        """End the calls whose audio before the end was all read."""
        for interaction_id, entry in list(self._ends.items()):
            if self.caught_up or ids.key(entry) < audio_at:
                del self._ends[interaction_id]
                self._calls.end(interaction_id, entry, EndReason.CALL_END)

"""The dispatcher: from batches of the bus to the calls they belong to.

It never awaits a call. The frames of a batch are sorted by call and handed over at once; a call that cannot
take its share fails alone and is restarted from its checkpoint. So is one whose task ends with an error.

An end of a call is often read before the last frames of its call, since it is another stream. Reads of both
streams are of one moment, so an end counts once the audio stream was read empty, or past the end's id; then
the call gets a short grace for what its producer had not added yet.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from trio_asr import logs
from trio_asr.bus.base import Batch, Bus, RawEntry
from trio_asr.calls import Calls
from trio_asr.core import entries
from trio_asr.core.entries import EntryId
from trio_asr.core.frames import Junk, NotAudio, decode_end, decode_frame
from trio_asr.core.reading import REPLAY_MARGIN_MS, ReaderBox, dead_letter
from trio_asr.services import Services
from trio_asr.slots import Held

MAX_ENDS = 10_000  # ends that wait for the audio before them
HOLD_S = 0.1
# Of what a call may hold, for one batch. Reading pauses above half (`calls.FULL`) of what calls have taken;
# another batch may be on its way to them by then.
ROOM = 0.2
JUNK_LOG_S = 10.0

T = TypeVar("T")


class Dispatcher:
    """Reads for one tenure."""

    def __init__(self, bus: Bus, calls: Calls, services: Services, box: ReaderBox) -> None:
        self.caught_up = False
        self.box = box
        self._bus, self._calls, self._services = bus, calls, services
        self._config, self._metrics = services.config, services.metrics
        self._log = logs.get("dispatcher")
        self._junk_log = logs.Rate(JUNK_LOG_S)
        self._audio_at, self._ends_at = box.start()
        self._needed = entries.key(box.confirmed.audio_floor)  # what is before it is read for its repeats
        self._oldest_ms = 0  # at the first start ever, entries before this moment are skipped
        self._ends: OrderedDict[str, EntryId] = OrderedDict()

    async def run(self) -> None:
        """Restore the calls in progress, then read and dispatch for ever."""
        if self.box.first_start:
            now_ms = await self._patiently(self._bus.now_ms)
            self._oldest_ms = now_ms - round(self._config.redis.max_backlog_s * 1000)
        live = await self._patiently(self._bus.live_calls)
        for interaction_id, stored in zip(
            live, await self._patiently(lambda: self._bus.load(live)), strict=True
        ):
            if stored.rev:
                self._calls.begin(interaction_id, stored)
        self._log.info("Reading", after=self._audio_at, calls_restored=len(self._calls.slots))
        while True:
            self._rewind()
            batch = await self._patiently(lambda: self._bus.read(self._audio_at, self._ends_at))
            await self._take(batch)
            if not self.caught_up:
                await self._admission()

    def floors(self) -> tuple[EntryId, EntryId]:
        """Return what a restart must read from: audio and ends."""
        audio, ends = self._calls.floors(self._audio_at, self._ends_at)
        if self._ends:
            ends = min(ends, *self._ends.values(), key=entries.key)
        return audio, ends

    # -- reading ---------------------------------------------------------------------------------------

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await self._services.patiently(ask, self._lost)

    def _lost(self) -> None:
        self.caught_up = False

    def _rewind(self) -> None:
        """Go back for calls that restart; the others skip what they have."""
        first, ends = self._calls.begin_reloaded()
        self._ends.update(ends)
        if first is None:
            return
        position = entries.before(entries.earlier(first, REPLAY_MARGIN_MS))
        if entries.key(position) < entries.key(self._audio_at):
            self._calls.replay_until = max(self._calls.replay_until, entries.key(self._audio_at))
            self._audio_at = position

    async def _admission(self) -> None:
        """Catching up, read no further ahead than memory allows: the stream itself is the buffer."""
        while self._calls.saturated(trio.current_time()):  # noqa: ASYNC110 (a pause, not a signal)
            await trio.sleep(HOLD_S)

    async def _take(self, batch: Batch) -> None:
        arrivals, taken = self._sort(batch.audio)
        unknown = self._calls.unknown(arrivals)
        if unknown:
            stored = await self._patiently(lambda: self._bus.load(unknown))
            for interaction_id, one in zip(unknown, stored, strict=True):
                self._calls.meet(interaction_id, one, arrivals[interaction_id])
        self._calls.hand_over(arrivals, trio.current_time())
        if batch.audio:
            self._metrics.reads.inc()
            self._audio_at = batch.audio[taken - 1][0].decode()
            if self._calls.replay_until and entries.key(self._audio_at) >= self._calls.replay_until:
                self._calls.replay_until = 0
            read_ms = entries.milliseconds(self._audio_at)
            if read_ms > self._oldest_ms + REPLAY_MARGIN_MS:
                self._oldest_ms = 0  # nothing so old will be read any more
            lag_s = time.time() - read_ms / 1000
            self._metrics.reader_lag_seconds.set(max(0.0, lag_s))
        else:
            self._metrics.reader_lag_seconds.set(0)
        if batch.trimmed is not None and entries.key(batch.trimmed) >= self._needed:
            self._warn_trimmed(batch.trimmed)
        self.caught_up = not batch.audio_full and taken == len(batch.audio)
        self._take_ends(batch)

    def _warn_trimmed(self, until: EntryId) -> None:
        """Say that a producer cut the stream under the reader: that audio is lost before anyone had it."""
        self._metrics.input_trimmed.inc()
        self._metrics.failed("trimmed", time.time())
        if self._junk_log.allow(trio.current_time()):
            self._log.error(
                "Audio was trimmed before it could be read; see MAXLEN at the producers", until=until
            )

    def _sort(self, audio: Sequence[RawEntry]) -> tuple[dict[str, Held], int]:
        """Decode a batch and put each frame to its call; what cannot be used goes to the dead letters.

        Return the calls that have something to decide, unknown ones included, and how many entries were
        taken: not many more than any call has room for, the rest is read again.
        """
        arrivals: dict[str, Held] = {}
        slots, replaying = self._calls.slots, self._calls.replay_until > 0
        limits = self._services.config.interaction  # which a reload may have replaced
        default_rate, room_s = limits.default_sample_rate, ROOM * limits.max_unfinalized_s
        oldest_ms = self._oldest_ms
        for taken, (raw_id, fields) in enumerate(audio, 1):
            entry = raw_id.decode()
            if oldest_ms and entries.milliseconds(entry) < oldest_ms:
                self._metrics.backlog_skipped.inc()
                continue
            try:
                frame = decode_frame(fields, default_rate)
            except NotAudio:
                continue
            except Junk as junk:
                self._dead_letter(entry, fields, junk, ends=False)
                continue
            frame.entry = entry
            slot = slots.get(frame.interaction_id)
            if slot is None:
                held = arrivals.setdefault(frame.interaction_id, Held())
            elif replaying and entries.key(entry) <= entries.key(slot.latest):
                continue
            else:
                held = slot.held
            if held.add(frame):
                arrivals[frame.interaction_id] = held
                if held.size > room_s * frame.sample_rate * 2:
                    return arrivals, taken
        return arrivals, len(audio)

    def _dead_letter(self, entry: EntryId, fields: list[bytes], junk: Junk, *, ends: bool) -> None:
        stream = self._config.redis.call_end_stream if ends else self._config.redis.audio_stream
        if not self.box.junk(dead_letter(stream, entry, fields, junk.kind, str(junk)), ends=ends):
            return
        self._metrics.dead_letters(junk.kind).inc()
        self._metrics.failed("input", time.time())
        self._services.committer.submit(self.box)
        if self._junk_log.allow(trio.current_time()):
            self._log.warning(
                "Entry cannot be used",
                stream=stream,
                entry=entry,
                reason=str(junk),
                suppressed=self._junk_log.skipped,
            )

    # -- ends ------------------------------------------------------------------------------------------

    def _take_ends(self, batch: Batch) -> None:
        for raw_id, fields in batch.ends:
            entry = raw_id.decode()
            try:
                end = decode_end(fields)
            except Junk as junk:
                self._dead_letter(entry, fields, junk, ends=True)
                continue
            self._ends[end.interaction_id] = entry
        if batch.ends:
            self._ends_at = batch.ends[-1][0].decode()
        while len(self._ends) > MAX_ENDS:
            self._ends.popitem(last=False)
        if self._ends:
            self._settle_ends(entries.key(self._audio_at))

    def _settle_ends(self, audio_at: int) -> None:
        """Let calls end whose audio before the end was all read."""
        for interaction_id, entry in list(self._ends.items()):
            if self.caught_up or entries.key(entry) < audio_at:
                del self._ends[interaction_id]
                self._calls.end(interaction_id, entry, "call_end")

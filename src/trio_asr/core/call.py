"""One call's state: its timeline, what its producer said, and what it has to say to Redis.

Everything that happens to a call is a method here or in `hearing`; the tasks around it only wait, send and
receive. A call that restarts (a new process, a takeover, a reload) is built from its checkpoint and read the
same stream again: entries up to the checkpoint are only looked at (they teach `Series` and `Repeats`), the
entry in which it lies counts from its offset on.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import msgspec

from trio_asr.core import entries
from trio_asr.core.entries import EntryId
from trio_asr.core.frames import Frame
from trio_asr.core.hearing import give_up
from trio_asr.core.outbox import Item, Outbox
from trio_asr.core.series import Repeats, Series
from trio_asr.core.timeline import PAST_END, Timeline

GAP_STEP_S = 1.0  # at the retention bound, give up this much at once instead of a frame at a time


class Bounds(NamedTuple):
    """What a call may hold and fill."""

    gap_fill_ms: int
    max_unfinalized_s: float


class Tally:
    """What became of a batch of frames, for the counters."""

    __slots__ = ("accepted", "filled_s", "given_up_s", "repeats")

    def __init__(self) -> None:
        self.accepted = self.repeats = 0
        self.filled_s = self.given_up_s = 0.0

    @property
    def unusual(self) -> bool:
        """There is more to say than how many were accepted."""
        return bool(self.repeats or self.filled_s or self.given_up_s)


class Past:
    """What is remembered of a call that is over, for whatever comes of it later.

    `until` is the key of the last entry that was dealt with, `half` the first half of a sample in which it
    ended.
    """

    __slots__ = ("half", "repeats", "until")

    def __init__(self, until: int, repeats: Repeats | None = None, half: bytes = b"") -> None:
        self.until = until
        self.repeats = Repeats() if repeats is None else repeats
        self.half = half


class Call:
    """A call in progress; `past` is what is remembered of it from before."""

    def __init__(self, outbox: Outbox, bounds: Bounds, past: Past | None = None) -> None:
        place = outbox.confirmed.place
        self.id = outbox.interaction_id
        self.outbox = outbox
        self.timeline = Timeline(place)
        self.last_entry = place.entry
        self._first_entry: EntryId | None = None
        self.bounds = bounds
        self.coming: deque[int] = deque()  # sizes of the batches on their way here, in bytes of audio
        self.given_up = 0  # samples, for want of a connection that takes them
        self._series = Series(bounds.gap_fill_ms)
        self.repeats = Repeats() if past is None else past.repeats
        self._border = outbox.confirmed.over  # what comes may go on in mid-sample, or begin anew
        half = b"" if past is None else past.half
        self.timeline.go_on_with(half)
        self._resume_at = entries.key(place.entry)
        self._resuming = self._resume_at > 0
        self._resume_offset = place.offset + len(half)
        self.announced = False  # there was audio of it that is not behind its checkpoint

    @property
    def begun(self) -> bool:
        """There is something of it that has not ended: audio, or what a checkpoint says."""
        return self.announced or bool(self.outbox.rev and not self.outbox.confirmed.over)

    @property
    def resume_at(self) -> int:
        """The key up to which entries are only looked at, or counted from an offset on."""
        return self._resume_at

    @property
    def connection(self) -> int:
        """The number of the last connection of this call (1, 2, ...)."""
        return self.outbox.connection

    @property
    def names(self) -> dict[str, str]:
        """What a log line calls it by: its id and, where the producer gave one, its trace id."""
        trace_id = self.outbox.trace_id
        names = {"interaction_id": self.id}
        return names if trace_id is None else names | {"trace_id": trace_id}

    def receive(self, frames: list[Frame]) -> Tally:
        """Append a batch of frames, at least one."""
        tally = Tally()
        if self.coming:
            self.coming.popleft()
        # Nearly always they are just what comes next; to look at each then costs four times as much.
        if self.announced and self._series.goes_on(frames) and self.repeats.all_new(frames):
            self._series.follow(frames[-1])
            self.timeline.extend(frames)
            tally.accepted = len(frames)
        else:
            for frame in frames:
                self._receive(frame, tally)
        self.last_entry = frames[-1].entry
        over = self.unfinalized_s() - self.bounds.max_unfinalized_s
        if over > 0:
            tally.given_up_s = self.give_up_oldest(over + GAP_STEP_S, "retention")
        return tally

    def _receive(self, frame: Frame, tally: Tally) -> None:
        follows = self._border and frame.seq == self.repeats.following
        if frame.seq is not None and self.repeats.is_repeat(frame.seq, frame.digest):
            tally.repeats += 1
            return
        silence, offset = self._series.missing(frame), 0
        if self._resuming:
            at = entries.key(frame.entry)
            if at < self._resume_at:
                return
            if at == self._resume_at:
                silence, offset = 0, self._resume_offset
            self._resuming = at == self._resume_at
        if self._border and not self._resuming:
            self._border = False
            if not follows:
                self.timeline.pad()
        self.timeline.append(frame.entry, frame.pcm, frame.sample_rate, silence=silence, offset=offset)
        tally.accepted += 1
        if silence:
            tally.filled_s += silence / 2 / frame.sample_rate
        if not self.announced:
            self._begin(frame)

    def _begin(self, frame: Frame) -> None:
        if self._first_entry is None:
            self._first_entry = frame.entry
        if not self._resuming:  # the entry to resume at is no news
            self.announced = True
            self._announce(frame)

    def _announce(self, frame: Frame) -> None:
        """Say that the call began, or began again after its end; its first checkpoint goes with it."""
        outbox = self.outbox
        resumed = outbox.confirmed.over  # else that has been said
        outbox.tenant_id = outbox.tenant_id or frame.tenant_id
        if resumed or outbox.trace_id is None:
            outbox.trace_id = frame.trace_id or outbox.trace_id
        if outbox.fresh or resumed:
            outbox.fresh = False
            event = {"event": "resumed" if resumed else "started", "sample_rate": frame.sample_rate}
            outbox.put(Item(place=self.timeline.place(self.timeline.finalized), event=event))

    def past(self) -> Past:
        """Return what is to be remembered of this call, which is over."""
        return Past(entries.key(self.last_entry), self.repeats, self.timeline.half())

    def forget_above(self, last: EntryId) -> None:
        """Hold no entry id above `last` any more: the stream has begun again from there."""
        self.timeline.forget_above(last)
        self.last_entry = min(self.last_entry, last, key=entries.key)
        self._resume_at = min(self._resume_at, entries.key(last))
        if self._first_entry is not None:
            self._first_entry = min(self._first_entry, last, key=entries.key)
        self.outbox.forget_above(last, self.timeline.place(self.timeline.finalized))

    def floor(self) -> EntryId | None:
        """Return the first entry that a restart would need for this call (None: it needs nothing)."""
        if self.outbox.idle and not self.timeline.held_bytes:
            return None
        confirmed = self.outbox.confirmed.place.entry
        return self._first_entry if confirmed == entries.ORIGIN else confirmed

    def unfinalized_s(self) -> float:
        """Return the seconds of audio received and not finalized."""
        return self.timeline.seconds(self.timeline.finalized, self.timeline.received)

    def give_up_oldest(self, seconds: float, reason: str) -> float:
        """Commit the oldest un-finalized audio as a gap; return the seconds given up."""
        timeline = self.timeline
        rate = timeline.rate_at(timeline.finalized)
        return self.give_up_until(timeline.finalized + round(seconds * rate), reason)

    def give_up_until(self, end: int, reason: str) -> float:
        """Commit the audio from `finalized` to `end` as a gap; return the seconds given up."""
        timeline = self.timeline
        end = min(timeline.received, end)
        if end <= timeline.finalized:
            return 0.0
        self.given_up += end - timeline.finalized
        return give_up(timeline, self.outbox, end, reason)

    def abandon(self, last: EntryId) -> Item:
        """Return what commits all audio up to entry `last` as a gap: it is not known what to do with it."""
        timeline, start = self.timeline, self.outbox.confirmed.place.finalized
        end = max(start, timeline.received)
        event = {
            "event": "gap",
            "reason": "internal",
            "start_ms": timeline.ms(start),
            "end_ms": timeline.ms(end),
        }
        place = msgspec.structs.replace(
            timeline.place(end),
            entry=max(last, self.last_entry, key=entries.key),
            offset=PAST_END,
            at=2 * end,
        )
        return Item(place=place, event=event | {"samples": end - start})

    def connected(self, request_id: str) -> int:
        """Number a new connection, which starts from `finalized`."""
        self.timeline.rewind()
        self.outbox.connection += 1
        self.event("connection_opened", connection=self.outbox.connection, request_id=request_id)
        return self.outbox.connection

    def event(self, event: str, **fields: Any) -> None:
        """Queue a lifecycle event."""
        self.outbox.put(Item(event={"event": event, **fields}))

    def end(self, at: EntryId, reason: str) -> None:
        """Queue the end of the call: the last item, after all that is left was finalized."""
        timeline = self.timeline
        fields = {"event": "ended", "reason": reason, "duration_ms": timeline.ms(timeline.received)}
        fields["connections"] = self.outbox.connection
        ended = max(at, self.last_entry, key=entries.key)  # frames may have come after the end that named it
        self.outbox.put(Item(place=timeline.place(timeline.finalized), event=fields, ended=ended))

"""The state of one call: its timeline, what its producer sent, and what it has to write to Redis.

Whatever happens to a call is a method here or in `ResultHandler`. The tasks around it only wait, send and
receive. A call that restarts (a new process, a takeover, a bug) is built from its checkpoint and reads the
same stream again. Entries up to the checkpoint are only inspected: they teach `Series` and `Repeats`. The
entry in which the checkpoint lies counts from its offset on.

Who may move which cursor of the timeline:

* `received`: the reader; the dispatcher, if the stream has started over (`forget_above`).
* `sent`: the flush scheduler, in its own task or called by the reader. The sender rewinds it to `finalized`
  for each connection (`connected`). `finalized` takes it along where it lags.
* `finalized`: the receiver, by finals and the gaps before them. The sender, when a connection has ended.
  Whoever appends, at the bound of the call. Housekeeping, at the bound of all calls, and for a call that is
  over and finds no connection. The restart of a call that failed, once its tasks are over.

All run on one thread, and no move has an `await` in it: nobody sees the cursors half moved.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import msgspec

from trio_asr.core.order import Order, Placed
from trio_asr.core.outbox import Outbox
from trio_asr.core.past import Past
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.core.repeats import Repeats
from trio_asr.core.results import give_up
from trio_asr.core.resuming import Resuming
from trio_asr.core.sequence import Series
from trio_asr.core.timeline import Timeline
from trio_asr.wire import ids
from trio_asr.wire.codes import EndReason, EventName, GapReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId
from trio_asr.wire.resume_point import PAST_END
from trio_asr.wire.transcripts import Item
from trio_asr.wire.wave import Header

GAP_STEP_S = 1.0  # at the retention bound this much is given up at once, instead of a frame at a time


class Bounds(NamedTuple):
    """The bounds of what a call may hold, fill and wait for."""

    gap_fill_ms: int
    max_unfinalized_s: float
    reorder_ms: int = 0


class Call:
    """A call in progress. `past` is what is remembered of it from before its last end."""

    def __init__(self, outbox: Outbox, bounds: Bounds, past: Past | None = None) -> None:
        point = outbox.resume_point
        self.id = outbox.interaction_id
        self.outbox = outbox
        self.timeline = Timeline(point)
        self.last_entry = point.entry
        self._first_entry: EntryId | None = None
        self.bounds = bounds
        self.coming: deque[int] = deque()  # the batches on their way here, in bytes of audio
        self.given_up = 0  # samples that no connection took
        self._series = Series(bounds.gap_fill_ms)
        self.order = Order(self._series, bounds.reorder_ms)
        self.repeats = Repeats() if past is None else past.repeats
        self._border = outbox.confirmed.over  # the next frame may continue in mid-sample, or start afresh
        self._header = Header() if not point.finalized or self._border else None
        half = b"" if past is None else past.half
        self.timeline.go_on_with(half)
        self._resuming = Resuming(point, len(half))
        self._follows = False  # the next frame continues where a call that was over has ended
        self._plain = False  # the next frames need no look at anything but themselves
        self.announced = False  # there was audio that is not behind the checkpoint

    @property
    def begun(self) -> bool:
        """Whether some of the call has not ended yet: audio, or what a checkpoint says."""
        return self.announced or bool(self.outbox.rev and not self.outbox.confirmed.over)

    @property
    def resume_at(self) -> int:
        """The key up to which entries are only inspected, or counted from an offset on."""
        return self._resuming.at

    @property
    def next_rate(self) -> int:
        """The sample rate at `finalized` and of the next connection, in Hz (0 before any audio)."""
        return self.timeline.rate_at(self.timeline.finalized)

    @property
    def connection(self) -> int:
        """The number of the call's last connection (1, 2, ...)."""
        return self.outbox.connection

    @property
    def names(self) -> dict[str, str]:
        """The fields that name the call in a log line: its id and, if the producer gave one, its trace id."""
        trace_id = self.outbox.trace_id
        names = {"interaction_id": self.id}
        return names if trace_id is None else names | {"trace_id": trace_id}

    def receive(self, frames: list[Frame], now: float = 0.0) -> ReceiveResult:
        """Append a batch of at least one frame, or let frames wait that have missing ones before them.

        `now` is in seconds, for `order`.
        """
        result = ReceiveResult()
        if self.coming:
            self.coming.popleft()
        # Nearly always they just continue the series. Looking at each would cost four times as much.
        if self._plain and self._series.goes_on(frames) and self.repeats.all_new(frames):
            self._series.follow(frames[-1])
            self.timeline.extend(frames)
            result.accepted = len(frames)
        else:
            for frame in frames:
                self._receive(frame, now, result)
            self._settle()
        self.last_entry = frames[-1].entry
        if self.unfinalized_s() > self.bounds.max_unfinalized_s or self.timeline.waiting:
            self._bound(result)
        return result

    def expire(self, now: float) -> ReceiveResult:
        """Wait no longer for frames that are overdue by now."""
        return self._placed(self.order.expire(now))

    def close(self) -> ReceiveResult:
        """Wait for no missing frames: no more will come."""
        return self._placed(self.order.close())

    def _placed(self, placed: list[Placed]) -> ReceiveResult:
        result = ReceiveResult()
        self._append(placed, result)
        self._settle()
        self._bound(result)
        return result

    def _bound(self, result: ReceiveResult) -> None:
        most_s, waiting, waiting_s = self.bounds.max_unfinalized_s, self.order.frames, 0.0
        if waiting:
            waiting_s = sum(len(frame.pcm) for frame in waiting) / 2 / waiting[0].sample_rate
            if waiting_s > most_s:
                self._append(self.order.close(), result)
                self._settle()
                waiting_s = 0.0
        if (over := self.unfinalized_s() + waiting_s - most_s) > 0:
            result.given_up_s += self.give_up_oldest(over + GAP_STEP_S, GapReason.RETENTION)

    def _receive(self, frame: Frame, now: float, result: ReceiveResult) -> None:
        if self._border:
            self._follows = frame.seq == self.repeats.following
        if self._resuming and self._resuming.is_news(frame):
            self.timeline.read_again()
        news = self.repeats.news(frame)
        result.repeats += 1 - len(news)
        for one in news:
            self._append(self.order.take(one, now, void=self.repeats.void), result)
            if self.order:
                self.timeline.out_of_order()

    def _append(self, placed: list[Placed], result: ReceiveResult) -> None:
        """Append frames whose turn it is, except for what lies behind the checkpoint."""
        for frame, silence, late in placed:
            offset = self._resuming.counts_from(frame)
            if offset is None:
                continue
            is_news = self._resuming.is_news(frame)
            if self._border and is_news:
                self._border = False
                if not self._follows:
                    self.timeline.pad()
            before = 0 if self._resuming.is_next(frame) else silence  # 0: it is on the timeline already
            if self._header is not None and (is_news or offset < len(frame.pcm)):
                offset = max(offset, self._strip(self._header, frame, result))
            self.timeline.append(frame.entry, frame.pcm, frame.sample_rate, silence=before, offset=offset)
            result.accepted += 1
            result.filled_s += before / 2 / frame.sample_rate
            if late:
                result.late_s += len(frame.pcm) / 2 / frame.sample_rate
            if not self.announced:
                self._begin(frame, is_news=is_news)

    def _settle(self) -> None:
        """Update what follows from having looked at frames one by one."""
        if self.order or self.timeline.waiting:
            waiting = self.order.frames
            self.timeline.waiting = [one for one in waiting if self._resuming.counts_from(one) is not None]
        elif self._resuming and self.announced:
            self._resuming.over()
        self._plain = self.announced and not self.order and not self._resuming

    def _strip(self, header: Header, frame: Frame, result: ReceiveResult) -> int:
        """Return how many bytes of a frame belong to the header of a WAVE file that is sent as it is."""
        size = header.strip(frame.pcm)
        if size:
            self._series.shorten(frame, size)
        if header.over:
            result.header = header.stripped
            self._header = None
        return size

    def _begin(self, frame: Frame, *, is_news: bool) -> None:
        if self._first_entry is None:
            self._first_entry = frame.entry
        if is_news:  # the entry of the resume point is not
            self.announced = True
            self._announce(frame)

    def _announce(self, frame: Frame) -> None:
        """Queue the event that the call began, or resumed after its end, with the first checkpoint."""
        outbox = self.outbox
        resumed = outbox.confirmed.over  # otherwise its start was announced before
        outbox.tenant_id = outbox.tenant_id or frame.tenant_id
        if resumed or outbox.trace_id is None:
            outbox.trace_id = frame.trace_id or outbox.trace_id
        if outbox.fresh or resumed:
            outbox.fresh = False
            name = EventName.RESUMED if resumed else EventName.STARTED
            event = {"event": name, "sample_rate": frame.sample_rate}
            outbox.put(Item(resume_point=self.timeline.resume_point(self.timeline.finalized), event=event))

    def past(self) -> Past:
        """Return what is to be remembered of this call, which is over."""
        self.repeats.drop_left_out()
        return Past(ids.key(self.last_entry), self.repeats, self.timeline.half())

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        self._placed(self.order.close())
        self.timeline.forget_above(last)
        self.last_entry = min(self.last_entry, last, key=ids.key)
        self._resuming.forget_above(last)
        if self._first_entry is not None:
            self._first_entry = min(self._first_entry, last, key=ids.key)
        self.outbox.forget_above(last, self.timeline.resume_point(self.timeline.finalized))

    def floor(self) -> EntryId | None:
        """Return the first entry that a restart would need for this call (None: it needs none)."""
        if self.outbox.idle and not self.timeline.held_bytes:
            return None
        confirmed = self.outbox.resume_point.entry
        return self._first_entry if confirmed == ids.ORIGIN else confirmed

    def unfinalized_s(self) -> float:
        """Return the seconds of audio received and not finalized."""
        return self.timeline.seconds(self.timeline.finalized, self.timeline.received)

    def give_up_oldest(self, seconds: float, reason: GapReason) -> float:
        """Commit the oldest audio that is not finalized as a gap. Return the seconds given up."""
        return self.give_up_until(self.timeline.finalized + round(seconds * self.next_rate), reason)

    def give_up_until(self, end: int, reason: GapReason) -> float:
        """Commit the audio from `finalized` to `end` as a gap. Return the seconds given up."""
        timeline = self.timeline
        end = min(timeline.received, end)
        if end <= timeline.finalized:
            return 0.0
        self.given_up += end - timeline.finalized
        return give_up(timeline, self.outbox, end, reason)

    def abandon(self, last: EntryId) -> Item:
        """Return an item that commits all audio up to entry `last` as a gap: the call fails on it."""
        timeline, start = self.timeline, self.outbox.confirmed_until
        end = max(start, timeline.received)
        event = {"event": EventName.GAP, "reason": GapReason.INTERNAL, "start_ms": timeline.ms(start)}
        point = msgspec.structs.replace(
            timeline.resume_point(end),
            entry=max(last, self.last_entry, key=ids.key),
            offset=PAST_END,
            at=2 * end,
            ahead=msgspec.UNSET,
        )
        return Item(resume_point=point, event=event | {"end_ms": timeline.ms(end), "samples": end - start})

    def connected(self, request_id: str) -> int:
        """Begin a new connection at `finalized`. Return its number."""
        self.timeline.rewind()
        self.outbox.connection += 1
        self.event(EventName.CONNECTION_OPENED, connection=self.outbox.connection, request_id=request_id)
        return self.outbox.connection

    def event(self, event: EventName, **fields: Any) -> None:
        """Queue a lifecycle event."""
        self.outbox.put(Item(event={"event": event, **fields}))

    def end(self, at: EntryId, reason: EndReason) -> None:
        """Queue the end of the call: the last item, once everything was finalized."""
        timeline = self.timeline
        fields = {"event": EventName.ENDED, "reason": reason, "duration_ms": timeline.ms(timeline.received)}
        fields["connections"] = self.outbox.connection
        ended = max(at, self.last_entry, key=ids.key)  # frames may have come after the entry of the end
        self.outbox.put(
            Item(resume_point=timeline.resume_point(timeline.finalized), event=fields, ended=ended)
        )

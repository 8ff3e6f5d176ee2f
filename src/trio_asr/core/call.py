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
from collections.abc import Iterable
from typing import Any

from trio_asr.core.announcing import announce, hear_roles
from trio_asr.core.beginning import Beginning, Piece
from trio_asr.core.bounds import Bounds
from trio_asr.core.giving_up import abandoned, give_up, pass_void
from trio_asr.core.order import Order
from trio_asr.core.outbox import Outbox
from trio_asr.core.past import Past
from trio_asr.core.placed import Placed
from trio_asr.core.placement import Placement
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.core.repeats import Repeats
from trio_asr.core.resuming import Resuming
from trio_asr.core.sequence import Series
from trio_asr.core.timeline import Timeline
from trio_asr.wire import ids
from trio_asr.wire.audio_format import Format
from trio_asr.wire.codes import EndReason, EventName, GapReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId
from trio_asr.wire.transcripts import Item

GAP_STEP_S = 1.0  # at the retention bound this much is given up at once, instead of a frame at a time


class Call:
    """A call in progress. `past` is what is remembered of it from before its last end."""

    def __init__(self, outbox: Outbox, bounds: Bounds, past: Past | None = None) -> None:
        point = outbox.resume_point
        self.id = outbox.interaction_id
        self.outbox = outbox
        self.timeline = Timeline(
            point, lambda: self._resuming.those_that_count(self.beginning.frames + self.order.frames)
        )
        self.last_entry = point.entry
        self._first_entry: EntryId | None = None
        self.bounds = bounds
        self.coming: deque[int] = deque()  # the batches on their way here, in bytes of audio
        self.given_up = 0  # samples that no connection took
        self._series = Series(bounds.gap_fill_ms)
        self._placement = Placement(self.timeline, bounds.gap_fill_ms)
        self.order = Order(self._series, self._placement, bounds.reorder_ms)
        self.repeats = Repeats() if past is None else past.repeats
        self._border = outbox.confirmed.over  # the next frame may continue in mid-sample, or start afresh
        self.beginning = Beginning(self._series, begins=not point.finalized, again=self._border)
        part = b"" if past is None else past.part
        self.timeline.go_on_with(part)
        self._resuming = Resuming(point, len(part))
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
    def next_format(self) -> Format:
        """The format at `finalized` and of the next connection (of rate 0 before any audio)."""
        return self.timeline.format_at(self.timeline.finalized)

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
        if self._plain and self._goes_on(frames):
            self.timeline.extend(frames)
            result.accepted = len(frames)
            hear_roles(self.outbox, frames, self.bounds.roles)
        else:
            if self._first_entry is None:
                self._first_entry = frames[0].entry
            for frame in frames:
                self._receive(frame, now, result)
            self._settle()
        self.last_entry = frames[-1].entry
        if self.timeline.unfinalized_s > self.bounds.max_unfinalized_s or self.order:
            self._bound(result)
        return result

    def _goes_on(self, frames: list[Frame]) -> bool:
        """Note frames that just continue what came before, none a repeat. Return whether they do."""
        if frames[0].position is not None:
            if self._placement.goes_on(frames):
                self.repeats.teach(frames)  # a call that is over knows them by that
                self._series.restart(frames[-1])
                return True
            return False
        is_same = frames[0].format is self.timeline.segments.last.format
        if is_same and self._series.goes_on(frames) and self.repeats.all_new(frames):
            self._series.follow(frames[-1])
            return True
        return False

    def expire(self, now: float) -> ReceiveResult:
        """Wait no longer for frames that are overdue by now."""
        return self._placed(self.order.expire(now))

    def close(self) -> ReceiveResult:
        """Wait for no more frames: none will come."""
        result = self._placed(self.order.close())
        self._put(self.beginning.close(), result)
        self._settle()
        return result

    def _placed(self, placed: Iterable[Placed]) -> ReceiveResult:
        result = ReceiveResult()
        self._append(placed, result)
        self._settle()
        self._bound(result)
        return result

    def _bound(self, result: ReceiveResult) -> None:
        most_s = self.bounds.max_unfinalized_s
        if self.order.seconds > most_s:
            self._append(self.order.close(), result)
            self._settle()
        if (over := self.timeline.unfinalized_s + self.order.seconds - most_s) > 0:
            result.given_up_s += self.give_up_oldest(over + GAP_STEP_S, GapReason.RETENTION)

    def _receive(self, frame: Frame, now: float, result: ReceiveResult) -> None:
        if self._border:
            self._follows = frame.position is not None or frame.seq == self.repeats.following
        if self._resuming and self._resuming.is_news(frame):
            self.timeline.read_again()
        news = self.repeats.news(frame)
        placed = frame.position is not None
        if frame.misplaced or (placed and not self._placement.possible(frame, is_news=bool(news))):
            result.misplaced += 1
            frame.position = None
        if frame.position is None:
            result.repeats += 1 - len(news)
        else:  # that alone says what it is; what lies behind the checkpoint is done
            news = [] if self._resuming.counts_from(frame) is None else [frame]
        for one in news:
            self._append(self.order.take(one, now, void=self.repeats.void), result)
            if self.order:
                self.timeline.out_of_order()

    def _append(self, placed: Iterable[Placed], result: ReceiveResult) -> None:
        """Append frames whose turn it is, except for what lies behind the checkpoint."""
        for one in placed:
            offset = self._resuming.counts_from(one.frame, one.offset, one.about)
            if offset is None:
                continue
            result.late_s += one.late / one.frame.format.bytes_per_s
            if one.is_repeat and offset >= one.offset:
                result.repeats += 1
            else:
                is_news = self._resuming.is_news(one.frame)
                self._put(self.beginning.take(one, offset, is_news=is_news), result)

    def _put(self, pieces: Iterable[Piece], result: ReceiveResult) -> None:
        for piece in pieces:
            self._put_one(*piece, result)

    def _put_one(self, one: Placed, offset: int, header: int, result: ReceiveResult) -> None:
        """Append a frame from byte `offset` on, but for its header, and what goes before it."""
        frame, fmt = one.frame, one.frame.format
        is_news = self._resuming.is_news(frame)
        if self._border and is_news:
            self._border = False
            if not self._follows:
                self.timeline.pad()
        if one.void:
            self.timeline.skip(one.void, fmt)
        placed = frame.position is not None
        # What was put before it is on the timeline already, unless its position says what is.
        before = 0 if self._resuming.is_next(frame) and not placed else one.silence
        if header:
            result.header = self.beginning.header
            before += max(0, header - offset) if placed else 0  # positions count it
            offset = max(offset, header)
        self.timeline.append(frame.entry, frame.pcm, fmt, silence=before, offset=offset, placed=placed)
        result.accepted += 1
        result.filled_s += before / fmt.bytes_per_s
        hear_roles(self.outbox, [frame], self.bounds.roles)
        if not self.announced:
            self._begin(frame, result, is_news=is_news)
        if not self.timeline.uniform:
            pass_void(self.timeline, self.outbox)

    def _settle(self) -> None:
        """Update what follows from having looked at frames one by one."""
        if self._resuming and self.announced and not self.order:
            self._resuming.over()
        self._plain = self.announced and not self.order and not self._resuming and self.beginning.over

    def _begin(self, frame: Frame, result: ReceiveResult, *, is_news: bool) -> None:
        if is_news:  # the entry of the resume point is not
            self.announced = True
            result.meta = announce(self.outbox, frame, self.timeline.resume_point(self.timeline.finalized))

    def past(self) -> Past:
        """Return what is to be remembered of this call, which is over."""
        self.repeats.drop_left_out()
        return Past(ids.key(self.last_entry), self.repeats, self.timeline.part())

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        self.close()
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

    def give_up_oldest(self, seconds: float, reason: GapReason) -> float:
        """Commit the oldest audio that is not finalized as a gap. Return the seconds given up."""
        timeline = self.timeline
        return self.give_up_until(timeline.segments.later(timeline.finalized, seconds), reason)

    def give_up_until(self, end: int, reason: GapReason, channel: int | None = None) -> float:
        """Commit the audio up to `end` as a gap, of one channel or all. Return the seconds given up."""
        timeline, before = self.timeline, self.timeline.finalized
        seconds = give_up(timeline, self.outbox, min(timeline.received, end), reason, channel)
        self.given_up += timeline.finalized - before
        return seconds

    def abandon(self, last: EntryId) -> list[Item]:
        """Return items that commit all audio up to entry `last` as a gap: the call fails on it."""
        return abandoned(self.timeline, self.outbox, max(last, self.last_entry, key=ids.key))

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

"""The outbox of a call: what it has to write to Redis, in order, one commit at a time.

At most one commit of a call is in flight. It is retried unchanged until it is answered: its revision makes
it idempotent. Meanwhile new items gather here and leave as the next commit. Of each channel's partials only
the newest is kept, and none that a final has overtaken. Sequence numbers are given when a commit is built, so
dropped partials leave no holes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trio_asr.core.recent import Recent
from trio_asr.wire.codes import EventName, GapReason
from trio_asr.wire.ids import EntryId, key
from trio_asr.wire.records import (
    VERSION,
    Checkpoint,
    Commit,
    Outcome,
    Stored,
    Write,
    encode,
    read_checkpoint,
)
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Item, Topics, Transcript

MAX_WRITES = 64  # per commit, so that no call keeps Redis busy for long
# Events that a gap may swallow.
PASSING = (
    EventName.UTTERANCE_END, EventName.SPEECH_STARTED, EventName.SEARCH, EventName.RATE_CHANGING,
    EventName.CONNECTION_OPENED, EventName.CONNECTION_CLOSED,
)  # fmt: skip


class Outbox:
    """The queue of one call's items, the commit in flight, and the state that Redis has confirmed.

    If another tenant had the id before, a new call starts: its times begin at 0, and the sequence numbers
    continue, because both share one stream.

    Raises:
        Unreadable: What is stored is no state of ours.
    """

    def __init__(self, interaction_id: str, topics: Topics, stored: Stored, tenant_id: str = "") -> None:
        self.interaction_id = interaction_id
        self.confirmed = read_checkpoint(stored)
        self.fresh = not stored.rev  # nothing was published of this call so far
        if _is_other(tenant_id, self.confirmed.tenant_id):
            self.fresh = True
            last, before = self.confirmed, self.confirmed.place
            point = ResumePoint(entry=before.entry, offset=before.offset, ahead=before.ahead)
            self.confirmed = Checkpoint(point, last.seq, last.connection, tenant_id)
        self._topics = topics
        self._rev = stored.rev
        self._state = self.confirmed  # as the commit in flight will leave it
        self._queue: list[Item] = []
        self._partials: dict[int, Transcript] = {}  # the newest of each channel
        self._flight: tuple[Commit, list[Item]] | None = None
        self.connection = self.confirmed.connection
        self.tenant_id = self.confirmed.tenant_id
        self.trace_id = self.confirmed.trace_id
        self.roles: tuple[str, ...] = self.confirmed.roles or ()  # who is on each of several channels
        self.origin = ""  # where the call comes from, for the pages; not kept over a restart
        self.recent: Recent | None = None  # for the pages, where they may show it

    # -- what comes in ---------------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Queue an item. One that moves a channel's cursor overtakes the partial that waits."""
        if item.resume_point is not None:
            self._partials.pop(item.channel, None)
        self._queue.append(item)

    def put_partial(self, transcript: Transcript) -> None:
        """Queue a partial, replacing the one of its channel that may wait."""
        self._partials[transcript.channel or 0] = transcript

    def leg(self, channel: int, channels: int) -> dict[str, Any]:
        """Return the fields that name one of several channels in a message (of one: none)."""
        if channels == 1:
            return {}
        named = {"channel": channel}
        return named | {"role": self.roles[channel]} if channel < len(self.roles) else named

    def forget_above(self, last: EntryId, point: ResumePoint) -> None:
        """Keep no entry id above `last`: the stream has started over from there.

        The next commit stores that for a restart. `point` is where the call is now.
        """
        if self.confirmed.ended and key(self.confirmed.ended) > key(last):
            self.confirmed = msgspec.structs.replace(self.confirmed, ended=last)
        self.put(Item(resume_point=point))

    def earlier(self, sample: int, audio: int) -> int:
        """Return where `audio` samples before this one began, passing over what never came and waits here."""
        at = sample - audio
        for item in reversed(self._queue):
            point, event = item.resume_point, item.event or {}
            # Of several channels each has such a gap. The last of them moves the lowest cursor.
            if event.get("reason") == GapReason.SOURCE and point and not point.lead and point.finalized > at:
                at -= event["samples"]
        return at

    def shed(self, before: int) -> int:
        """Turn queued transcripts of audio before a sample into gaps, and return how many.

        Gaps that adjoin are merged, or the queue would go on growing.
        """
        old, shed = 0, 0
        kept: list[Item] = []
        for item in self._queue:
            if item.resume_point is not None and item.resume_point.finalized >= before:
                break
            old += 1
            shed += item.transcript is not None
            without = _unpublished(item)
            at, joined = _join(kept, without)
            if joined is not None:
                del kept[at]
            kept.append(joined or without)
        self._queue[:old] = kept
        return shed

    # -- what goes out ---------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and nothing is in flight."""
        return self._flight is None and not self._queue and not self._partials

    @property
    def resume_point(self) -> ResumePoint:
        """The resume point that Redis has confirmed."""
        return self.confirmed.place

    @property
    def confirmed_until(self) -> int:
        """The sample up to which Redis has confirmed finals and gaps."""
        return self.confirmed.place.finalized

    @property
    def rev(self) -> int:
        """The revision that Redis is known to hold (0: none so far)."""
        return self._rev

    @property
    def stored(self) -> Stored:
        """The state of this call that Redis is known to hold."""
        return Stored(self._rev, encode(self.confirmed) if self._rev else b"")

    @property
    def waiting(self) -> int:
        """The number of items that are not in flight yet."""
        return len(self._queue)

    def next_commit(self, wall_ms: int) -> Commit | None:
        """Return the commit to send now: the one in flight again, or a new one built of what waits."""
        if self._flight is not None:
            return self._flight[0]
        items, self._queue = self._queue[:MAX_WRITES], self._queue[MAX_WRITES:]
        while self._partials and len(items) < MAX_WRITES:
            items.append(Item(transcript=self._partials.pop(next(iter(self._partials)))))
        if not items:
            return None
        commit = self._build(items, wall_ms)
        self._flight = commit, items
        return commit

    def settle(self, outcome: Outcome) -> list[Item]:
        """Take the answer to the commit in flight. Return the items that it committed.

        Of a refused commit nothing was written. Its items wait again, except for a partial, which will be
        old by the next attempt. After any other failure the outbox is of no use: its call is reloaded, or
        belongs to another worker.
        """
        if self._flight is None or outcome not in (Outcome.APPLIED, Outcome.DONE, Outcome.REFUSED):
            return []
        commit, items = self._flight
        self._flight = None
        if outcome is Outcome.REFUSED:
            self._queue = [item for item in items if not item.is_partial] + self._queue
            return []
        self._rev = commit.rev
        self.confirmed = self._state
        if self.recent is not None:
            self.recent.committed(items)
        return items

    def _build(self, items: list[Item], wall_ms: int) -> Commit:
        seq, point, ended = self.confirmed.seq, self.confirmed.place, self.confirmed.ended
        writes = []
        for item in items:
            if item.transcript is not None:
                seq += 1
                message = item.transcript
                message.seq, message.timestamp_ms = seq, wall_ms
                writes.append(Write(self._topics.transcript, encode(message)))
            if item.event is not None:
                event = self._event(item.event, wall_ms)
                writes.append(Write(self._topics.events, event, self._topics.events_maxlen))
            if item.resume_point is not None:
                point = item.resume_point
            if item.ended is not None:
                ended = item.ended
        live = items[-1].ended is None
        state = Checkpoint(point, seq, self.connection, self.tenant_id, self.trace_id, ended)
        if not point.format.plain:
            state = msgspec.structs.replace(state, version=VERSION, roles=self.roles or msgspec.UNSET)
        self._state = state
        return Commit(self.interaction_id, self._rev + 1, encode(state), tuple(writes), live)

    def _event(self, event: dict[str, Any], wall_ms: int) -> bytes:
        head = {"event": event["event"], "interaction_id": self.interaction_id, "tenant_id": self.tenant_id}
        if self.trace_id is not None:
            head["trace_id"] = self.trace_id
        return encode(head | event | {"timestamp_ms": wall_ms})


def _is_other(tenant_id: str, before: str) -> bool:
    return bool(tenant_id and before) and tenant_id != before


def _unpublished(item: Item) -> Item:
    if (lost := item.transcript) is None:
        return item
    event = {"event": EventName.GAP, "reason": GapReason.UNPUBLISHED, "start_ms": lost.start_ms}
    event["end_ms"] = lost.end_ms
    if lost.channel is not msgspec.UNSET:
        event["channel"] = lost.channel
    if lost.role is not msgspec.UNSET:
        event["role"] = lost.role
    return item._replace(transcript=None, event=event)


def _join(kept: list[Item], item: Item) -> tuple[int, Item | None]:
    """Return a gap merged with what follows, and its index. The gaps of two channels alternate."""
    for at in reversed(range(len(kept))):
        if (joined := _joined(kept[at], item)) is not None:
            return at, joined
        if not _is_beside(kept[at], item):
            break
    return -1, None


def _is_beside(gap: Item, item: Item) -> bool:
    """Return whether two items are gaps of two channels, so that their order says nothing."""
    one, other = gap.event or {}, item.event or {}
    are_gaps = one.get("event") == other.get("event") == EventName.GAP
    return are_gaps and one.get("channel") != other.get("channel")


def _joined(gap: Item, item: Item) -> Item | None:
    """Return the gap merged with what follows, if that is more of the same or no longer of interest."""
    event, more = gap.event, item.event
    if event is None or event["event"] != EventName.GAP or item.ended is not None:
        return None
    if more is not None and more["event"] not in PASSING:
        if any(more.get(name) != event.get(name) for name in ("event", "reason", "channel")):
            return None
        event = event | {"end_ms": more["end_ms"]}
        if "samples" in more:
            event["samples"] += more["samples"]
    return gap._replace(
        resume_point=item.resume_point or gap.resume_point, event=event, chunks=gap.chunks + item.chunks
    )

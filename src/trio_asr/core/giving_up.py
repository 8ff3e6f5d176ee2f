"""Gaps: audio that is given up. A gap is committed like a final, with the cursors that it moves.

Of a call with several channels each has gaps of its own, and a gap says which channel it is of.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trio_asr.core.outbox import Outbox
from trio_asr.core.timeline import Timeline
from trio_asr.wire.codes import EventName, GapReason
from trio_asr.wire.ids import EntryId
from trio_asr.wire.resume_point import PAST_END
from trio_asr.wire.transcripts import Item


def give_up(
    timeline: Timeline, outbox: Outbox, end: int, reason: GapReason, channel: int | None = None
) -> float:
    """Commit the audio up to sample `end` as gaps, of one channel or of all. Return its seconds.

    A void ends a gap, and is one of its own. With several channels, the seconds are those of the one that
    gave up most. No gap goes over a border of theirs, and so no lead.
    """
    seconds = 0.0
    for stop in timeline.segments.stops(timeline.finalized, end):
        seconds += _give_up(timeline, outbox, stop, reason, channel)
        pass_void(timeline, outbox)
    return seconds


def pass_void(timeline: Timeline, outbox: Outbox) -> None:
    """Commit as a gap what never came, once everything before it is finalized."""
    if not timeline.uniform and (end := timeline.void_end()):
        _give_up(timeline, outbox, end, GapReason.SOURCE)


def _give_up(
    timeline: Timeline, outbox: Outbox, end: int, reason: GapReason, channel: int | None = None
) -> float:
    """Commit what goes over no border as a gap."""
    seconds, channels = 0.0, len(timeline.cursors)
    for one in range(channels) if channel is None else (channel,):
        start = timeline.cursor(one)
        if end > start:
            seconds = max(seconds, timeline.seconds(start, end))
            event = _gap(timeline, start, end, reason) | outbox.leg(one, channels)
            outbox.put(Item(resume_point=timeline.finalize(end, one), event=event, channel=one))
    return seconds


def abandoned(timeline: Timeline, outbox: Outbox, last: EntryId) -> list[Item]:
    """Return items that commit as a gap whatever Redis has no final of, up to the entry `last`."""
    cursors = outbox.resume_point.cursors
    end = max(*cursors, timeline.received)
    point = timeline.resume_point(end)
    point = msgspec.structs.replace(
        point, entry=last, offset=PAST_END, at=point.format.width * end, ahead=msgspec.UNSET
    )
    items, start = [], min(cursors)
    for stop in timeline.segments.stops(start, end):
        channels = timeline.format_at(start).channels
        reason = GapReason.SOURCE if timeline.segments.void_end(start) else GapReason.INTERNAL
        if len(cursors) != channels:
            cursors = [start] * channels
        for channel, cursor in enumerate(cursors):
            if cursor < stop:
                event = _gap(timeline, cursor, stop, reason) | outbox.leg(channel, channels)
                items.append(Item(event=event))
        start, cursors = stop, []
    items.append(Item(resume_point=point))
    return items


def _gap(timeline: Timeline, start: int, end: int, reason: GapReason) -> dict[str, Any]:
    return {
        "event": EventName.GAP,
        "reason": reason,
        "start_ms": timeline.ms(start),
        "end_ms": timeline.ms(end),
        "samples": end - start,
    }

"""A call as people see it: where its cursors are, what its connection does, what was said last."""

from __future__ import annotations

import time

import msgspec
import trio
from msgspec import UNSET, UnsetType

from trio_asr.core.recent import Line
from trio_asr.interaction.slots import Slot


class Portrait(msgspec.Struct, gc=False, kw_only=True):
    """One call in progress. Times of the call are on its timeline, in seconds; `since` is epoch ms."""

    id: str
    tenant: str
    trace_id: str | None
    state: str
    connection: int
    request_id: str
    received_s: float
    sent_s: float
    finalized_s: float
    lag_s: float
    chunks: int
    held_bytes: int
    last_error: str
    since: int | None
    lines: tuple[Line, ...] | UnsetType = UNSET  # of a call seen closely, the newest last
    interim: Line | UnsetType | None = UNSET


def portray(slot: Slot) -> Portrait:
    """Return a call's portrait."""
    call, sender = slot.call, slot.interaction.sender
    timeline, outbox = call.timeline, call.outbox
    since = None
    if sender.began is not None:
        since = round((time.time() - (trio.current_time() - sender.began)) * 1000)
    return Portrait(
        id=call.id,
        tenant=outbox.tenant_id,
        trace_id=outbox.trace_id,
        state=state(slot),
        connection=call.connection,
        request_id=sender.request_id,
        received_s=timeline.ms(timeline.received) / 1000,
        sent_s=timeline.ms(timeline.sent) / 1000,
        finalized_s=timeline.ms(timeline.finalized) / 1000,
        lag_s=round(call.unfinalized_s(), 3),
        chunks=sender.chunks,
        held_bytes=timeline.held_bytes,
        last_error=sender.last_error,
        since=since,
    )


def portray_closely(slot: Slot) -> Portrait:
    """Return a call's portrait with its transcript, as far as that was kept."""
    portrait, recent = portray(slot), slot.call.outbox.recent
    portrait.lines = () if recent is None else tuple(recent.lines)
    portrait.interim = None if recent is None else recent.interim
    return portrait


def state(slot: Slot) -> str:
    """Say in one word what a call is doing."""
    if slot.failed:
        return "restarting"
    if slot.closing or slot.end is not None:
        return "closing"
    if slot.interaction.sender.connected:
        return "streaming"
    return _unconnected(slot) if slot.call.timeline.unfinalized else "quiet"


def _unconnected(slot: Slot) -> str:
    sender = slot.interaction.sender
    if sender.waits_for == "permit":
        return "waiting"
    if sender.waits_for == "gate":
        return "held"
    return "reconnecting" if slot.call.connection else "connecting"

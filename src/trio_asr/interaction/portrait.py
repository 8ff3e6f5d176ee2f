"""The picture of a call for people: its cursors, its connection, its last transcripts."""

from __future__ import annotations

import time

import msgspec
import trio
from msgspec import UNSET, UnsetType

from trio_asr.core.recent import Caption
from trio_asr.core.states import Shown, shown
from trio_asr.interaction.interaction import Interaction


class Portrait(msgspec.Struct, gc=False, kw_only=True):
    """One call in progress. `*_s` are seconds on the call's timeline; `since` is in epoch milliseconds."""

    id: str
    tenant: str
    trace_id: str | None
    state: Shown
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
    lines: tuple[Caption, ...] | UnsetType = UNSET  # with a call's details only; the newest last
    interim: Caption | UnsetType | None = UNSET


def portray(call: Interaction) -> Portrait:
    """Return the portrait of a call."""
    timeline, outbox, report = call.call.timeline, call.call.outbox, call.report
    since = None
    if report.began is not None:
        since = round((time.time() - (trio.current_time() - report.began)) * 1000)
    return Portrait(
        id=call.call.id,
        tenant=outbox.tenant_id,
        trace_id=outbox.trace_id,
        state=state(call),
        connection=call.call.connection,
        request_id=call.sender.request_id,
        received_s=timeline.ms(timeline.received) / 1000,
        sent_s=timeline.ms(timeline.sent) / 1000,
        finalized_s=timeline.ms(timeline.finalized) / 1000,
        lag_s=round(call.call.timeline.unfinalized_s, 3),
        chunks=report.chunks,
        held_bytes=timeline.held_bytes,
        last_error=report.last_error,
        since=since,
    )


def portray_closely(call: Interaction) -> Portrait:
    """Return the portrait of a call with its transcript, as far as that was kept."""
    portrait, recent = portray(call), call.call.outbox.recent
    portrait.lines = () if recent is None else tuple(recent.captions)
    portrait.interim = None if recent is None else recent.interim
    return portrait


def state(call: Interaction) -> Shown:
    """Return in one word what a call is doing."""
    audio, before = call.call.timeline.unfinalized > 0, call.call.connection > 0
    return shown(call.life.now, call.sender.state, audio=audio, before=before)

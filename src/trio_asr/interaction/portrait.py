"""The picture of a call for people: its cursors, its connection, its last transcripts."""

from __future__ import annotations

import time

import msgspec
import trio
from msgspec import UNSET, UnsetType

from trio_asr.core.outbox import Outbox
from trio_asr.core.recent import Caption
from trio_asr.core.states import Shown, shown
from trio_asr.core.timeline import Timeline
from trio_asr.interaction.interaction import Interaction
from trio_asr.wire.audio_format import Encoding


class Leg(msgspec.Struct, gc=False, kw_only=True):
    """One of several channels: who is on it, if known, and how far it is finalized, in seconds."""

    channel: int
    role: str | UnsetType = UNSET
    finalized_s: float
    lag_s: float


class Portrait(msgspec.Struct, gc=False, kw_only=True):
    """One call in progress. `*_s` are seconds on the call's timeline; `since` is in epoch milliseconds.

    `finalized_s` and `lag_s` are those of the channel that is furthest behind.
    """

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
    # Of a call that is not plain linear16: what its audio is; and of one of several channels, these.
    sample_rate: int | UnsetType = UNSET
    encoding: Encoding | UnsetType = UNSET
    channels: int | UnsetType = UNSET
    legs: tuple[Leg, ...] | UnsetType = UNSET
    # With a call's details only. `origin` is where it comes from, as far as is known.
    # The newest line is the last; of several channels each may have an interim.
    origin: str | UnsetType = UNSET
    lines: tuple[Caption, ...] | UnsetType = UNSET
    interim: Caption | UnsetType | None = UNSET
    interims: tuple[Caption, ...] | UnsetType = UNSET


def portray(call: Interaction) -> Portrait:
    """Return the portrait of a call."""
    timeline, outbox, report = call.call.timeline, call.call.outbox, call.report
    since = None
    if report.began is not None:
        since = round((time.time() - (trio.current_time() - report.began)) * 1000)
    fmt = timeline.format_at(timeline.finalized)
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
        legs=_legs(timeline, outbox) if fmt.channels > 1 else UNSET,
        **({} if fmt.plain else fmt.fields),
    )


def portray_closely(call: Interaction) -> Portrait:
    """Return the portrait of a call with its transcript, as far as that was kept."""
    portrait, recent = portray(call), call.call.outbox.recent
    portrait.origin = call.call.outbox.origin or UNSET
    portrait.lines = () if recent is None else tuple(recent.captions)
    portrait.interim = None if recent is None else recent.interim
    if portrait.legs is not UNSET:
        portrait.interims = () if recent is None else recent.interims
    return portrait


def state(call: Interaction) -> Shown:
    """Return in one word what a call is doing."""
    audio, before = call.call.timeline.unfinalized > 0, call.call.connection > 0
    return shown(call.life.now, call.sender.state, audio=audio, before=before)


def _legs(timeline: Timeline, outbox: Outbox) -> tuple[Leg, ...]:
    cursors, lag_s = timeline.cursors, timeline.unfinalized_s
    return tuple(
        Leg(
            **outbox.leg(channel, len(cursors)),
            finalized_s=timeline.ms(cursor) / 1000,
            lag_s=round(lag_s - timeline.seconds(timeline.finalized, cursor), 3),
        )
        for channel, cursor in enumerate(cursors)
    )

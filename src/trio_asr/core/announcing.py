"""The first word of a call: who and what it is, with its first checkpoint. And who is on its channels."""

from __future__ import annotations

from collections.abc import Sequence

from trio_asr.core.outbox import Outbox
from trio_asr.wire.codes import EventName
from trio_asr.wire.frames import Frame
from trio_asr.wire.meta import BadMeta, origin, read_meta
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Item


def announce(outbox: Outbox, frame: Frame, point: ResumePoint) -> str:
    """Queue the event that a call began, or resumed after its end, unless that was announced before.

    Return why what the producer says of the call (`meta`) is left out, or "" if it is not.
    """
    resumed = outbox.confirmed.over
    outbox.tenant_id = outbox.tenant_id or frame.tenant_id
    if resumed or outbox.trace_id is None:
        outbox.trace_id = frame.trace_id or outbox.trace_id
    if not (outbox.fresh or resumed):
        return ""
    outbox.fresh = False
    event = {"event": EventName.RESUMED if resumed else EventName.STARTED, **frame.format.fields}
    if frame.format.channels > 1 and outbox.roles:
        event["roles"] = outbox.roles
    bad = ""
    try:
        if meta := read_meta(frame.meta):
            event["meta"] = meta
            outbox.origin = origin(meta)
    except BadMeta as error:
        bad = str(error)
    outbox.put(Item(resume_point=point, event=event))
    return bad


def hear_roles(outbox: Outbox, frames: Sequence[Frame], configured: tuple[str, ...]) -> None:
    """Note who is on each of several channels, once it is known, by frames of one format.

    Without `configured` ones, the first entry that says so counts, and that need not be the call's first.
    """
    if frames[0].format.channels > 1 and not outbox.roles:
        outbox.roles = next((frame.roles for frame in frames if frame.roles), configured)

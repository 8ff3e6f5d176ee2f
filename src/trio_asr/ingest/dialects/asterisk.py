"""Asterisk's channel driver chan_websocket (20.16, 21.11, 22.6, 23.0 and later), which dials out to us.

Page: Asterisk, "WebSocket" (channel drivers). Events are texts such as "MEDIA_START channel:x format:ulaw",
or JSON objects with the same names. Audio comes as raw frames in the codec that the dialplan names, at times
before MEDIA_START (asterisk/asterisk issue 1712). Nothing is said to it: until 2026 a ping hung the call up
(pull request 1722), and a message in several frames still does (issue 1941).
"""

from __future__ import annotations

import re
from typing import Any

from trio_asr.ingest.dialect import Request
from trio_asr.ingest.dialects import reading
from trio_asr.ingest.dialects.hello_first import HelloFirst, Platform

SUBPROTOCOLS = ("media",)
_EVENT = re.compile(rb"[A-Z_]{4,40}( [ -~]{0,4000})?\Z")  # audio does not look like this


def read_event(message: bytes) -> dict[str, Any] | None:
    """Return an event in either of its forms; None if it is neither."""
    if (document := reading.read_object(message)) is not None:
        return document
    if _EVENT.match(message) is None:
        return None
    name, *pairs = message.decode(errors="replace").split()
    return {"event": name} | {key: value for key, _, value in (pair.partition(":") for pair in pairs)}


ASTERISK = Platform(
    call=("channelid", "connectionid", "channel"),
    tenant=("tenant", "tenantid"),
    encoding="format",
    rate_hz=8000,
    custom="channelvariables",
    read=read_event,
    quiet=frozenset({
        "dtmf_end", "media_xoff", "media_xon", "media_buffering_completed", "media_mark_processed",
        "queue_drained", "status",
    }),
)  # fmt: skip


def open_dialect(request: Request) -> HelloFirst:
    """Return the reader of one socket.

    Of the request the query is read, which goes before the hello: what `v()` of the dial string appends.
    One of `SUBPROTOCOLS` is accepted.
    """
    return HelloFirst(ASTERISK, request.query)

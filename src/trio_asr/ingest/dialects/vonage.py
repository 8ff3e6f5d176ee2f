"""Vonage's Voice API with a WebSocket as endpoint, and Infobip's, which is of the same shape.

Pages: Vonage, "WebSockets" (guides of the Voice API), and "NCCO reference", connect. The hello has the type
of the audio, and at its top level whatever the application gave as `headers`: without them no call is named.
The socket is a participant of the conversation, and hears all others mixed.
"""

from __future__ import annotations

from trio_asr.ingest.dialect import Request
from trio_asr.ingest.dialects.hello_first import HelloFirst, Platform

VONAGE = Platform(
    call=("calluuid", "callid", "conversationuuid", "uuid"),
    account=("applicationid", "apikey"),
    tenant=("tenant", "tenantid"),
    encoding="contenttype",
    rate_hz=16_000,
    quiet=frozenset({"websocket:dtmf", "websocket:cleared", "websocket:notify"}),
)


def open_dialect(request: Request) -> HelloFirst:
    """Return the reader of one socket.

    Of the request the query is read: `call_uuid`, `tenant` and `content-type` go before the hello's.
    """
    return HelloFirst(VONAGE, request.query)

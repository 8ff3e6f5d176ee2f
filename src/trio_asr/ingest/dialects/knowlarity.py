"""Knowlarity's stream of a call to a WebSocket.

Page: Verloop, "Knowlarity integration (WebSocket)". The hello names the call by `uuid` or `callid`, and the
rate; linear16 follows. What says the end is not documented: the close does, always.
"""

from __future__ import annotations

from trio_asr.ingest.dialect import Request
from trio_asr.ingest.dialects.hello_first import HelloFirst, Platform

KNOWLARITY = Platform(call=("uuid", "callid"), rate="samplerate", rate_hz=16_000, custom="metadata")


def open_dialect(request: Request) -> HelloFirst:
    """Return the reader of one socket. Of the request the query is read, which goes before the hello."""
    return HelloFirst(KNOWLARITY, request.query)

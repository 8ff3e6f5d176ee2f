"""Jambonz' verbs `listen` and `stream`, and the modules of FreeSWITCH that fork audio to a WebSocket.

Pages: jambonz, "listen"; drachtio, "mod_audio_fork"; "mod_audio_stream" (README, and its issues 44, 50, 121:
there the metadata is any text, and may come after audio). Jambonz' hello has all that is needed. FreeSWITCH's
is what the dialplan gives; a dialplan that gives none puts it into the address:
`wss://host/path?callSid=...&sampleRate=16000&mixType=stereo`.
"""

from __future__ import annotations

from trio_asr.ingest.dialect import Request
from trio_asr.ingest.dialects.hello_first import HelloFirst, Platform

# The one that is offered has to be accepted (jambonz' page "listen"; mod_audio_fork's environment).
SUBPROTOCOLS = ("audio.jambonz.org", "audio.drachtio.org")
JAMBONZ = Platform(
    call=("callsid", "callid", "uuid", "calluuid"),
    account=("accountsid",),
    tenant=("tenant", "tenantid"),
    rate="samplerate",
    mix="mixtype",
    # Of "stereo" the caller is on the left, and who was called on the right.
    mixes={"": (), "mono": (), "mixed": (), "stereo": ("left", "right")},
    rate_hz=8000,
    quiet=frozenset({"dtmf", "playdone"}),
)


def open_dialect(request: Request) -> HelloFirst:
    """Return the reader of one socket.

    Of the request the query is read: `callSid`, `accountSid`, `tenant`, `sampleRate` (Hz) and `mixType` go
    before the hello's. If it names a call, no hello is needed. One of `SUBPROTOCOLS` is accepted.
    """
    return HelloFirst(JAMBONZ, request.query)

"""Plivo's audio streaming, and Vobiz', which copied it.

Pages: Plivo, "Audio streaming" and "XML: Stream"; Vobiz, "Audio streams". No `connected` comes first, times
are in milliseconds of the epoch, and there is often no `stop`: then the close of the socket is the end. With
Vobiz, media may come before the start. What the customer gives as extra headers is one text.
"""

from __future__ import annotations

from trio_asr.ingest.dialects.media_events import QUIET, Platform
from trio_asr.wire.audio_format import audio_format

PLIVO = Platform(
    call=("callid", "calluuid", "streamid"),
    account=("accountid",),
    default=audio_format(8000),  # "audio/x-l16;rate=8000" is the default of `contentType`
    custom=("extraheaders",),
    quiet=QUIET | {"playedstream", "clearedaudio"},
    told=frozenset({"error", "playfailed"}),
)

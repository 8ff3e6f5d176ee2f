"""Telnyx' media streaming.

Pages: Telnyx, "Media Streaming over WebSockets" and "Stream call media over WebSocket". Messages may come out
of order, and are numbered by track. The audio is that of the call's leg, as it is in RTP: where the leg is
PCMA, so is the stream. No start says which tracks will come, and no page in which order the bytes of L16 are;
in RTP the high one is first (RFC 3551, 4.5.11). TeXML has Twilio's names for some ids.
"""

from __future__ import annotations

from trio_asr.ingest.dialects.media_events import Platform
from trio_asr.wire.audio_format import audio_format

TELNYX = Platform(
    call=("callcontrolid", "callsid"),
    account=("userid", "accountsid"),
    default=audio_format(8000, "mulaw"),
    # A track that was left out would be lost; one that never comes costs money at the provider.
    tracks=("inbound", "outbound"),
    byte_order=None,
    numbered=True,
    told=frozenset({"error"}),
)

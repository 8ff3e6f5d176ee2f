"""Twilio's media streams, and those of the platforms that copied them to the letter.

Pages: Twilio, "Media Streams - WebSocket Messages" and "Stream" (TwiML); Talkdesk, "Streaming Unidirectional
Audio" (article 8826254684699); SignalWire, "Stream" (cXML). The copies write L16 at 16 and 24 kHz, counters
as numbers, ids without Twilio's prefixes, `callId` and `accountId`, a `stop` without a body, and leave out
`connected`, `streamSid` and `customParameters`. Cloudonix names no account; its `session` is a call.
"""

from __future__ import annotations

from trio_asr.ingest.dialects.media_events import Platform
from trio_asr.wire.audio_format import audio_format

# "audio/x-mulaw" at 8000 Hz is all that Twilio's page knows.
TWILIO = Platform(
    call=("callsid", "callid", "session", "streamsid", "streamid"),
    account=("accountsid", "accountid"),
    default=audio_format(8000, "mulaw"),
)

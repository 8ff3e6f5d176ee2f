"""Tata's Smartflo, which has Twilio's messages, with `from`, `to` and `direction` in the start.

Page: Smartflo, "Bi-Directional Audio Streaming Integration Document". A message has about 100 ms, and `stop`
a reason.
"""

from __future__ import annotations

from trio_asr.ingest.dialects.media_events import Platform
from trio_asr.wire.audio_format import audio_format

SMARTFLO = Platform(
    call=("callsid", "streamsid"),
    account=("accountsid",),
    default=audio_format(8000, "mulaw"),
)

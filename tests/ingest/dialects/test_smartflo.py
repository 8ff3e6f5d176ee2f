"""Smartflo: Twilio's messages with the numbers in the start and a reason in the stop."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ingest.dialects.speaking import base64_of, begun, heard

from trio_asr.ingest.dialect import Audio, Begin, Finish, Odd
from trio_asr.ingest.dialects.media_events import MediaEvents
from trio_asr.ingest.dialects.smartflo import SMARTFLO
from trio_asr.wire.audio_format import audio_format

BODY = {
    "streamSid": "s-1", "accountSid": "a-1", "callSid": "c-1", "from": "+911", "to": "+912",
    "direction": "inbound", "customParameters": {"queue": "gold"},
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64},
}  # fmt: skip
START = {"event": "start", "sequenceNumber": "1", "streamSid": "s-1", "start": BODY}
META = {"queue": "gold", "from": "+911", "to": "+912", "direction": "inbound"}
BEGIN = Begin("c-1", audio_format(8000, "mulaw"), account="a-1", meta=META)
PIECE = bytes(range(160)) * 5  # 100 ms


def media(at_ms: Any) -> dict[str, Any]:
    inner = {"chunk": "2", "timestamp": at_ms, "payload": base64_of(PIECE)}
    return {"event": "media", "sequenceNumber": "3", "streamSid": "s-1", "media": inner}


def test_a_call() -> None:
    dialect = MediaEvents(SMARTFLO)
    assert heard(dialect, {"event": "connected"}, START) == [BEGIN]
    assert heard(dialect, media("100"), media("200")) == [Audio(PIECE, 0, 100), Audio(PIECE, 0, 200)]
    assert heard(dialect, {"event": "dtmf", "dtmf": {"digit": "1"}}, {"event": "mark"}) == []
    stop = {"event": "stop", "stop": {"callSid": "c-1", "reason": "The caller disconnected the call"}}
    assert heard(dialect, stop, media("300")) == [Finish("The caller disconnected the call"), Odd("late")]


@pytest.mark.parametrize("form", [None, {"encoding": "audio/x-mulaw", "sampleRate": "8000", "bitRate": "64"}])
def test_numbers_are_texts_at_times_and_the_format_is_the_documented_one(form: Any) -> None:
    first = START | {"start": BODY | {"mediaFormat": form}}
    assert begun(heard(MediaEvents(SMARTFLO), first)).format == audio_format(8000, "mulaw")

"""Exotel's messages."""

from __future__ import annotations

import base64
import json

import pytest
from tests.lab.dial.calls import call, recording

from trio_asr.lab.dial.exotel import Exotel
from trio_asr.lab.dial.frames import frames
from trio_asr.wire.audio_format import Encoding


def test_a_stream_from_connected_to_stop() -> None:
    dial = call("exotel", recording(0.25), caller="+911", called="+918", parameters={"k": "v"})
    exotel = Exotel(dial)
    connected, start = map(json.loads, exotel.hello(0))
    sid = start["stream_sid"]
    assert connected == {"event": "connected"}
    assert start == {
        "event": "start",
        "sequence_number": "1",
        "stream_sid": sid,
        "start": {
            "stream_sid": sid,
            "call_sid": "c-1",
            "account_sid": "acme",
            "from": "+911",
            "to": "+918",
            "custom_parameters": {"k": "v"},
            "media_format": {"encoding": "raw/slin", "sample_rate": "8000", "bit_rate": "128kbps"},
        },
    }
    cut = frames(dial.recording, exotel.TRAITS.chunk_ms, dial.faults, separate=False)
    media = [json.loads(m) for frame in cut for m in exotel.media(frame)]
    first_ms = int(media[0]["media"]["timestamp"])
    assert first_ms in Exotel.FIRST_MS
    assert media == [
        {
            "event": "media",
            "sequence_number": str(2 + i),
            "stream_sid": sid,
            "media": {
                "chunk": str(1 + i),
                "timestamp": str(first_ms + 100 * i),
                "payload": base64.b64encode(dial.recording.audio[1600 * i : 1600 * (i + 1)]).decode(),
            },
        }
        for i in range(3)
    ]
    assert json.loads(exotel.stop(0)[0]) == {
        "event": "stop",
        "sequence_number": "5",
        "stream_sid": sid,
        "stop": {"call_sid": "c-1", "account_sid": "acme", "reason": "callended"},
    }


@pytest.mark.parametrize(
    ("encoding", "rate", "told"),
    [
        ("mulaw", 8000, {"encoding": "audio/x-mulaw", "sample_rate": "8000", "bit_rate": "64kbps"}),
        ("linear16", 24000, {"encoding": "raw/slin", "sample_rate": "24000", "bit_rate": "384kbps"}),
    ],
)
def test_other_formats(encoding: Encoding, rate: int, told: dict[str, str]) -> None:
    start = json.loads(Exotel(call("exotel", recording(0.1, encoding, rate=rate))).hello(0)[1])
    assert start["start"]["media_format"] == told

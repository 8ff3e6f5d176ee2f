"""The messages of Telnyx, Plivo, Vobiz, Smartflo and Ozonetel."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from tests.lab.dial.calls import call, mulaw, recording

from trio_asr.client.audio import Recording
from trio_asr.lab.dial.frames import frames
from trio_asr.lab.dial.ozonetel import Ozonetel
from trio_asr.lab.dial.platform import Message, Platform
from trio_asr.lab.dial.platforms import PLATFORMS

TOLD: dict[str, Any] = {"caller": "+911", "called": "+918", "parameters": {"k": "v"}, "account": "acme"}


def said(platform: str, played: Recording) -> tuple[list[dict[str, Any]], str]:
    """Return all messages of a call, and the id of its stream."""
    dial = call(platform, played, **TOLD)
    kind = PLATFORMS[platform]
    one: Platform = kind(dial)
    assert one.headers(1_795_000_000.25, "n") == {}
    separate = bool(kind.TRAITS.legs)
    cut = frames(dial.recording, kind.TRAITS.chunk_ms, dial.faults, separate=separate)
    messages: list[Message] = [*one.hello(0), *(m for frame in cut for m in one.media(frame)), *one.stop(0)]
    assert one.over
    return [json.loads(message) for message in messages], one._stream


def b64(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def test_telnyx() -> None:
    played = recording(0.04, "alaw", 2)
    (connected, start, *media, stop), stream = said("telnyx", played)
    assert connected == {"event": "connected", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequence_number": "1",
        "stream_id": stream,
        "start": {
            "user_id": "acme",
            "call_control_id": "c-1",
            "call_session_id": "s-c-1",
            "from": "+911",
            "to": "+918",
            "tags": [],
            "client_state": b64(b'{"k":"v"}'),
            "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1},
        },
    }
    left, right = played.audio[::2], played.audio[1::2]
    order = [("inbound", left), ("outbound", right)]
    assert media == [
        {
            "event": "media",
            "sequence_number": str(2 + 2 * n + leg),
            "stream_id": stream,
            "media": {
                "track": track,
                "chunk": str(n + 1),
                "timestamp": str(20 * n),
                "payload": b64(audio[160 * n : 160 * (n + 1)]),
            },
        }
        for n in range(2)
        for leg, (track, audio) in enumerate(order)
    ]
    ids = {"user_id": "acme", "call_control_id": "c-1"}
    assert stop == {"event": "stop", "sequence_number": "6", "stream_id": stream, "stop": ids}


def test_plivo() -> None:
    played = recording(0.04, rate=16000)
    (start, *media), stream = said("plivo", played)
    extra = {"extra_headers": "from=+911;to=+918;k=v"}
    form = {"encoding": "audio/x-l16", "sampleRate": 16000}
    ids = {"callId": "c-1", "streamId": stream, "accountId": "acme"}
    body = ids | {"tracks": ["inbound"], "mediaFormat": form}
    assert start == {"sequenceNumber": 0, "event": "start", "start": body} | extra
    assert media == [
        {
            "sequenceNumber": n + 1,
            "event": "media",
            "streamId": stream,
            "media": {
                "track": "inbound",
                "timestamp": str(1_795_000_000_250 + 20 * n),
                "chunk": n + 1,
                "payload": b64(played.audio[640 * n : 640 * (n + 1)]),
            },
        }
        | extra
        for n in range(2)
    ]


def test_vobiz() -> None:
    (start, *media), _ = said("vobiz", mulaw(0.04, 1))
    assert start["start"]["tracks"] == ["inbound"]
    assert start["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000}
    assert [one["event"] for one in media] == ["media"] * 2  # and never a stop


def test_smartflo() -> None:
    played = mulaw(0.2, 1)
    (connected, start, *media, stop), stream = said("smartflo", played)
    assert connected == {"event": "connected"}
    ids = {"accountSid": "acme", "callSid": "c-1"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": stream,
        "start": ids
        | {
            "streamSid": stream,
            "direction": "inbound",
            "from": "+911",
            "to": "+918",
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64},
            "customParameters": {"k": "v"},
        },
    }
    assert [one["media"] for one in media] == [
        {
            "chunk": str(n + 1),
            "timestamp": str(100 * n),
            "payload": b64(played.audio[800 * n : 800 * (n + 1)]),
        }
        for n in range(2)
    ]
    assert stop["stop"] == ids | {"reason": "The caller disconnected the call"}


def test_ozonetel() -> None:
    played = recording(0.02)
    (start, *media, stop), _ = said("ozonetel", played)
    assert start == {
        "event": "start",
        "type": "text",
        "ucid": "c-1",
        "did": "+918",
        "call_id": "+911",
        "x_headers": '{"k":"v"}',
    }
    told = [
        (one["data"]["sampleRate"], one["data"]["samples"], one["data"]["numberOfFrames"]) for one in media
    ]
    samples = list(struct.unpack("<160h", played.audio))
    assert told == [(16_000, [0] * 160, 160), (8000, samples[:80], 80), (8000, samples[80:], 80)]
    assert media[1] | {"data": None} == {"event": "media", "type": "media", "ucid": "c-1", "data": None}
    assert media[1]["data"] == {
        "samples": samples[:80],
        "bitsPerSample": 16,
        "sampleRate": 8000,
        "channelCount": 1,
        "numberOfFrames": 80,
        "type": "data",
    }
    assert stop == {"event": "stop", "type": "text", "ucid": "c-1"}
    assert Ozonetel.TRAITS.chunk_ms == 10

"""Twilio's messages."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

from tests.lab.dial.calls import call, mulaw

from trio_asr.config import Secret
from trio_asr.lab.dial.frames import Frame, frames
from trio_asr.lab.dial.platform import Message, Platform
from trio_asr.lab.dial.settings import Dial, Faults
from trio_asr.lab.dial.twilio import Twilio


def documents(messages: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(message) for message in messages]


def played(platform: Platform, dial: Dial) -> list[dict[str, Any]]:
    cut = frames(dial.recording, platform.TRAITS.chunk_ms, dial.faults, separate=True)
    return documents([message for frame in cut for message in platform.media(frame)])


def test_the_stream_begins_with_connected_and_start() -> None:
    dial = call(
        "twilio", mulaw(1), caller="+4930", called="+4940", parameters={"queue": "gold"}, account="AC1"
    )
    assert documents(Twilio(dial).hello(0)) == [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": "MZf230cf91873b736967eca8fbdc40ffe1",
            "start": {
                "streamSid": "MZf230cf91873b736967eca8fbdc40ffe1",
                "accountSid": "AC1",
                "callSid": "c-1",
                "tracks": ["inbound", "outbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {"from": "+4930", "to": "+4940", "queue": "gold"},
            },
        },
    ]


def test_one_channel_is_the_inbound_track() -> None:
    start = documents(Twilio(call("twilio", mulaw(1, channels=1))).hello(0))[1]["start"]
    assert (start["tracks"], start["customParameters"]) == (["inbound"], {})


def test_tracks_share_the_sequence_and_count_their_own_chunks() -> None:
    dial = call("twilio", mulaw(0.06))
    twilio = Twilio(dial)
    twilio.hello(0)
    media = played(twilio, dial)
    assert [m["sequenceNumber"] for m in media] == ["2", "3", "4", "5", "6", "7"]
    assert [(m["media"]["track"], m["media"]["chunk"]) for m in media] == [
        (track, chunk) for chunk in ("1", "2", "3") for track in ("inbound", "outbound")
    ]
    heard = dict.fromkeys(("inbound", "outbound"), b"")
    for m in media:
        heard[m["media"]["track"]] += base64.b64decode(m["media"]["payload"])
    assert (heard["inbound"], heard["outbound"]) == (dial.recording.audio[0::2], dial.recording.audio[1::2])
    assert documents(twilio.stop(0)) == [
        {
            "event": "stop",
            "sequenceNumber": "8",
            "streamSid": media[0]["streamSid"],
            "stop": {"accountSid": "acme", "callSid": "c-1"},
        }
    ]
    assert twilio.over


def test_timestamps_begin_anywhere_and_jitter_and_are_the_same_again() -> None:
    dial = call("twilio", mulaw(2, channels=1))
    times = [int(m["media"]["timestamp"]) for m in played(Twilio(dial), dial)]
    assert times == [int(m["media"]["timestamp"]) for m in played(Twilio(dial), dial)]
    assert times[0] in Twilio.FIRST_MS
    drifts = [at - times[0] - 20 * i for i, at in enumerate(times)]
    assert drifts[0] == 0
    assert set(drifts) == set(range(-Twilio.JITTER_MS, Twilio.JITTER_MS + 1))
    assert all(later > earlier for earlier, later in pairwise(times))


def test_a_later_socket_begins_its_own_clock_and_counters() -> None:
    dial = call("twilio", mulaw(1, channels=1))
    second = Twilio(dial, 2, Twilio(dial))
    start = documents(second.hello(0))[1]
    assert start["streamSid"] != documents(Twilio(dial).hello(0))[1]["streamSid"]
    first = documents(second.media(Frame(0.52, 4000, 160, 0, b"\xff" * 160, 500.0)))[0]
    assert (first["sequenceNumber"], first["media"]["chunk"]) == ("2", "1")
    assert int(first["media"]["timestamp"]) in Twilio.FIRST_MS


def test_the_clock_of_the_platform_goes_on_over_lost_audio_and_jumps() -> None:
    dial = call("twilio", mulaw(1, channels=1), faults=Faults(lose=(0.2, 300), clock_jump=(0.8, -700)))
    times = [int(m["media"]["timestamp"]) for m in played(Twilio(dial), dial)]
    steps = [round((at - times[0]) / 20) * 20 for at in times]
    assert steps == [*range(0, 200, 20), *range(500, 800, 20), *range(100, 300, 20)]


# The value is that of `openssl dgst -sha1 -hmac`.
def test_the_url_is_signed_as_it_is_configured() -> None:
    signed = call("twilio", mulaw(1), secret=Secret("t"), public_url="wss://ingest.test/in/a-path")
    assert Twilio(signed).headers(0, "") == {"X-Twilio-Signature": "kLBp2ngLCjDsBf39+eXT1NH902A="}
    assert Twilio(call("twilio", mulaw(1))).headers(0, "") == {}

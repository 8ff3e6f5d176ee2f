"""The messages of Vonage, Knowlarity and Asterisk's chan_websocket."""

from __future__ import annotations

import json

import jwt
import pytest
from tests.lab.dial.calls import call, recording

from trio_asr.config import Secret
from trio_asr.lab.dial.asterisk import Asterisk
from trio_asr.lab.dial.frames import frames
from trio_asr.lab.dial.knowlarity import Knowlarity
from trio_asr.lab.dial.platform import Platform
from trio_asr.lab.dial.vonage import Vonage
from trio_asr.wire.audio_format import Encoding

SECRET = "a-signature-secret-of-32-characters"


def test_vonage() -> None:
    played = recording(0.04, rate=16000)
    one = Vonage(
        call(
            "vonage", played, caller="+1", parameters={"queue": "gold"}, secret=Secret(SECRET), account="app"
        )
    )
    told = one.headers(1_795_000_000.5, "n-1")["Authorization"]
    scheme, _, token = told.partition(" ")
    assert scheme == "Bearer"
    assert jwt.decode(token, SECRET, ["HS256"], options={"verify_iat": False}) == {
        "iss": "Vonage", "iat": 1_795_000_000, "jti": "n-1", "application_id": "app",
    }  # fmt: skip
    (hello,) = one.hello(0)
    assert json.loads(hello) == {
        "event": "websocket:connected", "content-type": "audio/l16;rate=16000", "call_uuid": "c-1",
        "from": "+1", "queue": "gold",
    }  # fmt: skip
    assert audio(one, 20) == [played.audio[:640], played.audio[640:]]
    assert (one.stop(0), one.over) == ([], True)
    assert Vonage(call("vonage", played)).headers(0, "n") == {}


def test_knowlarity() -> None:
    one = Knowlarity(call("knowlarity", recording(0.02, rate=16000), caller="+1", parameters={"k": "v"}))
    (hello,) = one.hello(0)
    assert json.loads(hello) == {
        "uuid": "c-1", "sample_rate": 16000, "from": "+1", "to": "", "campaign": "",
        "metadata": {"event": "websocket:connected", "call_type": "inbound", "k": "v"},
    }  # fmt: skip
    assert len(audio(one, 20)) == 1


@pytest.mark.parametrize(
    ("encoding", "rate", "told"),
    [
        ("mulaw", 8000, "ulaw optimal_frame_size:160"),
        ("alaw", 8000, "alaw optimal_frame_size:160"),
        ("linear16", 16000, "slin16 optimal_frame_size:640"),
    ],
)
def test_asterisk(encoding: Encoding, rate: int, told: str) -> None:
    one = Asterisk(call("asterisk", recording(0.02, encoding, rate=rate)))
    (hello,) = one.hello(0)
    assert isinstance(hello, str)
    name, connection, channel, *rest = hello.split(" ")
    assert (name, connection[:20], channel[:23]) == (
        "MEDIA_START", "connection_id:media-", "channel:WebSocket/asr/0",
    )  # fmt: skip
    assert " ".join(rest) == f"channel_id:c-1 format:{told} ptime:20"
    assert Asterisk.TRAITS.subprotocols == ("media",)


def audio(one: Platform, chunk_ms: int) -> list[str | bytes]:
    dial = one._dial
    cut = frames(dial.recording, chunk_ms, dial.faults, separate=False)
    return [message for frame in cut for message in one.media(frame)]

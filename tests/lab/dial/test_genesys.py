"""Genesys' transactions."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from tests.lab.dial.calls import call, mulaw

from trio_asr.config import Secret
from trio_asr.lab.dial.frames import frames
from trio_asr.lab.dial.genesys import CLOSED_S, Genesys
from trio_asr.lab.dial.platform import Message
from trio_asr.lab.dial.settings import Faults

SESSION = "f230cf91-873b-7369-67ec-a8fbdc40ffe1"
BOTH = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
OUTSIDE = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}
INSIDE = {"type": "audio", "format": "PCMU", "channels": ["internal"], "rate": 8000}


def one(messages: list[Message]) -> dict[str, Any]:
    (message,) = messages
    return message_of(message)


def message_of(message: Message) -> dict[str, Any]:
    document = json.loads(message)
    assert isinstance(document, dict)
    return document


def server(kind: str, seq: int, clientseq: int = 1, **parameters: Any) -> str:
    said = {"version": "2", "type": kind, "seq": seq, "clientseq": clientseq, "parameters": parameters}
    return json.dumps(said)


def opened(channels: int = 2, media: dict[str, Any] = BOTH, **settings: Any) -> Genesys:
    """Return a session that the server has opened at 0.5."""
    genesys = Genesys(call("genesys", mulaw(1, channels), **settings))
    genesys.hello(0)
    assert genesys.hear(server("opened", 1, media=[media]), 0.5) == []
    assert genesys.ready
    return genesys


def test_open_offers_all_that_there_is() -> None:
    dial = call("genesys", mulaw(1), caller="tel:+1", called="+2", account="o-1", parameters={"k": "v"})
    genesys = Genesys(dial)
    said = one(genesys.hello(7))
    assert said.pop("parameters") == {
        "organizationId": "o-1",
        "conversationId": "c-1",
        "participant": {
            "id": "784232c0-5aea-5bf5-8433-a76535bd5671",
            "ani": "tel:+1",
            "aniName": "",
            "dnis": "+2",
        },
        "media": [BOTH, OUTSIDE, INSIDE],
        "language": "en-US",
        "customConfig": {"k": "v"},
    }
    assert said == {
        "version": "2",
        "type": "open",
        "id": SESSION,
        "seq": 1,
        "serverseq": 0,
        "position": "PT0S",
    }
    assert (genesys.ready, genesys.alarm) == (False, 12)
    assert one(Genesys(call("genesys", mulaw(1, 1))).hello(0))["parameters"]["media"] == [OUTSIDE, INSIDE]


# The value is that of `openssl dgst -sha256 -hmac` over a text written by hand.
def test_headers_are_signed_over_the_public_url() -> None:
    dial = call(
        "genesys",
        mulaw(1),
        account="o-1",
        key="k-1",
        secret=Secret("c2VjcmV0"),
        public_url="wss://Hook.example.com:443/in/a?b=c",
    )
    headers = Genesys(dial).headers(1700000000.9, "n" * 22)
    assert headers == {
        "Audiohook-Organization-Id": "o-1",
        "Audiohook-Session-Id": SESSION,
        "Audiohook-Correlation-Id": "b1f6cf4a-268c-56b3-8735-6f0d118a3ca7",
        "X-API-KEY": "k-1",
        "Signature-Input": 'sig1=("@request-target" "@authority" "audiohook-organization-id" '
        '"audiohook-session-id" "audiohook-correlation-id" "x-api-key")'
        ';keyid="k-1";nonce="nnnnnnnnnnnnnnnnnnnnnn";alg="hmac-sha256";created=1700000000;expires=1700000030',
        "Signature": "sig1=:RVs9Q+x2lP6CSigVjOnzygWaOXYgy7wyv0ogPvfrw8Y=:",
    }
    unsigned = Genesys(call("genesys", mulaw(1), key="k-1")).headers(0, "n")
    assert set(unsigned) == {
        "Audiohook-Organization-Id", "Audiohook-Session-Id", "Audiohook-Correlation-Id", "X-API-KEY",
    }  # fmt: skip


def test_audio_is_interleaved_and_counted_by_samples() -> None:
    genesys = opened()
    audio = genesys._dial.recording.audio
    cut = frames(genesys._dial.recording, 200, Faults(), separate=False)
    assert [m for frame in cut for m in genesys.media(frame)] == [
        audio[3200 * i : 3200 * (i + 1)] for i in range(5)
    ]
    close = one(genesys.stop(3))
    assert (close["type"], close["parameters"], close["position"]) == ("close", {"reason": "end"}, "PT1S")
    assert (close["seq"], close["serverseq"]) == (2, 1)
    assert not genesys.over
    assert genesys.hear(server("closed", 2, 2), 3.1) == []
    assert (genesys.over, genesys.complaint, genesys.alarm) == (True, "", math.inf)


@pytest.mark.parametrize(("media", "channel"), [(OUTSIDE, 0), (INSIDE, 1)])
def test_the_server_may_choose_one_channel(media: dict[str, Any], channel: int) -> None:
    genesys = opened(media=media)
    frame = frames(genesys._dial.recording, 200, Faults(), separate=False)[0]
    assert genesys.media(frame) == [genesys._dial.recording.audio[channel:3200:2]]


def test_what_was_lost_is_told_as_discarded() -> None:
    genesys = opened(faults=Faults(lose=(0.3, 250)))
    cut = frames(genesys._dial.recording, 200, genesys._dial.faults, separate=False)
    said = [m for frame in cut for m in genesys.media(frame)]
    assert [m if isinstance(m, str) else len(m) for m in said] == [3200, 1600, said[2], 3200, 3200, 800]
    told = message_of(said[2])
    assert (told["type"], told["position"]) == ("discarded", "PT0.55S")
    assert told["parameters"] == {"start": "PT0.3S", "discarded": "PT0.25S"}


def test_a_session_after_another_begins_at_zero() -> None:
    dial = call("genesys", mulaw(1))
    second = Genesys(dial, 2, Genesys(dial))
    second.hello(0)
    second.hear(server("opened", 1, media=[BOTH]), 0)
    frame = frames(dial.recording, 200, Faults(), 4000, separate=False)[0]
    assert second.media(frame) == [dial.recording.audio[8000:11200]]
    assert one(second.stop(0))["position"] == "PT0.2S"


def test_pings_are_answered_one_by_one() -> None:
    genesys = opened()
    assert genesys.alarm == 1.5
    ping = one(genesys.tick(1.5))
    assert (ping["type"], ping["seq"], ping["parameters"], genesys.alarm) == ("ping", 2, {}, 6.5)
    assert genesys.hear(server("pong", 2, 2), 1.6) == []
    assert genesys.acked == 1
    assert one(genesys.tick(6.5))["seq"] == 3
    error, close = map(message_of, genesys.tick(11.5))
    assert (error["type"], error["parameters"]) == ("error", {"code": 408, "message": "no pong"})
    assert (close["type"], close["parameters"]) == ("close", {"reason": "error"})
    assert (genesys.complaint, genesys.alarm) == ("no pong", 11.5 + CLOSED_S)


def test_a_server_that_answers_nothing_is_left() -> None:
    genesys = Genesys(call("genesys", mulaw(1)))
    genesys.hello(0)
    assert [message_of(m)["type"] for m in genesys.tick(5)] == ["error", "close"]
    assert (genesys.complaint, genesys.over) == ("no opened", False)
    assert genesys.tick(15) == []
    assert (genesys.complaint, genesys.over) == ("no opened", True)
    ended = opened()
    ended.stop(2)
    ended.tick(12)
    assert (ended.complaint, ended.over) == ("no closed", True)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (server("opened", 2, media=[BOTH]), "seq is 2 after 0"),
        (server("opened", 1, media=[]), "the media chosen were not offered"),
        (server("opened", 1, media=[BOTH, OUTSIDE]), "the media chosen were not offered"),
        (server("opened", 1, media=[BOTH | {"format": "L16"}]), "the media chosen were not offered"),
        (server("pong", 1), "clientseq of a pong is 1"),
        ("[]", "seq is None after 0"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_told(said: str, complaint: str) -> None:
    genesys = Genesys(call("genesys", mulaw(1)))
    genesys.hello(0)
    error, close = map(message_of, genesys.hear(said, 0))
    assert (error["type"], error["parameters"]["message"]) == ("error", complaint)
    assert (close["type"], close["parameters"]) == ("close", {"reason": "error"})
    assert genesys.media(frames(mulaw(1), 200, Faults(), separate=False)[0]) == []


def test_a_disconnect_is_answered_by_close() -> None:
    genesys = opened()
    close = one(genesys.hear(server("disconnect", 2, reason="unauthorized", info="who?"), 1))
    assert (close["type"], close["parameters"]) == ("close", {"reason": "disconnect"})
    assert genesys.complaint == "disconnect: unauthorized, who?"
    genesys.hear(server("closed", 3), 1.1)
    assert genesys.over

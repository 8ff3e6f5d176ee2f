"""AudioCodes' session, its streams, and what it makes of answers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from tests.lab.dial.calls import call, mulaw, recording

from trio_asr.config import Secret
from trio_asr.lab.dial.audiocodes import ANSWER_S, AudioCodes
from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message, Unfit

ACCEPTED = '{"type":"session.accepted","mediaFormat":"raw/mulaw"}'


def all_of(messages: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(message) for message in messages]


def said(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "conversationId": "c-1"} | fields


def answer(kind: str, participant: str) -> str:
    return json.dumps({"type": kind, "participant": participant})


def opened() -> AudioCodes:
    """Return a session whose two streams the server has begun."""
    audiocodes = AudioCodes(call("audiocodes", mulaw(1)))
    audiocodes.hello(0)
    audiocodes.hear(ACCEPTED, 1)
    for participant in AudioCodes.TRAITS.legs:
        audiocodes.hear(answer("userStream.started", participant), 1)
    return audiocodes


@pytest.mark.parametrize(("rate", "name"), [(8000, "lpcm16_8"), (16_000, "lpcm16"), (24_000, "lpcm16_24")])
def test_a_session_offers_what_there_is(rate: int, name: str) -> None:
    dial = call("audiocodes", recording(1, rate=rate), caller="+1", parameters={"q": "9"})
    assert all_of(AudioCodes(dial).hello(0)) == [
        said(
            "session.initiate",
            botName="assist",
            caller="+1",
            expectAudioMessages=True,
            supportedMediaFormats=[f"wav/{name}", f"raw/{name}"],
            q="9",
        )
    ]


def test_there_is_no_wide_mulaw() -> None:
    with pytest.raises(Unfit, match="audiocodes has no mulaw of 16000 Hz"):
        AudioCodes(call("audiocodes", recording(1, "mulaw", rate=16_000)))


def test_the_token_goes_as_bearer() -> None:
    assert AudioCodes(call("audiocodes", mulaw(1))).headers(0, "n") == {}
    dial = call("audiocodes", mulaw(1), secret=Secret("t"))
    assert AudioCodes(dial).headers(0, "n") == {"Authorization": "Bearer t"}


def test_two_participants_have_a_stream_each() -> None:
    audiocodes = AudioCodes(call("audiocodes", mulaw(1), caller="+1", called="+2"))
    audiocodes.hello(0)
    assert (audiocodes.ready, audiocodes.alarm) == (False, ANSWER_S)
    activities, *starts = all_of(audiocodes.hear(ACCEPTED, 2))
    assert activities["activities"][0]["parameters"] == {"caller": "+1", "callee": "+2"}
    assert starts == [
        said("userStream.start", participant="caller"),
        said("userStream.start", participant="callee"),
    ]
    assert audiocodes.hear(answer("userStream.started", "caller"), 3) == []
    assert (audiocodes.ready, audiocodes.alarm) == (False, 2 + ANSWER_S)
    assert audiocodes.hear(answer("userStream.started", "callee"), 3) == []
    assert (audiocodes.ready, audiocodes.alarm) == (True, math.inf)
    assert all_of(audiocodes.media(Frame(0.02, 0, 160, 1, b"abc", 0))) == [
        said("userStream.chunk", audioChunk="YWJj", participant="callee")
    ]
    assert [one["type"] for one in all_of(audiocodes.stop(9))] == ["userStream.stop"] * 2
    assert audiocodes.hear(answer("userStream.stopped", "callee"), 9) == []
    assert not audiocodes.over
    assert all_of(audiocodes.hear(answer("userStream.stopped", "caller"), 9)) == [
        said("session.end", reasonCode="client-disconnected", reason="Client Side")
    ]
    assert (audiocodes.over, audiocodes.complaint, audiocodes.alarm) == (True, "", math.inf)


def test_one_person_is_no_participant() -> None:
    audiocodes = AudioCodes(call("audiocodes", mulaw(1, 1)))
    audiocodes.hello(0)
    assert all_of(audiocodes.hear(ACCEPTED, 0))[1:] == [said("userStream.start")]
    assert all_of(audiocodes.media(Frame(0.02, 0, 160, 0, b"abc", 0))) == [
        said("userStream.chunk", audioChunk="YWJj")
    ]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ('{"type":"session.error","reason":"no"}', "session.error: no"),
        ('{"type":"session.accepted","mediaFormat":"wav/mulaw"}',
         "the media format chosen is not that of the audio"),
        ('{"type":"session.accepted"}', "the media format chosen is not that of the audio"),
    ],
)  # fmt: skip
def test_a_session_that_cannot_be_is_left(message: str, complaint: str) -> None:
    audiocodes = AudioCodes(call("audiocodes", mulaw(1)))
    audiocodes.hello(0)
    assert audiocodes.hear(message, 0) == []
    assert (audiocodes.over, audiocodes.complaint, audiocodes.alarm) == (True, complaint, math.inf)


def test_a_server_that_answers_nothing_is_left() -> None:
    silent, ended = AudioCodes(call("audiocodes", mulaw(1))), opened()
    silent.hello(0)
    assert silent.hear("nonsense", 0) == silent.hear('{"type":"userStream.started"}', 0) == []
    assert silent.tick(5) == []
    assert (silent.over, silent.complaint) == (True, "no session.accepted")
    ended.stop(9)
    assert ended.alarm == 9 + ANSWER_S
    ended.tick(14)
    assert (ended.over, ended.complaint) == (True, "no userStream.stopped")

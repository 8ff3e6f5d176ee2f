"""AudioCodes' Bot API: each transaction, formats that are agreed, participants, with exact effects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from tests.ingest.dialects.speaking import (
    REQUEST,
    bad_messages,
    base64_of,
    dumped,
    hear_anything,
    heard,
    refused,
)

from trio_asr.config import Route
from trio_asr.ingest.dialect import Audio, Begin, Finish, Odd, Say
from trio_asr.ingest.dialects.audiocodes import AudioCodes
from trio_asr.ingest.dialects.opening import open_dialect
from trio_asr.wire.audio_format import Format, audio_format

OFFER = [
    "raw/lpcm16_8", "wav/lpcm16_8", "raw/mulaw", "wav/mulaw", "raw/lpcm16", "wav/lpcm16", "raw/lpcm16_24",
]  # fmt: skip
WIDE = audio_format(16_000)
META = {"caller": "+15550100", "botName": "assist", "expectAudioMessages": True}
BOTH = ("caller", "callee")


def message(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "conversationId": "v-1"} | fields


def said(kind: str, **fields: Any) -> Say:
    return Say(json.dumps({"type": kind} | fields, separators=(",", ":")))


INITIATE = message("session.initiate", supportedMediaFormats=OFFER, **META)
ACCEPTED = said("session.accepted", mediaFormat="raw/lpcm16")
BEGIN = Begin("v-1", WIDE, meta=META)
START, STOP = message("userStream.start"), message("userStream.stop")
STARTED, STOPPED = said("userStream.started"), said("userStream.stopped")
END = message("session.end", reasonCode="client-disconnected", reason="Client side")


def chunk(audio: bytes, **fields: Any) -> dict[str, Any]:
    return message("userStream.chunk", audioChunk=base64_of(audio), **fields)


def opened(*tracks: str) -> AudioCodes:
    dialect = AudioCodes(tracks)
    heard(dialect, INITIATE, *(message("userStream.start", participant=one) for one in tracks or (None,)))
    return dialect


def test_a_session() -> None:
    dialect = AudioCodes()
    assert heard(dialect, INITIATE) == [ACCEPTED, BEGIN]
    activity = {"type": "event", "name": "start", "parameters": {"callee": "+15550101"}}
    assert heard(dialect, message("activities", activities=[activity])) == []
    assert heard(dialect, START, chunk(b"ab" * 320)) == [STARTED, Audio(b"ab" * 320)]
    assert heard(dialect, STOP) == [STOPPED]
    assert heard(dialect, START, chunk(b"cd" * 320), STOP) == [STARTED, Audio(b"cd" * 320), STOPPED]
    assert heard(dialect, END) == [Finish("client-disconnected")]
    assert heard(dialect, chunk(b"ab"), INITIATE) == [Odd("late"), Odd("late")]
    assert (dialect.stored(1), dialect.leave("shutdown")) == (None, None)


def test_two_participants_are_two_legs_of_one_call() -> None:
    route = Route(path="/a", platform="audiocodes", tracks=BOTH)
    dialect, subprotocol = open_dialect(route, REQUEST, 25)
    assert subprotocol is None
    assert heard(dialect, INITIATE) == [ACCEPTED, BEGIN._replace(legs=BOTH)]
    assert heard(dialect, *(message("userStream.start", participant=one) for one in BOTH)) == [
        said("userStream.started", participant="caller"),
        said("userStream.started", participant="callee"),
    ]
    assert heard(dialect, chunk(b"aa", participant="callee"), chunk(b"bb", participant="caller")) == [
        Audio(b"aa", 1), Audio(b"bb", 0),
    ]  # fmt: skip
    assert heard(dialect, message("userStream.stop", participant="caller")) == [
        said("userStream.stopped", participant="caller")
    ]
    assert heard(dialect, chunk(b"cc", participant="callee")) == [Audio(b"cc", 1)]
    assert heard(dialect, chunk(b"dd", participant="caller")) == [Odd("unbidden"), Audio(b"dd", 0)]


def test_who_is_no_leg_is_answered_and_counted() -> None:
    dialect = opened(*BOTH)
    assert heard(dialect, message("userStream.start", participant="supervisor")) == [
        said("userStream.started", participant="supervisor"), Odd("track"),
    ]  # fmt: skip
    assert heard(dialect, chunk(b"aa", participant="supervisor"), chunk(b"aa")) == [Odd("track")] * 2


def test_without_tracks_the_first_participant_is_the_leg() -> None:
    dialect = opened()
    assert heard(dialect, chunk(b"aa", participant="caller"), chunk(b"bb", participant="callee")) == [
        Audio(b"aa"), Odd("track"),
    ]  # fmt: skip
    assert heard(dialect, chunk(b"cc")) == [Audio(b"cc")]


def test_one_track_is_one_leg_named_or_not() -> None:
    dialect = opened("caller")
    assert heard(dialect, chunk(b"aa"), chunk(b"bb", participant="caller")) == [Audio(b"aa"), Audio(b"bb")]
    assert heard(dialect, chunk(b"cc", participant="callee")) == [Odd("track")]


@pytest.mark.parametrize(
    ("offer", "chosen", "form"),
    [
        (["raw/mulaw", "raw/lpcm16_24", "raw/lpcm16_8", "wav/lpcm16"], "raw/lpcm16_8", audio_format(8000)),
        (["wav/mulaw", "raw/lpcm16_24", "raw/mulaw"], "raw/mulaw", audio_format(8000, "mulaw")),
        (["raw/lpcm16_24"], "raw/lpcm16_24", audio_format(24_000)),
    ],
)
def test_the_best_of_what_is_offered_is_agreed(offer: list[str], chosen: str, form: Format) -> None:
    assert heard(AudioCodes(), INITIATE | {"supportedMediaFormats": offer}) == [
        said("session.accepted", mediaFormat=chosen), BEGIN._replace(format=form),
    ]  # fmt: skip


@pytest.mark.parametrize("offer", [None, "raw/mulaw"])
def test_without_an_offer_the_documented_format_is_taken(offer: Any) -> None:
    effects = heard(AudioCodes(), INITIATE | {"supportedMediaFormats": offer})
    assert effects == [ACCEPTED, BEGIN, Odd("format")]


@pytest.mark.parametrize("offer", [[], ["wav/mulaw", "wav/lpcm16"], [1, {}, []]])
def test_nothing_that_can_be_taken_is_refused_with_what_can(offer: list[Any]) -> None:
    dialect = AudioCodes()
    reason = "none of raw/lpcm16, raw/lpcm16_8, raw/mulaw, raw/lpcm16_24 is offered"
    assert refused(dialect, INITIATE | {"supportedMediaFormats": offer}) == ("media", reason, 1003)
    assert dialect.leave("error") == said("session.error", reason=reason).text


@pytest.mark.parametrize("call", [None, "", {}, "x" * 257])
def test_a_session_without_an_id_is_refused(call: Any) -> None:
    dialect = AudioCodes()
    kind, reason, code = refused(dialect, INITIATE | {"conversationId": call})
    assert (kind, code) == ("call_id", 1008)
    assert dialect.leave("error") == said("session.error", reason=reason).text


def test_a_refusal_by_others_says_nothing_more() -> None:
    assert opened().leave("error") is None


def test_a_probe_is_no_call_and_a_call_may_follow() -> None:
    dialect = AudioCodes()
    probe = Begin("validate", WIDE, probe=True)
    assert heard(dialect, {"type": "connection.validate"}) == [
        said("connection.validated", success=True), probe,
    ]  # fmt: skip
    assert heard(dialect, message("connection.validate"))[1] == probe._replace(call="v-1")
    assert heard(dialect, START) == [Odd("early")]
    assert heard(dialect, INITIATE) == [ACCEPTED, BEGIN]


def test_the_same_session_again_is_accepted_again() -> None:
    dialect = opened()
    assert heard(dialect, INITIATE) == [ACCEPTED, Odd("start_again")]
    assert heard(dialect, chunk(b"aa")) == [Audio(b"aa")]
    changed = INITIATE | {"supportedMediaFormats": ["raw/mulaw"]}
    assert refused(dialect, changed) == ("format", "the format changes within a call", 1008)


def test_another_session_begins_another_call() -> None:
    dialect = opened()
    heard(dialect, chunk(b"aaa", participant="caller"))
    another = INITIATE | {"conversationId": "v-2"}
    assert heard(dialect, another) == [ACCEPTED, BEGIN._replace(call="v-2")]
    assert heard(dialect, message("userStream.start", participant="callee")) == [
        said("userStream.started", participant="callee")
    ]
    assert heard(dialect, chunk(b"bb", participant="callee")) == [Audio(b"bb")]


def test_a_session_is_resumed_on_its_own_socket_alone() -> None:
    resume = message("session.resume")
    assert heard(opened(), resume) == [said("session.accepted")]
    unknown = [said("session.error", reason="the conversation is not known here"), Odd("early")]
    assert heard(AudioCodes(), resume) == unknown
    assert heard(opened(), resume | {"conversationId": "v-2"}) == unknown


def test_before_the_session_there_is_no_format_to_take_audio_in() -> None:
    assert heard(AudioCodes(), chunk(b"aa"), START, STOP, END) == [Odd("early")] * 4


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"reason": "Timeout"}, "Timeout"), ({}, "end"), ({"reasonCode": 5, "reason": None}, "end")],
)
def test_the_reason_of_the_end(fields: dict[str, Any], reason: str) -> None:
    assert heard(opened(), message("session.end", **fields)) == [Finish(reason)]


@pytest.mark.parametrize(
    ("payload", "kind"), [("", "empty"), ("!!!", "payload"), (None, "payload"), ([1], "payload")]
)
def test_what_is_no_payload_costs_itself(payload: object, kind: str) -> None:
    dialect = opened()
    assert heard(dialect, message("userStream.chunk", audioChunk=payload), chunk(b"aa")) == [
        Odd(kind), Audio(b"aa"),
    ]  # fmt: skip


def test_half_a_sample_waits_for_the_rest_unless_the_stream_stops() -> None:
    dialect = opened()
    assert heard(dialect, chunk(b"a"), chunk(b"bcd")) == [
        Odd("incomplete"),
        Odd("incomplete"),
        Audio(b"abcd"),
    ]
    assert heard(dialect, chunk(b"abc"), STOP, START, chunk(b"de")) == [
        Odd("incomplete"), Audio(b"ab"), STOPPED, STARTED, Audio(b"de"),
    ]  # fmt: skip


def test_nonsense_is_counted() -> None:
    dialect = opened()
    odd = [b"", b"[]", b"nonsense", {}, message("playStream.started"), message("userStream.speech")]
    assert heard(dialect, *odd) == [Odd("json")] * 3 + [Odd("event")] * 3
    assert heard(dialect, dumped(chunk(b"aa")), text=False) == [Audio(b"aa")]


def test_what_cannot_be_passed_on_of_a_call_costs_itself() -> None:
    first = dumped(INITIATE).replace(b'"assist"', b'"\\ud800"')
    assert heard(AudioCodes(), first) == [ACCEPTED, BEGIN._replace(meta={}), Odd("meta")]


NAMES = [
    "type", "conversationId", "supportedMediaFormats", "participant", "audioChunk", "reasonCode", "reason",
]  # fmt: skip
HEALTHY = [dumped(one) for one in (INITIATE, START, chunk(b"ab" * 9), STOP, END, message("session.resume"))]


@given(bad_messages(NAMES, HEALTHY))
def test_any_messages(messages: list[tuple[bytes, bool]]) -> None:
    hear_anything(AudioCodes(BOTH), messages)
    hear_anything(AudioCodes(), messages)

"""Genesys' AudioHook: each transaction, both numberings, holes that are told, with exact effects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from tests.ingest.dialects.speaking import (
    REQUEST,
    bad_messages,
    begun,
    dumped,
    hear_anything,
    heard,
    refused,
)

from trio_asr.ingest.dialect import Audio, Begin, Effect, Finish, Lost, Odd, Say
from trio_asr.ingest.dialects.genesys import MOST_TEXT_BYTES, NULL_ID, AudioHook, open_dialect
from trio_asr.wire.audio_format import audio_format

SESSION = "11111111-2222-3333-4444-555555555555"
STEREO = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
EXTERNAL = STEREO | {"channels": ["external"]}
L16 = STEREO | {"format": "L16"}
PARAMETERS: dict[str, Any] = {
    "organizationId": "o-1", "conversationId": "v-1",
    "participant": {"id": "p-1", "ani": "tel:+155", "aniName": "A", "dnis": "+166"},
    "media": [STEREO, EXTERNAL], "language": "en-US",
}  # fmt: skip
META = {"ani": "tel:+155", "aniName": "A", "dnis": "+166", "language": "en-US"}
BEGIN = Begin("v-1", audio_format(8000, "mulaw", 2), ("external", "internal"), True, "o-1", meta=META)
AUDIO = bytes(range(256)) * 12 + bytes(128)  # 200 ms of both people


def message(kind: str, seq: int, position: str = "PT0S", **parameters: Any) -> dict[str, Any]:
    head = {"version": "2", "id": SESSION, "type": kind, "seq": seq, "serverseq": 0, "position": position}
    return head | {"parameters": parameters}


def answer(kind: str, seq: int, clientseq: int, **parameters: Any) -> Say:
    head = {"version": "2", "id": SESSION, "type": kind, "seq": seq, "clientseq": clientseq}
    return Say(json.dumps(head | {"parameters": parameters}, separators=(",", ":")))


OPEN = message("open", 1, **PARAMETERS)
OPENED = answer("opened", 1, 1, startPaused=False, media=[STEREO])


def offered(*media: Any, **more: Any) -> dict[str, Any]:
    return OPEN | {"parameters": PARAMETERS | {"media": list(media)} | more}


def opened(first: dict[str, Any] = OPEN) -> AudioHook:
    dialect = open_dialect(REQUEST)
    heard(dialect, first)
    return dialect


def test_a_session() -> None:
    dialect = open_dialect(REQUEST)
    assert heard(dialect, OPEN) == [OPENED, BEGIN]
    assert heard(dialect, AUDIO, text=False) == [Audio(AUDIO)]
    assert heard(dialect, message("ping", 2, "PT0.2S")) == [answer("pong", 2, 2)]
    assert heard(dialect, message("ping", 3, "PT0.2S", rtt="PT0.01S")) == [answer("pong", 3, 3)]
    assert heard(dialect, message("update", 4, "PT0.2S", language="de-DE")) == [answer("updated", 4, 4)]
    assert heard(dialect, message("close", 5, "PT0.2S", reason="end")) == [
        answer("closed", 5, 5), Finish("end"),
    ]  # fmt: skip
    assert heard(dialect, AUDIO, text=False) == [Odd("late")]
    assert heard(dialect, message("ping", 6)) == [Odd("late")]
    assert dialect.stored(1) is None
    assert dialect.leave("completed") is None


@pytest.mark.parametrize(
    ("media", "chosen", "legs"),
    [
        ([STEREO], STEREO, ("external", "internal")),
        ([EXTERNAL, STEREO], STEREO, ("external", "internal")),
        ([EXTERNAL, EXTERNAL | {"channels": ["internal"]}], EXTERNAL, ("external",)),
        ([L16, EXTERNAL], EXTERNAL, ("external",)),
        ([L16, STEREO | {"channels": ["internal", "external"]}, STEREO],
         STEREO | {"channels": ["internal", "external"]}, ("internal", "external")),
        ([STEREO | {"more": 1.5, "rate": 8000.0}], STEREO | {"more": 1.5, "rate": 8000.0},
         ("external", "internal")),
        ([None, 5, [], {}, STEREO | {"channels": "external"}, EXTERNAL], EXTERNAL, ("external",)),
        ([STEREO | {"channels": ["external", "external"]}, EXTERNAL], EXTERNAL, ("external",)),
        ([STEREO | {"channels": ["external", "internal", "whisper"]}, EXTERNAL], EXTERNAL, ("external",)),
        ([STEREO | {"channels": [["external"], "internal"]}, EXTERNAL], EXTERNAL, ("external",)),
        ([STEREO | {"rate": "fast"}, EXTERNAL], EXTERNAL, ("external",)),
    ],
)  # fmt: skip
def test_an_offer_is_chosen_and_given_back_unchanged(
    media: list[Any], chosen: dict[str, Any], legs: tuple[str, ...]
) -> None:
    channels = len(legs)
    begin = BEGIN._replace(format=audio_format(8000, "mulaw", channels), legs=legs, interleaved=channels == 2)
    say = answer("opened", 1, 1, startPaused=False, media=[chosen])
    assert heard(open_dialect(REQUEST), offered(*media)) == [say, begin]


@pytest.mark.parametrize("media", [[], [L16], None, {}, "PCMU", [STEREO | {"format": "OPUS"}]])
def test_nothing_that_can_be_taken_is_refused(media: Any) -> None:
    dialect = open_dialect(REQUEST)
    assert refused(dialect, message("open", 1, **(PARAMETERS | {"media": media}))) == (
        "media", "no PCMU of one or two channels is offered", 1003,
    )  # fmt: skip
    assert dialect.leave("error") == answer("disconnect", 1, 1, reason="error").text


def test_a_probe_makes_no_call() -> None:
    participant = {"id": NULL_ID, "ani": "", "aniName": "", "dnis": ""}
    probe = offered(STEREO, conversationId=NULL_ID, participant=participant)
    dialect = open_dialect(REQUEST)
    say, begin = heard(dialect, probe)
    assert (say, begin) == (OPENED, BEGIN._replace(call=NULL_ID, probe=True, meta=begun([begin]).meta))
    assert heard(dialect, message("close", 2, reason="end")) == [answer("closed", 2, 2), Finish("end")]


def test_a_probe_without_media_is_answered() -> None:
    say, begin = heard(open_dialect(REQUEST), offered(conversationId=NULL_ID))
    assert say == answer("opened", 1, 1, startPaused=False, media=[])
    assert begun([begin]).probe


def test_ids_come_from_the_headers_until_a_message_has_them() -> None:
    headers = {"audiohook-session-id": "s-9", "audiohook-organization-id": "o-9"}
    dialect = open_dialect(REQUEST._replace(headers=headers))
    first = offered(STEREO)
    del first["id"], first["parameters"]["conversationId"], first["parameters"]["organizationId"]
    say, begin = heard(dialect, first)
    assert isinstance(say, Say)
    assert json.loads(say.text)["id"] == "s-9"
    assert begin == BEGIN._replace(call="s-9", account="o-9")


@pytest.mark.parametrize("conversation", [None, "", {}, 1.5])
def test_without_any_id_it_is_refused(conversation: Any) -> None:
    first = offered(STEREO, conversationId=conversation) | {"id": None}
    assert refused(open_dialect(REQUEST), first) == ("call_id", "the call's id is missing", 1008)


def test_what_is_said_of_the_call() -> None:
    more = {"customConfig": {"a": [1]}, "inputVariables": {"queue": "gold", "ani": "mine"}}
    assert begun(heard(open_dialect(REQUEST), offered(STEREO, **more))).meta == META | {
        "queue": "gold", "customConfig": {"a": [1]},
    }  # fmt: skip
    odd: dict[str, Any] = {"participant": [], "inputVariables": "x", "language": None}
    assert begun(heard(open_dialect(REQUEST), offered(STEREO, **odd))).meta == {"language": None}
    first = dumped(OPEN).replace(b'"en-US"', b'"\\udc00"')
    assert heard(open_dialect(REQUEST), first) == [OPENED, BEGIN._replace(meta={}), Odd("meta")]


def test_a_session_that_goes_on_from_another_is_a_session() -> None:
    earlier = [{"id": SESSION, "serverseq": 5, "clientseq": 7}]
    assert heard(open_dialect(REQUEST), offered(STEREO, continuedSessions=earlier)) == [OPENED, BEGIN]


def test_a_second_open_is_ignored() -> None:
    assert heard(opened(), message("open", 2, **PARAMETERS)) == [Odd("start_again")]


def test_audio_before_the_session_is_open_is_refused() -> None:
    dialect = open_dialect(REQUEST)
    assert refused(dialect, AUDIO, text=False) == (
        "early", "audio before the transaction that opens the session", 1008,
    )  # fmt: skip


def test_before_the_open_only_a_ping_and_a_close_are_answered() -> None:
    dialect = open_dialect(REQUEST)
    assert heard(dialect, message("ping", 1)) == [answer("pong", 1, 1)]
    assert heard(dialect, message("update", 2), message("discarded", 3)) == [Odd("early"), Odd("early")]
    assert heard(dialect, message("close", 4, reason="end")) == [answer("closed", 2, 4)]


def test_each_side_counts_by_one() -> None:
    dialect = opened()
    effects = heard(dialect, *(message("ping", seq) for seq in range(2, 50)))
    said = [json.loads(effect.text) for effect in effects if isinstance(effect, Say)]
    numbers = [(each["seq"], each["clientseq"]) for each in said]
    assert numbers == [(seq, seq) for seq in range(2, 50)]


@pytest.mark.parametrize("seq", [1, 0, -3, 7, None, "x", 2.5, True, [], 10**30])
def test_a_number_that_is_not_the_next_is_told(seq: Any) -> None:
    dialect = opened()
    odd, say = heard(dialect, message("ping", 2) | {"seq": seq})
    assert odd == Odd("sequence")
    seen = seq if type(seq) is int and seq < 2**63 else 2
    assert say == answer("pong", 2, seen)
    assert heard(dialect, message("ping", seen + 1)) == [answer("pong", 3, seen + 1)]


def test_a_number_may_be_a_text() -> None:
    assert heard(opened(), message("ping", 2) | {"seq": "2"}) == [answer("pong", 2, 2)]


def test_what_is_discarded_is_lost() -> None:
    dialect = opened()
    assert heard(dialect, AUDIO, text=False) == [Audio(AUDIO)]
    assert heard(dialect, message("discarded", 2, "PT1.7S", start="PT0.2S", discarded="PT1.5S")) == [
        Lost(1500.0)
    ]
    assert heard(dialect, AUDIO, text=False) == [Audio(AUDIO)]
    assert heard(dialect, message("ping", 3, "PT1.9S")) == [answer("pong", 2, 3)]


def test_what_passes_while_paused_is_lost() -> None:
    dialect = opened()
    heard(dialect, AUDIO, text=False)
    assert heard(dialect, message("paused", 2, "PT0.2S")) == []
    assert heard(dialect, message("ping", 3, "PT60S")) == [answer("pong", 2, 3)]  # its clock goes on
    assert heard(dialect, message("paused", 4, "PT61S")) == []  # it may say so again
    resumed = message("resumed", 5, "PT90.2S", start="PT0.2S", discarded="PT90S")
    again = message("resumed", 6, "PT90.2S", start="PT90.2S", discarded="PT0S")
    assert heard(dialect, resumed, again) == [Lost(90_000.0)]
    assert heard(dialect, AUDIO, text=False) == [Audio(AUDIO)]
    assert heard(dialect, message("ping", 7, "PT90.4S")) == [answer("pong", 3, 7)]


def test_audio_while_paused_is_taken_and_told() -> None:
    dialect = opened()
    heard(dialect, message("paused", 2))
    assert heard(dialect, AUDIO, text=False) == [Odd("unbidden"), Audio(AUDIO)]


def test_a_close_while_paused() -> None:
    dialect = opened()
    heard(dialect, message("paused", 2))
    assert heard(dialect, message("close", 3, "PT60S", reason="end")) == [
        answer("closed", 2, 3),
        Finish("end"),
    ]


def test_a_position_that_is_far_from_ours_is_told_once() -> None:
    dialect = opened()
    heard(dialect, AUDIO, text=False)
    assert heard(dialect, message("ping", 2, "PT1.2S")) == [answer("pong", 2, 2)]
    assert heard(dialect, message("ping", 3, "PT1.3S")) == [answer("pong", 3, 3), Odd("position")]
    assert heard(dialect, message("ping", 4, "PT1.3S")) == [answer("pong", 4, 4)]
    assert heard(dialect, message("discarded", 5, start="PT9S", discarded="PT1S")) == [
        Odd("position"), Lost(1000.0),
    ]  # fmt: skip
    assert heard(dialect, message("ping", 6, "PT10S")) == [answer("pong", 5, 6)]


@pytest.mark.parametrize(
    ("duration", "ms"),
    [
        ("PT1.5S", 1500.0), ("PT0.0S", None), ("PT20S", 20_000.0), ("PT0.000125S", 0.125), ("PT1.S", 1000.0),
        ("PT1e-7S", 1e-7 * 1000), ("pt2s", 2000.0), ("PT86400S", 86_400_000.0),
    ],
)  # fmt: skip
def test_durations(duration: str, ms: float | None) -> None:
    told: list[Effect] = [] if ms is None else [Lost(ms)]
    assert heard(opened(), message("discarded", 2, start="PT0S", discarded=duration)) == told


@pytest.mark.parametrize(
    "duration",
    [
        None,
        5,
        "",
        "PT",
        "PTS",
        "PT-1S",
        "1.5",
        "PT1M",
        "PTNaNS",
        "PT1e9S",
        "PT86401S",
        "PT" + "9" * 400 + "S",
    ],
)
def test_what_is_no_duration(duration: Any) -> None:
    assert heard(opened(), message("discarded", 2, start="PT0S", discarded=duration)) == [Odd("position")]
    assert heard(opened(), message("ping", 2) | {"position": duration}) == [answer("pong", 2, 2)]


@pytest.mark.parametrize("reason", ["error", "reconnect"])
def test_ends_that_are_none(reason: str) -> None:
    dialect = opened()
    assert heard(dialect, message("close", 2, reason=reason)) == [answer("closed", 2, 2)]
    assert heard(dialect, message("ping", 3)) == [Odd("late")]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"reason": "disconnect"}, "disconnect"),
        ({}, "end"),
        ({"reason": 7}, "end"),
        ({"reason": "a\nb"}, "end"),
    ],
)
def test_ends(parameters: dict[str, Any], reason: str) -> None:
    assert heard(opened(), message("close", 2, **parameters)) == [answer("closed", 2, 2), Finish(reason)]


def test_we_leave_by_asking_for_it() -> None:
    dialect = opened()
    assert dialect.leave("shutdown") == answer("disconnect", 2, 1, reason="completed", info="shutdown").text
    assert dialect.leave("shutdown") is None
    assert heard(dialect, AUDIO, text=False) == [Audio(AUDIO)]
    assert heard(dialect, message("close", 2, "PT0.2S", reason="disconnect")) == [
        answer("closed", 3, 2), Finish("disconnect"),
    ]  # fmt: skip


@pytest.mark.parametrize("reason", ["completed", "unauthorized", "error"])
def test_we_leave_in_its_words(reason: str) -> None:
    dialect = open_dialect(REQUEST._replace(headers={"audiohook-session-id": SESSION}))
    assert dialect.leave(reason) == answer("disconnect", 1, 0, reason=reason).text


def test_an_error_of_the_platform_is_told() -> None:
    assert heard(opened(), message("error", 2, code=408, message="timeout")) == [Odd("told")]


@pytest.mark.parametrize("kind", ["dtmf", "playback_started", "playback_completed"])
def test_messages_of_the_bots_side(kind: str) -> None:
    assert heard(opened(), message(kind, 2)) == []


@pytest.mark.parametrize("kind", ["hello", "", None, 5, [], {}, "opened"])
def test_unknown_messages(kind: Any) -> None:
    assert heard(opened(), message("x", 2) | {"type": kind}) == [Odd("event")]


@pytest.mark.parametrize("parameters", [None, [], "x", 5])
def test_parameters_that_are_no_object(parameters: Any) -> None:
    assert heard(opened(), message("ping", 2) | {"parameters": parameters}) == [answer("pong", 2, 2)]


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{", b"\xff", b"\0", b"[" * 60_000])
def test_what_is_no_object(text: bytes) -> None:
    dialect = opened()
    assert heard(dialect, text) == [Odd("json")]
    assert heard(dialect, message("ping", 2)) == [answer("pong", 2, 2)]


def test_a_long_text_is_refused() -> None:
    fits = dumped(message("ping", 2)).ljust(MOST_TEXT_BYTES)
    assert heard(opened(), fits) == [answer("pong", 2, 2)]
    assert refused(opened(), fits + b" ") == ("too_big", "a text of more than 65535 bytes", 1009)


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \n"])
def test_a_byte_order_mark(before: bytes) -> None:
    assert heard(open_dialect(REQUEST), before + dumped(OPEN)) == [OPENED, BEGIN]


def test_texts_in_binary_messages() -> None:
    dialect = open_dialect(REQUEST)
    assert heard(dialect, OPEN, message("ping", 2), text=False) == [OPENED, BEGIN, answer("pong", 2, 2)]


@pytest.mark.parametrize("audio", [b"{" + bytes(319), b'{"type":"ping"}x', b"{}", b"{" * 70_000])
def test_audio_may_begin_as_anything(audio: bytes) -> None:
    assert heard(opened(), audio, text=False) == [Audio(audio)]


def test_an_odd_byte_waits_for_the_next() -> None:
    dialect = opened()
    assert heard(dialect, b"\1\2\3", b"\4\5", text=False) == [
        Odd("incomplete"), Audio(b"\1\2"), Audio(b"\3\4"),
    ]  # fmt: skip
    assert heard(dialect, message("discarded", 2, start="PT0S", discarded="PT1S")) == [Lost(1000.0)]
    assert heard(dialect, b"\6\7", text=False) == [Audio(b"\6\7")]
    assert heard(dialect, b"", text=False) == [Odd("empty")]


NAMES = [
    "version", "id", "type", "seq", "serverseq", "position", "parameters", "media", "channels", "format",
    "rate", "conversationId", "organizationId", "participant", "start", "discarded", "reason", "customConfig",
]  # fmt: skip
KINDS = ["ping", "paused", "discarded", "resumed", "update", "error", "close"]
HEALTHY = [dumped(OPEN), dumped(offered(EXTERNAL)), AUDIO]
HEALTHY += [dumped(message(kind, 2, start="PT0S", discarded="PT1S")) for kind in KINDS]


@given(bad_messages(NAMES, [*HEALTHY, b'"open"', b'"PCMU"', b'["external"]']))
def test_no_bytes_raise_anything_but_a_refusal(messages: list[tuple[bytes, bool]]) -> None:
    hear_anything(open_dialect(REQUEST), messages)
    hear_anything(opened(), messages)

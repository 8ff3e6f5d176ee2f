"""Exotel's AgentStream: what its pages, its own samples and recorded traffic have, with exact effects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from tests.ingest.dialects.speaking import (
    REQUEST,
    bad_messages,
    base64_of,
    begun,
    dumped,
    hear_anything,
    heard,
    refused,
)

from trio_asr.ingest.dialect import Audio, Begin, Effect, Finish, Odd
from trio_asr.ingest.dialects.exotel import Exotel, open_dialect
from trio_asr.wire.audio_format import audio_format

PCM = bytes(range(200)) * 8  # 100 ms at 8 kHz
FORMAT = {"encoding": "raw/slin", "sample_rate": "8000", "bit_rate": "128kbps"}
BODY = {
    "stream_sid": "s-7", "call_sid": "c-7", "account_sid": "acme1", "from": "+91123", "to": "+91456",
    "custom_parameters": {"k": "v"}, "media_format": FORMAT,
}  # fmt: skip
START = {"event": "start", "sequence_number": "1", "stream_sid": "s-7", "start": BODY}
STOP = {
    "event": "stop", "sequence_number": "88", "stream_sid": "s-7",
    "stop": {"call_sid": "c-7", "account_sid": "acme1", "reason": "callended"},
}  # fmt: skip
META = {"k": "v", "from": "+91123", "to": "+91456"}
BEGIN = Begin("c-7", audio_format(8000), account="acme1", meta=META)


def start(**changes: Any) -> dict[str, Any]:
    """Return a start whose body has other values; None leaves a field out."""
    body = {key: value for key, value in (BODY | changes).items() if value is not None}
    return START | {"start": body}


def media(audio: bytes = PCM, timestamp: Any = "10", **more: Any) -> dict[str, Any]:
    inner = {"chunk": "2", "timestamp": timestamp, "payload": base64_of(audio)} | more
    return {"event": "media", "sequence_number": "3", "stream_sid": "s-7", "media": inner}


def opened(first: dict[str, Any] = START, **query: str) -> Exotel:
    dialect = open_dialect(REQUEST._replace(query=query))
    heard(dialect, {"event": "connected"}, first)
    return dialect


def test_a_call() -> None:
    dialect = open_dialect(REQUEST)
    assert heard(dialect, {"event": "connected"}, START) == [BEGIN]
    assert heard(dialect, media(), media(timestamp="110")) == [Audio(PCM, 0, 10), Audio(PCM, 0, 110)]
    assert heard(dialect, {"event": "dtmf", "dtmf": {"duration": "600", "digit": "1"}}) == []
    assert heard(dialect, {"event": "mark", "mark": {"name": "reply 1"}}, {"event": "clear"}) == []
    assert heard(dialect, {"event": "silence"}) == []
    assert heard(dialect, STOP, media()) == [Finish("callended"), Odd("late")]


@pytest.mark.parametrize("first", [10, 12, 200])
def test_the_clock_begins_anywhere(first: int) -> None:
    assert heard(opened(), media(timestamp=str(first))) == [Audio(PCM, 0, first)]


@pytest.mark.parametrize(
    "encoding", ["raw/slin", "slin", "raw", "audio/x-raw", "pcm16", "linear16", "audio/x-l16"]
)
def test_names_of_linear16(encoding: str) -> None:
    assert heard(open_dialect(REQUEST), start(media_format=FORMAT | {"encoding": encoding})) == [BEGIN]


@pytest.mark.parametrize("encoding", ["base64", "", None])
def test_names_that_leave_the_encoding_open(encoding: str | None) -> None:
    first = start(media_format=FORMAT | {"encoding": encoding})
    assert heard(open_dialect(REQUEST), first) == [BEGIN, Odd("format")]


@pytest.mark.parametrize("encoding", ["audio/x-mulaw", "audio/x-mulaw;rate=8000", "ulaw", "PCMU"])
def test_mulaw_of_the_newer_apis(encoding: str) -> None:
    first = start(media_format={"encoding": encoding})
    assert begun(heard(open_dialect(REQUEST), first)).format == audio_format(8000, "mulaw")


def test_an_unknown_encoding_is_refused() -> None:
    assert refused(open_dialect(REQUEST), start(media_format={"encoding": "amr"})) == (
        "encoding", "encoding 'amr' is not linear16, mulaw or alaw", 1003,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("declared", "query", "rate"),
    [
        ("16000", {}, 16_000), (24000, {}, 24_000), ("24000", {"sample-rate": "16000"}, 24_000),
        (None, {"sample-rate": "16000"}, 16_000), ("", {"sample_rate": "24000"}, 24_000),
        (None, {}, 8000), (None, {"sample-rate": "11025"}, 8000), (None, {"sample-rate": ""}, 8000),
        (None, {"sample-rate": "8000", "sample_rate": "16000"}, 8000),
    ],
)  # fmt: skip
def test_rates(declared: Any, query: dict[str, str], rate: int) -> None:
    first = start(media_format={"encoding": "slin", "sample_rate": declared, "bit_rate": "16"})
    dialect = open_dialect(REQUEST._replace(query=query))
    assert heard(dialect, first) == [BEGIN._replace(format=audio_format(rate))]


@pytest.mark.parametrize("rate", ["16kHz", "fast", -8000, [], 1e30])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    kind, _, code = refused(open_dialect(REQUEST), start(media_format=FORMAT | {"sample_rate": rate}))
    assert (kind, code) == ("sample_rate", 1003)


def test_a_start_without_format() -> None:
    dialect = open_dialect(REQUEST._replace(query={"sample-rate": "16000"}))
    assert heard(dialect, start(media_format=None)) == [
        BEGIN._replace(format=audio_format(16_000)), Odd("format"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "call"),
    [
        ({"call_sid": None, "leg_sid": "l-7"}, "l-7"),
        ({"call_sid": None, "callSid": "c-8", "leg_sid": "l-7"}, "c-8"),
        ({"call_sid": "", "call_id": "c-9"}, "c-9"),
        ({"call_sid": None}, "s-7"),
        ({"call_sid": 77}, "77"),
    ],
)
def test_ids(ids: dict[str, Any], call: str) -> None:
    assert heard(open_dialect(REQUEST), start(**ids)) == [BEGIN._replace(call=call)]


def test_from_and_to_and_parameters_may_be_absent() -> None:
    first = start(**{"from": None, "to": None, "custom_parameters": None, "account_sid": None})
    assert heard(open_dialect(REQUEST), first) == [Begin("c-7", audio_format(8000))]


def test_a_parameter_that_is_a_key_only_is_kept() -> None:
    first = start(custom_parameters={"voice/uuid": ""})
    assert begun(heard(open_dialect(REQUEST), first)).meta == {
        "voice/uuid": "", "from": "+91123", "to": "+91456",
    }  # fmt: skip


def test_keys_and_events_in_any_case() -> None:
    dialect = open_dialect(REQUEST)
    body = {"streamSid": "s-7", "CallSid": "c-7", "accountSid": "acme1", "Media_Format": {"Encoding": "SLIN"}}
    assert heard(dialect, {"Event": "Start", "sequenceNumber": "1", "Start": body}) == [
        Begin("c-7", audio_format(8000), account="acme1")
    ]
    message = {"Event": "MEDIA", "streamSid": "s-7", "Media": {"Payload": "AAE=", "Timestamp": "12"}}
    assert heard(dialect, message) == [Audio(b"\0\1", 0, 12)]
    assert heard(dialect, {"EVENT": "Closed"}) == [Finish("closed")]


@pytest.mark.parametrize(
    ("event", "body", "reason"),
    [
        ("stop", {"reason": "stopped"}, "stopped"),
        ("stop", {"Reason": "callended"}, "callended"),
        ("stop", {}, "stop"),
        ("closed", {"reason": "x" * 300}, "closed"),
    ],
)
def test_ends(event: str, body: dict[str, str], reason: str) -> None:
    assert heard(opened(), {"event": event, event: body}) == [Finish(reason)]


def test_events_in_binary_messages() -> None:
    dialect = open_dialect(REQUEST)
    assert heard(dialect, START, media(), STOP, text=False) == [BEGIN, Audio(PCM, 0, 10), Finish("callended")]


@pytest.mark.parametrize("audio", [PCM, b"{" + PCM[1:], b"[" + PCM[1:], b'{"a": 1}', b"\xef\xbb\xbf\0"])
def test_other_binary_messages_are_audio(audio: bytes) -> None:
    assert heard(opened(), audio, text=False) == [Audio(audio)]


def test_audio_that_looks_like_json_is_audio() -> None:
    for first in b"{[":
        audio = bytes([first]) + PCM[1:]
        assert heard(opened(), media(audio)) == [Audio(audio, 0, 10)]


def test_binary_audio_before_the_start() -> None:
    assert heard(open_dialect(REQUEST), b"\1\2\3", text=False) == [Odd("early")]
    dialect = open_dialect(REQUEST)
    heard(dialect, b"\1\2\3", text=False)
    assert heard(dialect, START) == [BEGIN, Odd("incomplete"), Audio(b"\1\2")]


def test_a_track_of_a_message_is_no_other_leg() -> None:
    assert heard(opened(), media(track="inbound"), media(timestamp="110", track="inbound")) == [
        Audio(PCM, 0, 10), Audio(PCM, 0, 110),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["AAEC\nAw==", "AAECAw", "AAECAw==\r\n"])
def test_base64_in_other_forms(text: str) -> None:
    assert heard(opened(), media(payload=text)) == [Audio(b"\0\1\2\3", 0, 10)]


def test_a_start_twice() -> None:
    dialect = opened()
    assert heard(dialect, START) == [Odd("start_again")]
    assert heard(dialect, start(call_sid="c-8")) == [BEGIN._replace(call="c-8")]


def paced(dialect: Exotel, sizes: list[int], step_ms: int = 100, first_ms: int = 12) -> list[Effect]:
    """Return what is odd about audio of so many bytes a message."""
    messages = [media(bytes(size), str(first_ms + step_ms * at)) for at, size in enumerate(sizes)]
    return [effect for effect in heard(dialect, *messages) if not isinstance(effect, Audio)]


@pytest.mark.parametrize(
    ("fmt", "size", "fits"),
    [
        ({"encoding": "slin"}, 1600, True),
        ({"encoding": "slin"}, 1200, True),
        ({"encoding": "slin"}, 2200, True),
        ({"encoding": "slin"}, 800, False),  # mu-law
        ({"encoding": "slin"}, 3200, False),  # 16 kHz
        ({"encoding": "slin", "sample_rate": 16000}, 3200, True),
        ({"encoding": "slin", "sample_rate": 16000}, 1600, False),
        ({"encoding": "audio/x-mulaw"}, 800, True),
        ({"encoding": "audio/x-mulaw"}, 1600, False),
    ],
)
def test_bytes_that_are_not_of_the_format_are_told_once(fmt: dict[str, Any], size: int, fits: bool) -> None:
    dialect = opened(start(media_format=fmt))
    assert paced(dialect, [size] * 10) == []
    assert paced(dialect, [size] * 30, first_ms=1012) == ([] if fits else [Odd("pace")])


def test_the_pace_is_not_judged_over_a_jump_of_the_clock() -> None:
    dialect = opened()
    assert paced(dialect, [1600] * 8) == []
    assert paced(dialect, [1600] * 8, first_ms=2000) == []  # 1.2 s are missing
    assert paced(dialect, [1600] * 8, first_ms=0) == []  # the clock began anew
    assert paced(dialect, [800] * 20, first_ms=5000) == [Odd("pace")]


def test_the_pace_is_not_judged_without_a_clock() -> None:
    dialect = opened()
    for _ in range(30):
        assert heard(dialect, media(timestamp=None), media(timestamp="7")) == [Audio(PCM), Audio(PCM, 0, 7)]


def test_another_call_is_judged_again() -> None:
    dialect = opened()
    assert paced(dialect, [800] * 20) == [Odd("pace")]
    heard(dialect, start(call_sid="c-8"))
    assert paced(dialect, [800] * 20) == [Odd("pace")]


NAMES = [
    "event", "start", "media", "stop", "closed", "stream_sid", "call_sid", "leg_sid", "account_sid",
    "media_format", "encoding", "sample_rate", "custom_parameters", "timestamp", "payload", "reason", "track",
    "Event", "Payload", "streamSid",
]  # fmt: skip
HEALTHY = [
    dumped(message) for message in (START, media(), media(timestamp="1200"), STOP, {"event": "closed"})
]


@given(bad_messages(NAMES, [*HEALTHY, PCM, b'"start"', b'"media"']))
def test_no_bytes_raise_anything_but_a_refusal(messages: list[tuple[bytes, bool]]) -> None:
    hear_anything(open_dialect(REQUEST), messages)
    hear_anything(opened(), messages)

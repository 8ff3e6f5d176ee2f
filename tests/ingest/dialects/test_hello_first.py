"""Vonage, Infobip, Knowlarity and Asterisk's chan_websocket: what they have beyond jambonz."""

from __future__ import annotations

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

from trio_asr.config import Route
from trio_asr.ingest.dialect import Audio, Begin, Effect, Odd
from trio_asr.ingest.dialects.asterisk import read_event
from trio_asr.ingest.dialects.hello_first import HelloFirst
from trio_asr.ingest.dialects.opening import open_dialect
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES
from trio_asr.wire.audio_format import audio_format

PCM = bytes(range(160)) * 4  # 20 ms at 16 kHz
ULAW = bytes(range(160))
VONAGE = {
    "event": "websocket:connected", "content-type": "audio/l16;rate=16000", "call_uuid": "v-1",
    "tenant": "t1", "queue": "gold",
}  # fmt: skip
META = {"event": "websocket:connected", "queue": "gold"}
KNOWLARITY = {
    "uuid": "k-1", "sample_rate": 16000, "from": "+911", "to": "+912", "campaign": "c",
    "metadata": {"event": "websocket:connected", "call_type": "inbound"},
}  # fmt: skip
MEDIA_START = (
    b"MEDIA_START connection_id:media_conn channel:WebSocket/asr/0x7f05 channel_id:17.42"
    b" format:ulaw optimal_frame_size:160 ptime:20"
)
JSON_START = {
    "event": "MEDIA_START", "connection_id": "media_conn", "channel": "WebSocket/asr/0x7f05",
    "channel_id": "17.42", "format": "ulaw", "optimal_frame_size": 160, "ptime": 20,
    "channel_variables": {"queue": "gold"},
}  # fmt: skip
SIZES = {"optimal_frame_size": 160, "ptime": 20}


def opened(platform: Any, offered: tuple[str, ...], query: dict[str, str]) -> tuple[HelloFirst, str | None]:
    request = REQUEST._replace(query=query, subprotocols=offered)
    dialect, subprotocol = open_dialect(Route(path="/x", platform=platform), request, 10)
    assert isinstance(dialect, HelloFirst)
    return dialect, subprotocol


def reader(platform: str, **query: str) -> HelloFirst:
    return opened(platform, (), query)[0]


def sounds(dialect: HelloFirst, *audio: bytes) -> list[Effect]:
    return heard(dialect, *audio, text=False)


# -- Vonage ------------------------------------------------------------------------------------------------


def test_a_call_of_vonages() -> None:
    dialect, subprotocol = opened("vonage", ("x",), {})
    assert subprotocol is None
    assert heard(dialect, VONAGE) == [
        Begin(
            "v-1", audio_format(16_000), tenant="t1", meta={"event": "websocket:connected", "queue": "gold"}
        )
    ]
    assert sounds(dialect, PCM, PCM) == [Audio(PCM)] * 2
    texts = [{"event": f"websocket:{name}"} for name in ("dtmf", "cleared", "notify")]
    assert heard(dialect, *texts, {"event": "websocket:new"}) == [Odd("event")]
    assert dialect.leave("shutdown") is None


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("audio/l16;rate=8000", 8000),
        ("audio/l16;rate=24000", 24_000),
        ("AUDIO/L16; rate=16000", 16_000),
        ("audio/l16", 16_000),
        (None, 16_000),
    ],
)
def test_the_type_of_vonages_audio(kind: Any, rate: int) -> None:
    hello = VONAGE | {"content-type": kind}
    assert begun(heard(reader("vonage"), hello)).format == audio_format(rate)


@pytest.mark.parametrize(("kind", "what"), [("audio/opus", "encoding"), ("audio/l16;rate=1", "sample_rate")])
def test_a_type_that_cannot_be_taken_is_refused(kind: str, what: str) -> None:
    assert refused(reader("vonage"), VONAGE | {"content-type": kind})[::2] == (what, 1003)


def test_without_headers_no_call_is_named() -> None:
    hello = {"event": "websocket:connected", "content-type": "audio/l16;rate=16000"}
    assert refused(reader("vonage"), hello) == ("call_id", "the call's id is missing", 1008)


def test_but_the_address_may_name_it() -> None:
    hello = {"event": "websocket:connected", "content-type": "audio/l16;rate=24000"}
    begin = begun(heard(reader("vonage", call_uuid="v-2"), hello))
    assert (begin.call, begin.format) == ("v-2", audio_format(24_000))


def test_infobips_hello_has_other_names() -> None:
    hello = {"event": "websocket:connected", "content-type": "audio/l16;rate=24000", "callId": "i-1"}
    dialect = reader("vonage")
    assert begun(heard(dialect, hello)).call == "i-1"
    assert sounds(dialect, PCM) == [Audio(PCM)]


def test_vonages_audio_before_the_hello_is_held() -> None:
    dialect = reader("vonage")
    assert sounds(dialect, PCM) == [Odd("early")]
    assert heard(dialect, VONAGE)[1:] == [Audio(PCM)]
    assert refused(reader("vonage"), *[PCM] * (MOST_EARLY_BYTES // len(PCM) + 1), text=False)[0] == "early"


# -- Knowlarity --------------------------------------------------------------------------------------------


def test_a_call_of_knowlaritys() -> None:
    dialect = reader("knowlarity")
    meta = {
        "event": "websocket:connected",
        "call_type": "inbound",
        "from": "+911",
        "to": "+912",
        "campaign": "c",
    }
    assert heard(dialect, KNOWLARITY) == [Begin("k-1", audio_format(16_000), meta=meta)]
    assert sounds(dialect, PCM) == [Audio(PCM)]
    # Nobody says what else may come.
    assert heard(dialect, {"event": "stop"}, b"bye") == [Odd("event"), Odd("json")]
    assert sounds(dialect, PCM) == [Audio(PCM)]


def test_knowlarity_names_the_call_in_two_ways_and_the_rate_may_be_missing() -> None:
    hello = {"callid": "k-2", "from": "+911"}
    assert heard(reader("knowlarity"), hello) == [
        Begin("k-2", audio_format(16_000), meta={"from": "+911"})
    ]  # fmt: skip


# -- Asterisk ----------------------------------------------------------------------------------------------


def test_a_call_of_asterisks() -> None:
    dialect, subprotocol = opened("asterisk", ("chat", "media"), {})
    assert subprotocol == "media"
    meta = {"event": "MEDIA_START", "optimal_frame_size": "160", "ptime": "20"}
    assert heard(dialect, MEDIA_START) == [Begin("17.42", audio_format(8000, "mulaw"), meta=meta)]
    assert sounds(dialect, ULAW) == [Audio(ULAW)]
    events = [
        b"DTMF_END digit:5", b"MEDIA_XOFF", b"MEDIA_XON", b"STATUS queue_length:43 bulk_media:false",
        b"MEDIA_BUFFERING_COMPLETED x", b"QUEUE_DRAINED", b"MEDIA_MARK_PROCESSED id:1", b"FUTURE_EVENT a:b",
    ]  # fmt: skip
    assert heard(dialect, *events) == [Odd("event")]
    assert heard(dialect, {"event": "DTMF_END", "channel_id": "17.42", "digit": "5"}) == []
    assert sounds(dialect, ULAW) == [Audio(ULAW)]


def test_nothing_is_ever_said_to_asterisk() -> None:
    """The server itself makes neither pings, at which calls hung up until 2026, nor fragments."""
    dialect = reader("asterisk")
    heard(dialect, MEDIA_START)
    assert (dialect.stored(1), dialect.leave("shutdown"), dialect.leave("error")) == (None, None, None)


def test_the_start_as_json_has_the_variables() -> None:
    meta = {"event": "MEDIA_START", "queue": "gold"} | SIZES
    assert heard(reader("asterisk"), JSON_START) == [
        Begin("17.42", audio_format(8000, "mulaw"), meta=meta)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "fmt"),
    [
        ("alaw", audio_format(8000, "alaw")),
        ("slin", audio_format(8000)),
        ("slin12", audio_format(12_000)),
        ("slin16", audio_format(16_000)),
        ("slin44", audio_format(44_100)),
        ("slin48", audio_format(48_000)),
        ("slin96", audio_format(96_000)),
    ],
)
def test_formats_of_asterisk(form: str, fmt: Any) -> None:
    dialect = reader("asterisk")
    assert begun(heard(dialect, MEDIA_START.replace(b"ulaw", form.encode()))).format == fmt


@pytest.mark.parametrize("form", ["opus", "g722", "slin192", "gsm", "g729"])
def test_formats_that_cannot_be_taken(form: str) -> None:
    assert refused(reader("asterisk"), MEDIA_START.replace(b"ulaw", form.encode())) == (
        "encoding", f"encoding {form!r} is not linear16, mulaw or alaw", 1003,
    )  # fmt: skip


def test_media_before_media_start_is_held() -> None:
    """asterisk/asterisk, issue 1712: one call in eight."""
    dialect = reader("asterisk")
    assert sounds(dialect, ULAW, ULAW) == [Odd("early")] * 2
    assert heard(dialect, MEDIA_START)[1:] == [Audio(ULAW)] * 2


def test_media_start_again() -> None:
    dialect = reader("asterisk")
    heard(dialect, MEDIA_START)
    assert heard(dialect, MEDIA_START, JSON_START) == [Odd("start_again")] * 2
    assert refused(dialect, MEDIA_START.replace(b"ulaw", b"alaw"))[::2] == ("format", 1008)


@pytest.mark.parametrize(
    ("changes", "call"),
    [
        ({}, "17.42"),
        ({"channel_id": None}, "media_conn"),
        ({"channel_id": "", "connection_id": None}, "WebSocket/asr/0x7f05"),
    ],
)
def test_ids_of_asterisk(changes: dict[str, Any], call: str) -> None:
    assert begun(heard(reader("asterisk"), JSON_START | changes)).call == call


def test_the_dial_string_may_name_the_call() -> None:
    begin = begun(heard(reader("asterisk", channel_id="mine-1", tenant="t1"), MEDIA_START))
    assert (begin.call, begin.tenant) == ("mine-1", "t1")


@pytest.mark.parametrize(
    "message",
    [
        b"STATUS " + b"a:b " * 1001,
        b"A" * 41,
        b"",
        b"MEDIA",
        b"media_start a:b",
        b"HELLO there\n",
        b"\xff" * 160,
        ULAW,
        b"ABCD\x00",
    ],
)  # fmt: skip
def test_what_is_no_event(message: bytes) -> None:
    assert read_event(message) in (None, {"event": "MEDIA"})


_NAMES = ["event", "call_uuid", "uuid", "channel_id", "content-type", "format", "sample_rate", "metadata"]
_HEALTHY = [dumped(VONAGE), dumped(KNOWLARITY), MEDIA_START, dumped(JSON_START), PCM, b"DTMF_END digit:1"]


@pytest.mark.parametrize("platform", ["vonage", "knowlarity", "asterisk"])
@given(messages=bad_messages(_NAMES, _HEALTHY))
def test_no_bytes_raise_anything_but_a_refusal(platform: str, messages: list[tuple[bytes, bool]]) -> None:
    hear_anything(reader(platform), messages)

"""Jambonz and FreeSWITCH: a hello of which much is the customer's, then audio; with exact effects."""

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

from trio_asr.ingest.dialect import Audio, Begin, Effect, Odd
from trio_asr.ingest.dialects.hello_first import HelloFirst
from trio_asr.ingest.dialects.jambonz import SUBPROTOCOLS, open_dialect
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES
from trio_asr.wire.audio_format import audio_format

HELLO = {
    "callSid": "j-1", "accountSid": "a-1", "direction": "inbound", "from": "+4912", "to": "+4934",
    "callId": "sip-1", "sampleRate": 8000, "mixType": "stereo", "tenant": "t1", "customerData": {"vip": True},
}  # fmt: skip
META = {"direction": "inbound", "from": "+4912", "to": "+4934", "customerData": {"vip": True}}
STEREO = audio_format(8000, "linear16", 2)
BEGIN = Begin("j-1", STEREO, ("left", "right"), True, "a-1", "t1", META)
PCM = bytes(range(160)) * 4  # 20 ms of both


def hello(**changes: Any) -> dict[str, Any]:
    """Return a hello with other values; None leaves a field out."""
    return {key: value for key, value in (HELLO | changes).items() if value is not None}


def opened(first: dict[str, Any] = HELLO, **query: str) -> HelloFirst:
    dialect = open_dialect(REQUEST._replace(query=query))
    heard(dialect, first)
    return dialect


def sounds(dialect: HelloFirst, *audio: bytes) -> list[Effect]:
    return heard(dialect, *audio, text=False)


def test_a_call() -> None:
    dialect = open_dialect(REQUEST)
    assert heard(dialect, HELLO) == [BEGIN]
    assert sounds(dialect, PCM, PCM) == [Audio(PCM), Audio(PCM)]
    assert heard(dialect, {"event": "dtmf", "dtmf": "5", "duration": "1600"}) == []
    assert heard(dialect, {"type": "playDone", "data": {"id": "x"}}) == []
    assert heard(dialect, {"anything": "at the stop"}) == [Odd("event")]
    assert dialect.stored(2) is None
    assert dialect.leave("shutdown") is None


def test_what_has_to_be_accepted() -> None:
    assert SUBPROTOCOLS == ("audio.jambonz.org", "audio.drachtio.org")


@pytest.mark.parametrize(
    ("mix", "legs"),
    [
        ("stereo", ("left", "right")),
        ("Stereo", ("left", "right")),
        ("mono", ()),
        ("mixed", ()),
        (None, ()),
        ("", ()),
    ],
)
def test_mixes(mix: Any, legs: tuple[str, ...]) -> None:
    begin = begun(heard(open_dialect(REQUEST), hello(mixType=mix)))
    assert (begin.legs, begin.interleaved, begin.format.channels) == (legs, len(legs) == 2, max(1, len(legs)))


@pytest.mark.parametrize(
    ("mix", "shown"), [("quad", "'quad'"), (2, "2"), (["stereo"], "a list"), (True, "True")]
)
def test_an_unknown_mix_is_refused(mix: Any, shown: str) -> None:
    assert refused(open_dialect(REQUEST), hello(mixType=mix)) == (
        "channels", f"mixtype {shown} is not known", 1003,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "hz"), [(16000, 16_000), ("48000", 48_000), (64000.0, 64_000), (None, 8000), ("", 8000)]
)
def test_rates(rate: Any, hz: int) -> None:
    assert begun(heard(open_dialect(REQUEST), hello(sampleRate=rate))).format.rate == hz


@pytest.mark.parametrize("rate", ["16k", 0, 10**9, [], True, 1e400])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    kind, _, code = refused(open_dialect(REQUEST), hello(sampleRate=rate))
    assert (kind, code) == ("sample_rate", 1003)


@pytest.mark.parametrize(
    ("changes", "call"),
    [
        ({}, "j-1"),
        ({"callSid": None}, "sip-1"),
        ({"callSid": "", "callId": 5}, "5"),
        ({"callSid": None, "callId": None, "uuid": "fs-1"}, "fs-1"),
        ({"callSid": {}, "callId": "sip-2"}, "sip-2"),
    ],
)
def test_ids(changes: dict[str, Any], call: str) -> None:
    assert begun(heard(open_dialect(REQUEST), hello(**changes))).call == call


@pytest.mark.parametrize("first", [{}, {"tenant": "t1"}, {"age": 1, "type": "sometype"}, {"event": "x"}])
def test_a_hello_without_call_is_refused(first: dict[str, Any]) -> None:
    assert refused(open_dialect(REQUEST), first) == ("call_id", "the call's id is missing", 1008)


def test_an_id_that_cannot_be_used_is_refused() -> None:
    assert refused(open_dialect(REQUEST), hello(callSid="{x}"))[0] == "call_id"


def test_the_query_names_what_no_hello_does() -> None:
    # FreeSWITCH's metadata is any text, or none.
    query = {"callSid": "fs-2", "sampleRate": "16000", "mixType": "stereo", "tenant": "t2", "other": "x"}
    begin = Begin("fs-2", audio_format(16_000, "linear16", 2), ("left", "right"), True, tenant="t2")
    dialect = open_dialect(REQUEST._replace(query=query))
    assert heard(dialect, b"test-metadata") == [Odd("json")]
    assert sounds(dialect, PCM, PCM) == [begin, Audio(PCM), Audio(PCM)]


def test_the_query_goes_before_the_hello() -> None:
    query = {"call-sid": "fs-2", "sample-rate": "16000", "mix_type": "mono"}
    dialect = open_dialect(REQUEST._replace(query=query))
    begin = BEGIN._replace(call="fs-2", format=audio_format(16_000), legs=(), interleaved=False)
    assert heard(dialect, HELLO) == [begin]
    dialect = open_dialect(REQUEST._replace(query=query))
    assert sounds(dialect, PCM) == [begin._replace(account="", tenant="", meta={}), Audio(PCM)]
    assert heard(dialect, HELLO) == [Odd("start_again")]  # it came late


def test_audio_before_the_hello_is_held() -> None:
    # mod_audio_stream's issue 121.
    dialect = open_dialect(REQUEST)
    assert sounds(dialect, PCM, PCM[:3]) == [Odd("early"), Odd("early")]
    assert heard(dialect, HELLO) == [BEGIN, Audio(PCM), Odd("incomplete")]
    assert sounds(dialect, b"\7") == [Odd("incomplete"), Audio(PCM[:3] + b"\7")]


def test_audio_before_the_hello_is_held_up_to_a_limit() -> None:
    dialect = open_dialect(REQUEST)
    fitting = MOST_EARLY_BYTES // len(PCM)
    assert sounds(dialect, *[PCM] * fitting) == [Odd("early")] * fitting
    assert refused(dialect, bytes(MOST_EARLY_BYTES), text=False) == (
        "early", "more than 65536 bytes of audio before the hello", 1008,
    )  # fmt: skip


@pytest.mark.parametrize("size", [320, 640, 1280, 4, 20_000])
def test_pieces_of_any_length(size: int) -> None:
    assert sounds(opened(), bytes(size)) == [Audio(bytes(size))]


def test_incomplete_samples_wait_for_the_next() -> None:
    dialect = opened()
    odd = Odd("incomplete")
    assert sounds(dialect, b"\1\2", b"\3\4\5\6\7\10", b"\11") == [
        odd, odd, Audio(b"\1\2\3\4\5\6\7\10"), odd,
    ]  # fmt: skip
    assert sounds(dialect, b"\12\13\14", b"\1\2\3\4") == [odd, Audio(b"\11\12\13\14"), Audio(b"\1\2\3\4")]
    assert sounds(dialect, b"") == [Odd("empty")]


def test_the_same_hello_again_is_ignored() -> None:
    assert heard(opened(), HELLO, hello(to="+1")) == [Odd("start_again"), Odd("start_again")]


def test_a_hello_of_another_call_begins_that() -> None:
    dialect = opened()
    sounds(dialect, b"\1")
    assert heard(dialect, hello(callSid="j-2", mixType="mono")) == [
        BEGIN._replace(call="j-2", format=audio_format(8000), legs=(), interleaved=False)
    ]
    assert sounds(dialect, b"\2\3") == [Audio(b"\2\3")]


def test_another_format_within_a_call_is_refused() -> None:
    assert refused(opened(), hello(sampleRate=16000)) == (
        "format",
        "the format changes within a call",
        1008,
    )


def test_from_and_to_may_be_absent() -> None:
    assert heard(open_dialect(REQUEST), {"callSid": "j-1"}) == [Begin("j-1", audio_format(8000))]


def test_what_is_said_of_the_call_is_json() -> None:
    first = dumped(HELLO).replace(b'{"vip": true}', b"[NaN, 1]")
    assert heard(open_dialect(REQUEST), first) == [BEGIN._replace(meta=META | {"customerData": [None, 1]})]
    first = dumped(HELLO).replace(b'"+4912"', b'"\\ud800"')
    assert heard(open_dialect(REQUEST), first) == [BEGIN._replace(meta={}), Odd("meta")]


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \r\n"])
@pytest.mark.parametrize("text", [True, False])
def test_a_byte_order_mark_and_a_hello_in_a_binary_message(before: bytes, text: bool) -> None:
    assert heard(open_dialect(REQUEST), before + dumped(HELLO), text=text) == [BEGIN]


def test_audio_that_is_json_is_audio() -> None:
    assert sounds(opened(), b'{"callSid":"j-9"}  x') == [Audio(b'{"callSid":"j-9"}  x')]
    assert sounds(opened(), b'{"event":"dtmf"}') == [Audio(b'{"event":"dtmf"}')]


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"hello", b"{", b"\xff", b"[" * 99_999])
def test_texts_that_are_no_object(text: bytes) -> None:
    dialect = open_dialect(REQUEST)
    assert heard(dialect, text, HELLO, text) == [Odd("json"), BEGIN, Odd("json")]


def test_a_dtmf_before_the_hello() -> None:
    assert heard(open_dialect(REQUEST), {"event": "dtmf", "dtmf": "1"}, HELLO) == [BEGIN]


NAMES = [
    "callSid",
    "callId",
    "accountSid",
    "sampleRate",
    "mixType",
    "tenant",
    "event",
    "type",
    "from",
    "uuid",
]
HEALTHY = [dumped(HELLO), dumped(hello(mixType="mono")), b'{"event":"dtmf"}', PCM, b'"stereo"', b'"j-1"']


@given(bad_messages(NAMES, HEALTHY))
def test_no_bytes_raise_anything_but_a_refusal(messages: list[tuple[bytes, bool]]) -> None:
    hear_anything(open_dialect(REQUEST), messages)
    hear_anything(opened(), messages)
    hear_anything(open_dialect(REQUEST._replace(query={"callSid": "q", "mixType": "stereo"})), messages)

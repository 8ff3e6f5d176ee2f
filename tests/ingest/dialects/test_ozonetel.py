"""Ozonetel: numbers for audio, and a first message of another rate."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from tests.ingest.dialects.speaking import bad_messages, dumped, hear_anything, heard, refused

from trio_asr.ingest.dialect import Audio, Begin, Effect, Finish, Lost, Odd
from trio_asr.ingest.dialects.ozonetel import Ozonetel
from trio_asr.wire.audio_format import audio_format

START = {
    "event": "start", "type": "text", "ucid": "u-1", "did": "08012", "call_id": "9112",
    "x_headers": '{"queue": "gold"}',
}  # fmt: skip
STOP = {"event": "stop", "type": "text", "ucid": "u-1"}
BEGIN = Begin(
    "u-1", audio_format(8000), meta={"queue": "gold", "type": "text", "did": "08012", "call_id": "9112"}
)


def media(*samples: Any, rate: Any = 8000, **more: Any) -> dict[str, Any]:
    data = {
        "samples": list(samples or [7] * 80), "bitsPerSample": 16, "sampleRate": rate, "channelCount": 1,
        "numberOfFrames": 80, "type": "data",
    }  # fmt: skip
    return {"event": "media", "type": "media", "ucid": "u-1", "data": data | more}


FIRST = media(*[9] * 160, rate=16_000)


def pcm(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def opened() -> Ozonetel:
    dialect = Ozonetel()
    heard(dialect, START, FIRST, media(1))
    return dialect


@pytest.mark.parametrize("text", [True, False])
def test_a_call_begins_with_its_second_message_and_the_first_is_left_out(text: bool) -> None:
    dialect = Ozonetel()
    assert heard(dialect, START, FIRST, text=text) == []
    assert heard(dialect, media(-3, 5, 32767, -32768), text=text) == [
        BEGIN, Odd("rate"), Audio(pcm(-3, 5, 32767, -32768)),
    ]  # fmt: skip
    assert heard(dialect, media(1), STOP, media(2), text=text) == [Audio(pcm(1)), Finish("stop"), Odd("late")]


def test_a_first_message_of_the_same_rate_is_taken() -> None:
    assert heard(Ozonetel(), START, media(1), media(2)) == [BEGIN, Audio(pcm(1)), Audio(pcm(2))]


def test_a_call_of_16_khz() -> None:
    assert heard(Ozonetel(), START, FIRST, media(2, rate=16_000)) == [
        BEGIN._replace(format=audio_format(16_000)), Audio(pcm(*[9] * 160)), Audio(pcm(2)),
    ]  # fmt: skip


def test_media_before_the_start_are_held() -> None:
    dialect = Ozonetel()
    assert heard(dialect, FIRST, media(1), media(2)) == [Odd("early")] * 3
    assert heard(dialect, START) == [BEGIN, Odd("rate"), Audio(pcm(1)), Audio(pcm(2))]


def test_but_not_for_ever() -> None:
    many = media(*[1] * 8000)
    assert refused(Ozonetel(), *[many] * 5)[::2] == ("early", 1008)


def test_a_call_of_one_message() -> None:
    assert heard(Ozonetel(), START, media(1), STOP) == [BEGIN, Audio(pcm(1)), Finish("stop")]
    assert heard(Ozonetel(), START, STOP) == [BEGIN, Finish("stop")]


def test_the_start_again() -> None:
    assert heard(opened(), START, media(2)) == [Odd("start_again"), Audio(pcm(2))]
    assert heard(Ozonetel(), START, START, FIRST, media(1)) == [BEGIN, Odd("rate"), Audio(pcm(1))]


def test_a_message_of_another_rate_in_between_is_a_hole() -> None:
    assert heard(opened(), FIRST, media(2)) == [Odd("rate"), Lost(10), Audio(pcm(2))]


def test_another_rate_for_good_is_refused() -> None:
    dialect = opened()
    assert heard(dialect, *[FIRST] * 100) == [Odd("rate"), Lost(10)] * 100
    assert refused(dialect, FIRST) == ("format", "the rate changes to 16000 Hz within a call", 1003)


@pytest.mark.parametrize(
    "message",
    [
        media(1, bitsPerSample=8),
        media(1, channelCount=2),
        media(1, sampleRate=0),
        media(1, sampleRate=10**9),
        media(40_000),
        media(1, samples="AQI="),
        media(1, samples=None),
        {"event": "media", "ucid": "u-1"},
        {"event": "media", "ucid": "u-1", "data": []},
    ],
)
def test_what_cannot_be_audio_costs_that_message_alone(message: dict[str, Any]) -> None:
    assert heard(opened(), message, media(2)) == [Odd("payload"), Audio(pcm(2))]


def test_empty_media() -> None:
    assert heard(opened(), media(samples=[])) == [Odd("empty")]


@pytest.mark.parametrize("headers", ["{}", "", None, "x", [1]])
def test_headers_of_any_form(headers: Any) -> None:
    effects: list[Effect] = heard(Ozonetel(), START | {"x_headers": headers}, media(1), media(2))
    assert effects[0] == BEGIN._replace(meta={"type": "text", "did": "08012", "call_id": "9112"})


def test_a_start_without_id_is_refused() -> None:
    assert refused(Ozonetel(), {"event": "start"}, media(1), media(2))[0] == "call_id"


_NAMES = ["event", "ucid", "data", "samples", "sampleRate", "channelCount", "type", "x_headers"]


@given(bad_messages(_NAMES, [dumped(one) for one in (START, FIRST, media(1), media(2), STOP)]))
def test_no_bytes_raise_anything_but_a_refusal(messages: list[tuple[bytes, bool]]) -> None:
    hear_anything(Ozonetel(), messages)

"""Plivo's audio streaming and Vobiz' copy: times of the epoch, no `connected`, no `stop`, early media."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ingest.dialects.speaking import base64_of, begun, dumped, heard, refused

from trio_asr.ingest.dialect import Audio, Begin, Finish, Odd
from trio_asr.ingest.dialects.media_events import MediaEvents
from trio_asr.ingest.dialects.plivo import PLIVO
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES
from trio_asr.wire.audio_format import audio_format

BODY = {
    "callId": "c-1", "streamId": "s-1", "accountId": "MA1", "tracks": ["inbound", "outbound"],
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
}  # fmt: skip
START = {"event": "start", "sequenceNumber": 0, "start": BODY, "extra_headers": "{}"}
BEGIN = Begin("c-1", audio_format(8000, "mulaw"), ("inbound", "outbound"), account="MA1", meta={})
EPOCH = 1_795_000_000_123
FRAME = bytes(range(160))


def media(n: int = 1, track: str = "inbound", audio: bytes = FRAME) -> dict[str, Any]:
    inner = {
        "track": track, "chunk": n, "timestamp": str(EPOCH + 20 * n), "payload": base64_of(audio),
    }  # fmt: skip
    return {
        "event": "media", "sequenceNumber": n, "streamId": "s-1", "media": inner, "extra_headers": "{}",
    }  # fmt: skip


def opened(first: dict[str, Any] = START) -> MediaEvents:
    dialect = MediaEvents(PLIVO)
    heard(dialect, first)
    return dialect


def test_a_call_without_connected_and_with_times_of_the_epoch() -> None:
    dialect = MediaEvents(PLIVO)
    assert heard(dialect, START) == [BEGIN]
    assert heard(dialect, media(1), media(1, "outbound"), media(2)) == [
        Audio(FRAME, 0, EPOCH + 20), Audio(FRAME, 1, EPOCH + 20), Audio(FRAME, 0, EPOCH + 40),
    ]  # fmt: skip


@pytest.mark.parametrize("sequence", [0, 1, "1", None])
def test_messages_are_counted_from_anywhere(sequence: Any) -> None:
    assert heard(MediaEvents(PLIVO), START | {"sequenceNumber": sequence}) == [BEGIN]


@pytest.mark.parametrize(
    ("form", "rate"),
    [
        ({"encoding": "audio/x-l16", "sampleRate": 8000}, 8000),
        ({"encoding": "audio/x-l16", "sampleRate": 16000}, 16_000),
        ({"encoding": "audio/x-l16;rate=16000"}, 16_000),
        (None, 8000),
    ],
)
def test_l16_is_little_endian_and_the_default(form: Any, rate: int) -> None:
    dialect = MediaEvents(PLIVO)
    assert begun(heard(dialect, START | {"start": BODY | {"mediaFormat": form}})).format == audio_format(rate)
    assert heard(dialect, media(audio=b"\1\2")) == [Audio(b"\1\2", 0, EPOCH + 20)]


@pytest.mark.parametrize(
    ("extra", "meta"),
    [
        ("{}", {}),
        ("", {}),
        ('{"X-PH-queue": "gold", "n": 1}', {"X-PH-queue": "gold", "n": 1}),
        ("X-PH-queue=gold;X-PH-vip=1", {"X-PH-queue": "gold", "X-PH-vip": "1"}),
        ("a=b=c, d = e ,f,=g", {"a": "b=c", "d": "e"}),
        ({"queue": "gold"}, {"queue": "gold"}),
        ("{not json", {}),
        ('["a"]', {}),
        (7, {}),
        (None, {}),
        (";".join(f"{n}=1" for n in range(2000)), {}),  # longer than it can be
    ],
)
def test_extra_headers_in_each_of_their_forms(extra: Any, meta: dict[str, Any]) -> None:
    first = START | {"extra_headers": extra}
    assert heard(MediaEvents(PLIVO), first) == [BEGIN._replace(meta=meta)]


def test_extra_headers_that_are_not_unicode() -> None:
    first = dumped(START).replace(b'"{}"', b'"\\ud800=x"')
    assert heard(MediaEvents(PLIVO), first, media(1)) == [BEGIN, Odd("meta"), Audio(FRAME, 0, EPOCH + 20)]


def test_extra_headers_within_the_start() -> None:
    first = {"event": "start", "start": BODY | {"extraHeaders": "queue=gold"}}
    assert begun(heard(MediaEvents(PLIVO), first)).meta == {"queue": "gold"}


def test_what_changes_nothing_and_what_is_told() -> None:
    dialect = opened()
    assert heard(dialect, {"event": "dtmf", "dtmf": {"track": "inbound", "digit": "1"}}) == []
    assert heard(dialect, {"event": "playedStream", "streamId": "s-1", "name": "n"}) == []
    assert heard(dialect, {"event": "clearedAudio", "streamId": "s-1"}) == []
    assert heard(dialect, {"event": "playFailed", "reason": "x"}, {"event": "error"}) == [
        Odd("told"), Odd("told"),
    ]  # fmt: skip


def test_a_stop_ends_the_call_where_there_is_one() -> None:
    assert heard(opened(), {"event": "stop", "streamId": "s-1"}, media()) == [Finish("stop"), Odd("late")]


def test_vobiz_sends_media_before_the_start() -> None:
    """COSS-India/VoicEra, issue 8."""
    dialect = MediaEvents(PLIVO)
    assert heard(dialect, media(1), media(2)) == [Odd("early"), Odd("early")]
    first = {
        "event": "start", "sequenceNumber": 0,
        "start": BODY | {"tracks": ["inbound"], "mediaFormat": {"encoding": "audio/x-mulaw"}},
    }  # fmt: skip
    assert heard(dialect, first) == [
        BEGIN._replace(legs=("inbound",)), Audio(FRAME, 0, EPOCH + 20), Audio(FRAME, 0, EPOCH + 40),
    ]  # fmt: skip


def test_but_not_for_ever() -> None:
    dialect = MediaEvents(PLIVO)
    many = [media(audio=bytes(8000))] * (MOST_EARLY_BYTES // 11_000)
    assert set(heard(dialect, *many)) == {Odd("early")}
    assert refused(dialect, media(audio=bytes(12_000)))[0] == "early"

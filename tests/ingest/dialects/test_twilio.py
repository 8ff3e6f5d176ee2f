"""Twilio's media streams and their copies: what each message means, with exact effects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from tests.ingest.dialects.speaking import (
    bad_messages,
    base64_of,
    begun,
    dumped,
    hear_anything,
    heard,
    refused,
)

from trio_asr.ingest.dialect import Audio, Begin, Effect, Finish, Odd
from trio_asr.ingest.dialects.media_events import MediaEvents
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES
from trio_asr.ingest.dialects.twilio import TWILIO
from trio_asr.wire.audio_format import audio_format

MULAW = audio_format(8000, "mulaw")
FRAME = bytes(range(96, 256))
PAYLOAD = base64_of(FRAME)
CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
BODY = {
    "streamSid": "MZ71", "accountSid": "AC5", "callSid": "CA9", "tracks": ["inbound", "outbound"],
    "mediaFormat": FORMAT, "customParameters": {"queue": "gold"},
}  # fmt: skip
START = {"event": "start", "sequenceNumber": "1", "streamSid": "MZ71", "start": BODY}
STOP = {
    "event": "stop", "sequenceNumber": "9", "streamSid": "MZ71",
    "stop": {"accountSid": "AC5", "callSid": "CA9"},
}  # fmt: skip
BEGIN = Begin("CA9", MULAW, ("inbound", "outbound"), account="AC5", meta={"queue": "gold"})


def start(**changes: Any) -> dict[str, Any]:
    """Return a start whose body has other values; None leaves a field out."""
    body = {key: value for key, value in (BODY | changes).items() if value is not None}
    return START | {"start": body}


def media(payload: Any = PAYLOAD, timestamp: Any = "28", **more: Any) -> dict[str, Any]:
    inner = {"track": "inbound", "chunk": "2", "timestamp": timestamp, "payload": payload} | more
    inner = {key: value for key, value in inner.items() if value is not None}
    return {"event": "media", "sequenceNumber": "4", "streamSid": "MZ71", "media": inner}


def opened(first: dict[str, Any] = START) -> MediaEvents:
    dialect = MediaEvents(TWILIO)
    heard(dialect, CONNECTED, first)
    return dialect


def test_a_call() -> None:
    dialect = MediaEvents(TWILIO)
    assert heard(dialect, CONNECTED) == []
    assert heard(dialect, START) == [BEGIN]
    assert heard(dialect, media()) == [Audio(FRAME, 0, 28)]
    assert heard(dialect, media(track="outbound", timestamp="31")) == [Audio(FRAME, 1, 31)]
    assert heard(dialect, {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "3"}}) == []
    assert heard(dialect, {"event": "mark", "mark": {"name": "m"}}) == []
    assert heard(dialect, STOP) == [Finish("stop")]
    assert dialect.stored(3) is None
    assert dialect.leave("shutdown") is None


def test_connected_may_be_missing() -> None:
    assert heard(MediaEvents(TWILIO), START) == [BEGIN]


@pytest.mark.parametrize(
    ("tracks", "legs"),
    [
        (["inbound"], ("inbound",)),
        (["inbound_track"], ("inbound",)),
        (["outbound", "inbound"], ("outbound", "inbound")),
        (["Outbound_Track"], ("outbound",)),
        ("both_tracks", ("inbound", "outbound")),
        (["both"], ("inbound", "outbound")),
        (["inbound", "inbound_track"], ("inbound",)),
        (["caller", "agent"], ("caller", "agent")),
        ([], ()),
        ([None, 7, {}, " "], ()),
        ({}, ()),
        (None, ()),
    ],
)
def test_tracks(tracks: Any, legs: tuple[str, ...]) -> None:
    assert begun(heard(MediaEvents(TWILIO), start(tracks=tracks))).legs == legs


def test_three_tracks_are_refused() -> None:
    assert refused(MediaEvents(TWILIO), start(tracks=["inbound", "outbound", "whisper"])) == (
        "tracks", "3 tracks, not 1..2", 1003,
    )  # fmt: skip
    assert refused(MediaEvents(TWILIO), start(tracks=["in\nbound"]))[0] == "tracks"


def test_a_track_is_known_by_each_of_its_names() -> None:
    dialect = opened()
    for name, leg in (("inbound_track", 0), ("outbound_track", 1), (" OUTBOUND ", 1), ("Inbound", 0)):
        assert heard(dialect, media(track=name)) == [Audio(FRAME, leg, 28)]


def test_media_without_a_track_is_of_the_only_one() -> None:
    assert heard(opened(start(tracks=["inbound"])), media(track=None)) == [Audio(FRAME, 0, 28)]
    assert heard(opened(), media(track=None)) == [Odd("track")]


def test_of_tracks_that_were_not_announced_the_first_is_taken() -> None:
    dialect = opened(start(tracks=None))
    assert heard(dialect, media(track="outbound"), media(track="outbound")) == [Audio(FRAME, 0, 28)] * 2
    assert heard(dialect, media(track="inbound")) == [Odd("track")]
    assert heard(opened(start(tracks=["inbound"])), media(track="outbound")) == [Odd("track")]


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_signalwire_l16(rate: int) -> None:
    # SignalWire's page "Stream": codec L16@16000h and L16@24000h.
    fmt = {"encoding": "audio/x-L16", "sampleRate": rate, "channels": 1}
    body = {"callSid": "4f1c2a50-1d7e-4a08-8d6c-0c4f3d2b1a00", "tracks": ["inbound"], "mediaFormat": fmt}
    dialect = MediaEvents(TWILIO)
    first = {"event": "start", "sequenceNumber": 1, "start": body}
    assert heard(dialect, CONNECTED | {"version": "0.2.0"}, first) == [
        Begin("4f1c2a50-1d7e-4a08-8d6c-0c4f3d2b1a00", audio_format(rate), ("inbound",))
    ]
    assert heard(dialect, media("AQIDBA==", 0, chunk=1)) == [Audio(b"\1\2\3\4", 0, 0)]
    assert heard(dialect, {"event": "stop", "sequenceNumber": "9"}) == [Finish("stop")]


def test_the_encoding_may_name_the_rate() -> None:
    first = start(mediaFormat={"encoding": "L16@24000h"})
    assert begun(heard(MediaEvents(TWILIO), first)).format == audio_format(24_000)


def test_cloudonix_names_a_session_and_no_account() -> None:
    first = start(accountSid=None, session="se-1")
    assert heard(MediaEvents(TWILIO), first) == [BEGIN._replace(account="")]
    first = start(accountSid=None, session="se-1", callSid=None)
    assert heard(MediaEvents(TWILIO), first) == [BEGIN._replace(account="", call="se-1")]


def test_a_copy_with_other_names_of_ids() -> None:
    body = {"streamId": "st-1", "callId": "ca-1", "accountId": "ac-1", "tracks": ["inbound"]}
    fmt = {"encoding": "PCMU", "sampleRate": "8000", "channels": "1"}
    begin = begun(heard(MediaEvents(TWILIO), {"event": "start", "start": body | {"mediaFormat": fmt}}))
    assert begin == Begin("ca-1", MULAW, ("inbound",), account="ac-1")


def test_ids_may_be_numbers() -> None:
    assert begun(heard(MediaEvents(TWILIO), start(callSid=1234, accountSid=7)))[:1] == ("1234",)


@pytest.mark.parametrize("account", ["x" * 257, "a\nb", {}, None, ""])
def test_an_account_that_is_none(account: Any) -> None:
    assert heard(MediaEvents(TWILIO), start(accountSid=account)) == [BEGIN._replace(account="")]


def test_an_account_that_cannot_be_encoded() -> None:
    first = dumped(start()).replace(b'"AC5"', b'"\\ud800"')
    assert heard(MediaEvents(TWILIO), first) == [BEGIN._replace(account="")]


def test_of_a_start_without_call_the_stream_is_the_call() -> None:
    assert begun(heard(MediaEvents(TWILIO), start(callSid=None))).call == "MZ71"


@pytest.mark.parametrize("call", ["a{b}", "x" * 257, "a\nb", "\ud800"])
def test_an_id_that_cannot_be_used_is_refused(call: str) -> None:
    first = dumped(start(callSid="?")).replace(b'"callSid": "?"', b'"callSid": %b' % _escaped(call))
    kind, reason, code = refused(MediaEvents(TWILIO), first)
    assert (kind, reason, code) == (
        "call_id",
        f"the call's id of {len(call)} characters cannot be used",
        1008,
    )


def _escaped(text: str) -> bytes:
    return b'"' + "".join(f"\\u{ord(c):04x}" for c in text).encode() + b'"'


@pytest.mark.parametrize("body", [None, [], "x", 5, {}])
def test_a_start_without_any_id_is_refused(body: Any) -> None:
    first = {"event": "start", "start": body}
    assert refused(MediaEvents(TWILIO), first) == ("call_id", "the call's id is missing", 1008)


@pytest.mark.parametrize(
    ("fmt", "kind", "reason"),
    [
        ({"encoding": "audio/x-g722"}, "encoding", "encoding 'audio/x-g722' is not linear16, mulaw or alaw"),
        ({"encoding": "OPUS"}, "encoding", "encoding 'OPUS' is not linear16, mulaw or alaw"),
        ({"encoding": 7}, "encoding", "encoding 7 is not linear16, mulaw or alaw"),
        ({"encoding": ["PCMU"]}, "encoding", "encoding a list is not linear16, mulaw or alaw"),
        ({"sampleRate": 0}, "sample_rate", "sample rate 0 cannot be taken"),
        ({"sampleRate": "fast"}, "sample_rate", "sample rate 'fast' cannot be taken"),
        ({"sampleRate": 10**30}, "sample_rate", "sample rate a number of more than 64 bits cannot be taken"),
        ({"encoding": "slin16"}, "sample_rate", "sample rate 8000 cannot be taken"),
        ({"channels": 3}, "channels", "audio of 3 channels, not of 1..2"),
        ({"channels": 2}, "tracks", "two tracks of two channels each"),
    ],
)
def test_formats_that_cannot_be_taken_are_refused(fmt: dict[str, Any], kind: str, reason: str) -> None:
    assert refused(MediaEvents(TWILIO), start(mediaFormat=FORMAT | fmt)) == (kind, reason, 1003)


def test_two_channels_in_one() -> None:
    dialect = MediaEvents(TWILIO)
    first = start(tracks=None, mediaFormat=FORMAT | {"channels": 2}, customParameters=None)
    assert heard(dialect, first) == [
        Begin("CA9", audio_format(8000, "mulaw", 2), interleaved=True, account="AC5")
    ]
    assert heard(dialect, media("AQID"), media("BA==")) == [
        Odd("incomplete"), Audio(b"\1\2", 0, 28), Odd("incomplete"), Audio(b"\3\4", 0, 28),
    ]  # fmt: skip


@pytest.mark.parametrize("fmt", [None, {}, [], {"encoding": ""}, {"encoding": None, "sampleRate": "8000"}])
def test_a_start_without_format_has_the_documented_one(fmt: Any) -> None:
    assert heard(MediaEvents(TWILIO), start(mediaFormat=fmt)) == [BEGIN, Odd("format")]


def test_base64_is_the_wrapping_and_no_codec() -> None:
    first = start(mediaFormat={"encoding": "base64", "sampleRate": 8000})
    assert heard(MediaEvents(TWILIO), first) == [BEGIN, Odd("format")]


def test_what_is_said_of_the_call() -> None:
    custom = {"from": "mine", "queue": "gold", "x": {"y": [1]}}
    begin = begun(
        heard(MediaEvents(TWILIO), start(customParameters=custom, **{"from": "+4912", "To": "+4934"}))
    )
    assert begin.meta == {"from": "+4912", "To": "+4934", "queue": "gold", "x": {"y": [1]}}


@pytest.mark.parametrize("custom", [[], "a", "=b", 5, None])
def test_parameters_that_are_no_object(custom: Any) -> None:
    assert heard(MediaEvents(TWILIO), start(customParameters=custom)) == [BEGIN._replace(meta={})]


def test_what_is_said_of_the_call_is_json() -> None:
    first = dumped(start()).replace(b'"gold"', b"[NaN, 1e999]")
    assert begun(heard(MediaEvents(TWILIO), first)).meta == {"queue": [None, None]}
    first = dumped(start()).replace(b'"gold"', b'"\\ud800"')
    assert heard(MediaEvents(TWILIO), first) == [BEGIN._replace(meta={}), Odd("meta")]


@pytest.mark.parametrize(
    ("timestamp", "at_ms"),
    [
        ("28", 28), (28, 28), (28.0, 28), ("28.0", 28), ("0028", 28), ("-3", -3), ("0", 0), (27.6, 28),
        (None, None), ("", None), ("soon", None), (True, None), ([], None), ({}, None), (10**25, None),
        ("9" * 5000, None), (1795000000123, 1795000000123), ("1795000000123", 1795000000123),
    ],
)  # fmt: skip
def test_times(timestamp: Any, at_ms: int | None) -> None:
    assert heard(opened(), media(timestamp=timestamp)) == [Audio(FRAME, 0, at_ms)]


@pytest.mark.parametrize("time", [b"NaN", b"Infinity", b"1e400", b"-1e999", b"9" * 5000])
def test_times_that_no_json_has(time: bytes) -> None:
    message = dumped(media()).replace(b'"28"', time)
    assert heard(opened(), message) == [Audio(FRAME, 0, None)]


def test_the_clock_begins_anywhere_and_jitters() -> None:
    dialect = opened()
    for at_ms in (102, 121, 143, 160, 5000, 20):
        assert heard(dialect, media(timestamp=str(at_ms))) == [Audio(FRAME, 0, at_ms)]


@pytest.mark.parametrize("size", [1, 20, 80, 159, 161, 640, 750_000])
def test_pieces_of_any_length(size: int) -> None:
    assert heard(opened(), media(base64_of(bytes(size)))) == [Audio(bytes(size), 0, 28)]


def test_what_is_long_and_odd_is_not_read() -> None:
    message = dumped(media("AQID" * 40_000)).replace(b'"28"', b"NaN")
    assert heard(opened(), message) == [Odd("json")]


@pytest.mark.parametrize("chunk", ["2", 2, None, "x", 2.5, [], 10**40])
def test_counters_mean_nothing(chunk: Any) -> None:
    assert heard(opened(), media(chunk=chunk)) == [Audio(FRAME, 0, 28)]


@pytest.mark.parametrize("payload", ["+/+/", "-_-_", "+/+/\n", "+/\r\n+/", " +/+/ "])
def test_base64_in_other_forms(payload: str) -> None:
    assert heard(opened(), media(payload)) == [Audio(b"\xfb\xff\xbf", 0, 28)]


def test_base64_without_padding() -> None:
    assert heard(opened(), media("AQ"), media("AQI")) == [Audio(b"\1", 0, 28), Audio(b"\1\2", 0, 28)]


@pytest.mark.parametrize("payload", ["A", "!!!!", "AQ=A", "Aß==", 5, [], {}, True, ["AQ=="]])
def test_what_is_not_base64_costs_that_message_alone(payload: Any) -> None:
    dialect = opened()
    assert heard(dialect, media(payload), media()) == [Odd("payload"), Audio(FRAME, 0, 28)]


@pytest.mark.parametrize("payload", ["", None])
def test_empty_media(payload: Any) -> None:
    assert heard(opened(), media(payload)) == [Odd("empty")]


@pytest.mark.parametrize("inner", [[], None, "x", 3, {}])
def test_media_that_is_no_object(inner: Any) -> None:
    dialect = opened(start(tracks=["inbound"]))
    assert heard(dialect, {"event": "media", "media": inner}, media()) == [Odd("empty"), Audio(FRAME, 0, 28)]


def test_flat_media() -> None:
    message = {"event": "media", "track": "outbound", "timestamp": 4, "payload": "AQ=="}
    assert heard(opened(), message) == [Audio(b"\1", 1, 4)]


def test_the_first_bytes_of_audio_are_not_looked_at() -> None:
    assert heard(opened(), media(base64_of(b'{"event":"stop"}')), media(base64_of(b"[1]"))) == [
        Audio(b'{"event":"stop"}', 0, 28), Audio(b"[1]", 0, 28),
    ]  # fmt: skip


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \r\n"])
def test_a_byte_order_mark_and_json_in_binary_frames(before: bytes, text: bool) -> None:
    dialect = MediaEvents(TWILIO)
    messages = [before + dumped(message) for message in (CONNECTED, START, media(), STOP)]
    assert heard(dialect, *messages, text=text) == [BEGIN, Audio(FRAME, 0, 28), Finish("stop")]


@pytest.mark.parametrize(
    "message", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b"\0" * 100, b"[" * 99999]
)
@pytest.mark.parametrize("text", [True, False])
def test_what_is_no_object(message: bytes, text: bool) -> None:
    dialect = opened()
    assert heard(dialect, message, text=text) == [Odd("json")]
    assert heard(dialect, media()) == [Audio(FRAME, 0, 28)]


@pytest.mark.parametrize("event", ["hello", "", None, 5, [], "media2"])
def test_unknown_events(event: Any) -> None:
    assert heard(opened(), {"event": event, "media": {}}) == [Odd("event")]


def test_of_repeated_keys_the_last_counts() -> None:
    message = dumped(media()).replace(b'"timestamp": "28"', b'"timestamp": "1", "timestamp": 28')
    assert heard(opened(), message) == [Audio(FRAME, 0, 28)]


def test_nesting_costs_nothing() -> None:
    for depth in (10, 900, 20_000):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        message = dumped(media()).replace(b'"sequenceNumber"', b'"deep": ' + deep + b', "sequenceNumber"')
        assert heard(opened(), message) == [Audio(FRAME, 0, 28)] if depth < 20_000 else [Odd("json")]


def test_the_same_start_again_is_ignored() -> None:
    dialect = opened()
    again = start(tracks=["inbound"], customParameters={})
    assert heard(dialect, START, again, media(track="outbound")) == [
        Odd("start_again"), Odd("start_again"), Audio(FRAME, 1, 28),
    ]  # fmt: skip


def test_the_same_start_again_may_leave_the_format_open() -> None:
    dialect = opened(start(mediaFormat={"encoding": "L16", "sampleRate": 16000}))
    assert heard(dialect, start(mediaFormat=None)) == [Odd("start_again")]


def test_a_start_with_other_ids_begins_another_call() -> None:
    dialect = opened()
    second = start(callSid="CA10", streamSid="MZ72", tracks=["outbound"])
    its = [media(track=track) | {"streamSid": "MZ72"} for track in ("outbound", "inbound")]
    assert heard(dialect, second, *its, media(track="outbound")) == [
        BEGIN._replace(call="CA10", legs=("outbound",)), Audio(FRAME, 0, 28), Odd("track"), Odd("late"),
    ]  # fmt: skip


def test_a_start_that_names_no_stream_leaves_the_one_before_as_it_is() -> None:
    dialect = opened()
    unnamed = start(streamSid=None)
    unnamed.pop("streamSid", None)
    assert heard(dialect, unnamed, media()) == [BEGIN, Audio(FRAME, 0, 28)]


def test_another_stream_of_the_same_call_begins_anew() -> None:
    assert heard(opened(), start(streamSid="MZ72")) == [BEGIN]


@pytest.mark.parametrize("changes", [{"tracks": ["inbound"]}, {"mediaFormat": None}])
def test_another_stream_of_the_same_call_is_like_the_first(changes: dict[str, Any]) -> None:
    dialect = opened(start(mediaFormat={"encoding": "L16"}))
    second = start(streamSid="MZ72", **({"mediaFormat": {"encoding": "L16"}} | changes))
    assert refused(dialect, second) == (
        "format", "another stream of the call has another format, or other tracks", 1008,
    )  # fmt: skip


@pytest.mark.parametrize("stream", ["MZ71", "MZ72"])
def test_another_format_within_a_call_is_refused(stream: str) -> None:
    changed = start(mediaFormat=FORMAT | {"encoding": "PCMA"}, streamSid=stream)
    assert refused(opened(), changed) == ("format", "the format changes within a call", 1008)


def test_media_before_the_start_is_held() -> None:
    dialect = MediaEvents(TWILIO)
    assert (
        heard(dialect, media(timestamp="8"), media(track="outbound"), b'{"event":"media"}')
        == [Odd("early")] * 3
    )
    assert heard(dialect, START, media(timestamp="48")) == [
        BEGIN, Audio(FRAME, 0, 8), Audio(FRAME, 1, 28), Odd("track"), Audio(FRAME, 0, 48),
    ]  # fmt: skip


def test_media_before_the_start_is_held_up_to_a_limit() -> None:
    dialect, message = MediaEvents(TWILIO), dumped(media())
    fitting = MOST_EARLY_BYTES // len(message)
    assert heard(dialect, *[message] * fitting) == [Odd("early")] * fitting
    assert refused(dialect, message) == ("early", "more than 65536 bytes of media before the start", 1008)


def test_a_stop_before_the_start_ends_nothing() -> None:
    assert heard(MediaEvents(TWILIO), STOP, START) == [Odd("early"), BEGIN]


def test_nothing_counts_after_the_stop() -> None:
    dialect = opened()
    late: list[Effect] = [Odd("late")] * 4
    assert heard(dialect, STOP, media(), media(track="outbound"), STOP, START) == [Finish("stop"), *late]


@pytest.mark.parametrize("body", [{}, [], None, "now", {"reason": ""}, {"reason": "a\nb"}, {"reason": 4}])
def test_a_stop_may_say_anything(body: Any) -> None:
    assert heard(opened(), {"event": "stop", "stop": body}) == [Finish("stop")]


def test_an_odd_byte_waits_for_the_next_of_its_leg() -> None:
    dialect = opened(start(mediaFormat={"encoding": "L16", "sampleRate": 8000}))
    odd = Odd("incomplete")
    assert heard(dialect, media("AQID")) == [odd, Audio(b"\1\2", 0, 28)]
    assert heard(dialect, media("CQgH", track="outbound")) == [odd, Audio(b"\x09\x08", 1, 28)]
    assert heard(dialect, media("BA==")) == [odd, Audio(b"\3\4", 0, 28)]
    assert heard(dialect, media("BQY=")) == [Audio(b"\5\6", 0, 28)]
    assert heard(dialect, media("Bw=="), media("!"), media("CAk=")) == [
        odd, Odd("payload"), Audio(b"\x08\x09", 0, 28),
    ]  # fmt: skip


def test_mulaw_has_no_odd_bytes() -> None:
    assert heard(opened(), media("AQ=="), media("AQID")) == [Audio(b"\1", 0, 28), Audio(b"\1\2\3", 0, 28)]


NAMES = [
    "event", "start", "media", "stop", "streamSid", "callSid", "accountSid", "tracks", "track", "mediaFormat",
    "encoding", "sampleRate", "channels", "customParameters", "timestamp", "chunk", "payload", "reason",
    "Event", "PAYLOAD", "call_sid", "session", "connected",
]  # fmt: skip
HEALTHY = [dumped(message) for message in (CONNECTED, START, media(), media(track="outbound"), STOP)]
HEALTHY += [dumped(start(mediaFormat={"encoding": "L16"})), b'"start"', b'"media"', b'"inbound"']


@given(bad_messages(NAMES, HEALTHY))
def test_no_bytes_raise_anything_but_a_refusal(messages: list[tuple[bytes, bool]]) -> None:
    hear_anything(MediaEvents(TWILIO), messages)
    hear_anything(opened(), messages)

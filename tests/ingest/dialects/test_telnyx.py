"""Telnyx' media streaming: the codec of the leg, tracks that nobody announces, messages in any order."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ingest.dialects.speaking import REQUEST, base64_of, begun, heard, refused

from trio_asr.config import Route
from trio_asr.ingest.dialect import Audio, Begin, Effect, Finish, Odd
from trio_asr.ingest.dialects.media_events import MediaEvents
from trio_asr.ingest.dialects.opening import open_dialect
from trio_asr.ingest.dialects.telnyx import TELNYX
from trio_asr.wire.audio_format import audio_format

CONNECTED = {"event": "connected", "version": "1.0.0"}
BODY = {
    "user_id": "u-1", "call_control_id": "v3:Ax-1", "call_session_id": "s-1", "from": "+4912", "to": "+4934",
    "tags": [], "client_state": "eyJxIjoxfQ==",
    "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1},
}  # fmt: skip
START = {"event": "start", "sequence_number": "1", "stream_id": "S-1", "start": BODY}
STOP = {
    "event": "stop", "sequence_number": "9", "stream_id": "S-1",
    "stop": {"user_id": "u-1", "call_control_id": "v3:Ax-1"},
}  # fmt: skip
META = {
    "call_session_id": "s-1", "from": "+4912", "to": "+4934", "tags": [], "client_state": "eyJxIjoxfQ==",
}  # fmt: skip
BEGIN = Begin("v3:Ax-1", audio_format(8000, "alaw"), ("inbound", "outbound"), account="u-1", meta=META)
FRAME = bytes(range(160))


def start(**form: Any) -> dict[str, Any]:
    """Return a start with another format."""
    return START | {"start": BODY | {"media_format": BODY["media_format"] | form}}  # type: ignore[operator]


def media(chunk: int, track: str = "inbound", audio: bytes = FRAME, **more: Any) -> dict[str, Any]:
    inner = {
        "track": track, "chunk": str(chunk), "timestamp": str(20 * chunk), "payload": base64_of(audio),
    }  # fmt: skip
    return {"event": "media", "sequence_number": "5", "stream_id": "S-1", "media": inner | more}


def opened(**route: Any) -> MediaEvents:
    """Return the reader of a route."""
    dialect, subprotocol = open_dialect(Route(path="/x", platform="telnyx", **route), REQUEST, 10)
    assert isinstance(dialect, MediaEvents)
    assert subprotocol is None
    return dialect


def sounds(dialect: MediaEvents, *messages: dict[str, Any]) -> list[Effect]:
    return [effect for effect in heard(dialect, *messages) if isinstance(effect, Audio | Odd)]


def test_a_call() -> None:
    dialect = opened()
    assert heard(dialect, CONNECTED, START) == [BEGIN]
    assert heard(dialect, media(1), media(1, "outbound")) == [
        Audio(FRAME, 0, 20, 1), Audio(FRAME, 1, 20, 1),
    ]  # fmt: skip
    dtmf = {"event": "dtmf", "occurred_at": "2026-11-27T10:00:00Z", "dtmf": {"digit": "1"}}
    assert heard(dialect, dtmf, {"event": "mark", "mark": {"name": "m"}}) == []
    assert heard(dialect, STOP, media(2)) == [Finish("stop"), Odd("late")]


@pytest.mark.parametrize(("encoding", "name"), [("PCMU", "mulaw"), ("PCMA", "alaw"), ("pcma", "alaw")])
def test_the_codec_is_that_of_the_leg(encoding: str, name: Any) -> None:
    # Read as mu-law, the A-law of British and Indian calls is static.
    assert begun(heard(opened(), start(encoding=encoding))).format == audio_format(8000, name)


@pytest.mark.parametrize("encoding", ["G722", "OPUS", "AMR-WB", "G729", "speex"])
def test_other_codecs_are_refused_by_name(encoding: str) -> None:
    assert refused(opened(), start(encoding=encoding)) == (
        "encoding", f"encoding {encoding!r} is not linear16, mulaw or alaw", 1003,
    )  # fmt: skip


def test_l16_is_refused_while_nobody_knows_its_byte_order() -> None:
    assert refused(opened(), start(encoding="L16", sample_rate=16_000)) == (
        "encoding", "linear16 of an unknown byte order: set byte_order of the route", 1003,
    )  # fmt: skip


@pytest.mark.parametrize(("order", "pcm"), [("big", b"\2\1\4\3"), ("little", b"\1\2\3\4")])
def test_l16_in_the_order_that_the_route_says(order: Any, pcm: bytes) -> None:
    dialect = opened(byte_order=order)
    assert begun(heard(dialect, start(encoding="L16", sample_rate=16_000))).format == audio_format(16_000)
    assert sounds(dialect, media(1, audio=b"\1\2\3\4")) == [Audio(pcm, 0, 20, 1)]


def test_an_incomplete_sample_is_swapped_once_it_is_whole() -> None:
    dialect = opened(byte_order="big")
    heard(dialect, start(encoding="L16"))
    assert sounds(dialect, media(1, audio=b"\1\2\3"), media(2, audio=b"\4\5\6")) == [
        Odd("incomplete"), Audio(b"\2\1", 0, 20, 1), Odd("incomplete"), Audio(b"\4\3\6\5", 0, 40, 2),
    ]  # fmt: skip


def test_who_streams_one_track_says_so_in_the_route() -> None:
    dialect = opened(tracks=("inbound",))
    assert begun(heard(dialect, START)).legs == ("inbound",)
    assert sounds(dialect, media(1), media(1, "outbound")) == [Audio(FRAME, 0, 20, 1), Odd("track")]


def test_tracks_that_a_start_does_announce_go_before() -> None:
    first = START | {"start": BODY | {"tracks": ["outbound"]}}
    assert begun(heard(opened(), first)).legs == ("outbound",)


def test_order_is_made_by_the_numbers_elsewhere() -> None:
    dialect = opened()
    heard(dialect, START)
    assert sounds(dialect, *map(media, (3, 1, 2, 2))) == [Audio(FRAME, 0, 20 * n, n) for n in (3, 1, 2, 2)]


def test_an_error_is_counted_as_told() -> None:
    dialect = opened()
    heard(dialect, START)
    error = {
        "event": "error", "stream_id": "S-1",
        "payload": {"code": 100005, "title": "rate_limit_reached", "detail": "slower"},
    }  # fmt: skip
    assert heard(dialect, error, media(1)) == [Odd("told"), Audio(FRAME, 0, 20, 1)]


def test_texml_has_the_names_of_twilio() -> None:
    body = {"CallSid": "c-1", "AccountSid": "a-1", "mediaFormat": {"encoding": "PCMU", "sampleRate": "8000"}}
    begin = begun(heard(MediaEvents(TELNYX), {"event": "start", "streamId": "S", "start": body}))
    assert (begin.call, begin.account) == ("c-1", "a-1")

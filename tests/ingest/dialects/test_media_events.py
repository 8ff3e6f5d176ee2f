"""The family: a platform of it is one description. Telnyx' shape, with messages in any order, is tried."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ingest.dialects.speaking import base64_of, dumped, heard

from trio_asr.ingest.dialect import Audio
from trio_asr.ingest.dialects import telnyx
from trio_asr.ingest.dialects.media_events import MediaEvents

# With another encoding than these two it would be refused.
TELNYX = telnyx.TELNYX._replace(byte_order="big")
BODY = {
    "user_id": "u", "call_control_id": "v3:x", "from": "+1", "client_state": "aGk=", "tags": [],
    "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1},
}  # fmt: skip
START = {"event": "start", "sequence_number": "1", "stream_id": "S", "start": BODY}


def media(chunk: Any, track: str | None = "inbound", payload: str = "AQID", **more: Any) -> dict[str, Any]:
    inner = {"track": track, "chunk": chunk, "timestamp": "60", "payload": payload} | more
    return {"event": "media", "sequence_number": "5", "stream_id": "S", "media": inner}


def opened(tracks: list[str]) -> MediaEvents:
    dialect = MediaEvents(TELNYX)
    heard(dialect, START | {"start": BODY | {"tracks": tracks}})
    return dialect


@pytest.mark.parametrize(
    ("chunk", "number"), [("3", 3), (3, 3), (3.0, 3), ("03", 3), (None, None), ("x", None), (10**30, None)]
)
def test_messages_of_a_leg_are_numbered(chunk: Any, number: int | None) -> None:
    dialect = opened(["inbound", "outbound"])
    assert heard(dialect, media(chunk), media(chunk, "outbound")) == [
        Audio(b"\1\2\3", 0, 60, number), Audio(b"\1\2\3", 1, 60, number),
    ]  # fmt: skip


def test_order_is_not_made_here() -> None:
    dialect = opened(["inbound"])
    numbers = [3, 1, 2, 2]
    assert heard(dialect, *(media(str(number)) for number in numbers)) == [
        Audio(b"\1\2\3", 0, 60, number) for number in numbers
    ]


def test_the_odd_way_has_the_same_numbers() -> None:
    dialect = opened(["inbound"])
    assert heard(dialect, media("7", "INBOUND"), media("8", payload="AQID\n")) == [
        Audio(b"\1\2\3", 0, 60, 7), Audio(b"\1\2\3", 0, 60, 8),
    ]  # fmt: skip


_pieces = st.lists(
    st.tuples(
        st.binary(max_size=7),
        st.sampled_from(["inbound", "outbound", "inbound_track", "whisper", None]),
        st.integers(-(2**53), 2**53),
        st.booleans(),
    ),
    max_size=8,
)


@given(_pieces, st.sampled_from(["PCMA", "L16"]), st.sampled_from([["inbound"], ["inbound", "outbound"], []]))
def test_both_ways_mean_the_same(
    pieces: list[tuple[bytes, str | None, int, bool]], encoding: str, tracks: list[str]
) -> None:
    body = BODY | {"media_format": {"encoding": encoding}, "tracks": tracks}
    fast, odd = MediaEvents(TELNYX), MediaEvents(TELNYX)
    assert heard(fast, START | {"start": body}) == heard(odd, START | {"start": body})
    for audio, track, number, quoted in pieces:
        counter = str(number) if quoted else number
        message = dumped(media(counter, track, base64_of(audio), timestamp=counter))
        assert fast.hear(message, text=True) == odd.hear(b"\xef\xbb\xbf" + message, text=True)

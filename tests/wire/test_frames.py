"""The decoder of what producers put on the streams: audio comes out whole, anything else is Junk.

This is about JSON in the field `data`. MessagePack, names of encodings and `meta` have files of their own.
"""

import base64
import contextlib
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.entries import decode_end, decode_frame, peek_id
from trio_asr.wire.frames import (
    LATEST_MS,
    MAX_ENTRY_BYTES,
    MAX_ID_LENGTH,
    CallEnd,
    Frame,
    Junk,
    NotAudio,
    check_id,
)
from trio_asr.wire.meta import MAX_META_BYTES, BadMeta, read_meta

RATE = 8000
DEEP = b"[" * 100_000
ids = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="{}"), min_size=1, max_size=MAX_ID_LENGTH
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = json_scalars | st.text(max_size=20) | st.lists(json_scalars, max_size=3)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
FIELDS = (
    "interaction_id",
    "audio",
    "seq",
    "timestamp_ms",
    "sample_rate",
    "encoding",
    "tenant_id",
    "trace_id",
    "channels",
    "position",
    "roles",
    "meta",
)


def _encoded(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()


def _decode(envelope: dict[str, Any] | bytes, default: int = RATE) -> Frame:
    data = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
    frame = decode_frame([b"data", data], default)
    assert frame.digest == hash(frame.pcm) ^ (frame.timestamp_ms or 0)
    frame.digest = 0
    return frame


def _envelope(pcm: bytes = b"\1\2", **more: Any) -> dict[str, Any]:
    return {
        "tenant_id": "t",
        "interaction_id": "call",
        "seq": 1,
        "timestamp_ms": 20,
        "sample_rate": RATE,
        "encoding": "pcm16",
        "audio": _encoded(pcm),
    } | more


def _telephony(payload: bytes, **more: Any) -> bytes:
    media = {"chunk": 2, "timestamp": "10", "payload": _encoded(payload)}
    return json.dumps(
        {"event": "media", "sequence_number": 3, "stream_sid": "s", "media": media} | more
    ).encode()


# -- audio comes out whole -----------------------------------------------------------------------------


@given(
    st.fixed_dictionaries(
        {
            "interaction_id": ids,
            "sample_rate": st.integers(4000, 96_000),
            "seq": st.integers(0, 2**40),
            "timestamp_ms": st.integers(-1, LATEST_MS - 1),
            "tenant_id": ids,
            "trace_id": st.none() | ids,
            "encoding": st.sampled_from(["linear16", "mulaw", "alaw"]),
            "channels": st.just(1) | st.just(2),
            "position": st.none() | st.integers(0, 2**53),
        }
    ),
    st.binary(max_size=700),
)
def test_a_frame_says_what_its_envelope_says(said: dict[str, Any], pcm: bytes) -> None:
    frame = _decode(said | {"audio": _encoded(pcm), "pcm": "unknown field"})
    assert frame.pcm == pcm
    assert {name: getattr(frame, name) for name in said} == said
    assert frame.format == audio_format(said["sample_rate"], said["encoding"], said["channels"])
    assert not frame.misplaced
    assert not frame.odd


def test_an_envelope_that_says_little_is_mono_linear16_of_nowhere() -> None:
    frame = _decode({"interaction_id": "call", "audio": "AAAA"}, 16_000)
    assert frame.format is audio_format(16_000, "linear16", 1)
    assert (frame.channels, frame.position, frame.roles, bytes(frame.meta)) == (None, None, None, b"")
    assert (frame.misplaced, frame.odd, frame.entry, frame.digest) == (False, False, "", 0)


def test_what_is_ours_is_not_taken_from_a_producer() -> None:
    ours = {"format": ["alaw"], "misplaced": True, "digest": 5, "odd": True, "entry": "1-1"}
    assert _decode(_envelope() | ours) == _decode(_envelope())


@pytest.mark.parametrize("size", [0, 1, 2, 320, 566, 577, 1600, 9600, 240_000])
def test_any_length_is_taken_as_it_is(size: int) -> None:
    """Requirements 12: frames of 577 bytes, an odd length, are not rounded."""
    pcm = bytes(i % 251 for i in range(size))
    assert _decode(_envelope(pcm)).pcm == pcm


@given(st.lists(st.binary(min_size=1, max_size=99), min_size=1, max_size=9))
def test_any_split_of_the_audio_joins_to_the_same_bytes(parts: list[bytes]) -> None:
    assert b"".join(_decode(_envelope(b"\1" + part)).pcm[1:] for part in parts) == b"".join(parts)


@pytest.mark.parametrize("first", [b"{", b"[", b"{}", b'{"', b'{"event":', b'{"event":"media"', b"{\xff\xfe"])
def test_pcm_that_begins_like_json_stays_pcm(first: bytes) -> None:
    pcm = first + bytes(range(256))
    assert _decode(_envelope(pcm)).pcm == pcm


@given(st.sampled_from([b"{", b"["]), st.binary(max_size=400))
def test_pcm_with_any_bytes_after_a_brace_stays_pcm(first: bytes, rest: bytes) -> None:
    assert _decode(_envelope(first + rest)).pcm == first + rest


@pytest.mark.parametrize("document", [{}, {"event": "other"}, {"event": 1}, {"media": {"payload": "AAAA"}}])
def test_json_of_no_telephony_event_is_pcm(document: dict[str, Any]) -> None:
    pcm = json.dumps(document).encode()
    assert _decode(_envelope(pcm)).pcm == pcm


@given(st.binary(max_size=400), st.sampled_from(["pcm16", "mulaw", "alaw"]))
def test_a_media_event_where_audio_should_be_is_unwrapped(payload: bytes, encoding: str) -> None:
    assert _decode(_envelope(_telephony(payload), encoding=encoding)).pcm == payload


@given(st.binary(min_size=159, max_size=159))
def test_mulaw_that_begins_with_a_brace_stays_mulaw(rest: bytes) -> None:
    """There a brace is a quiet sample."""
    for pcm in (b"{" + rest, b"{" * 160, b"{" + b"}" * 159):
        assert _decode(_envelope(pcm, encoding="mulaw")).pcm == pcm


@pytest.mark.parametrize("event", ["connected", "start", "dtmf", "mark", "clear", "stop"])
@pytest.mark.parametrize("more", [{}, {"media": "x"}])
def test_other_telephony_events_are_not_audio(event: str, more: dict[str, Any]) -> None:
    with pytest.raises(NotAudio):
        _decode(_envelope(_telephony(b"\1\2", event=event, **more)))


@pytest.mark.parametrize(
    "document",
    [
        {"event": "media"},
        {"event": "media", "media": None},
        {"event": "media", "media": 5},
        {"event": "media", "media": {"payload": "@@"}},
        {"event": "media", "media": {"payload": 7}},
    ],
)
def test_a_broken_media_event_is_junk_and_never_pcm(document: dict[str, Any]) -> None:
    with pytest.raises(Junk) as junk:
        _decode(_envelope(json.dumps(document).encode()))
    assert junk.value.kind == "audio"


# -- producers are forgiven ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["audio", "audio_data", "data", "payload"])
def test_audio_is_found_under_its_later_names(name: str) -> None:
    assert _decode({"interaction_id": "call", name: _encoded(b"\1\2")}).pcm == b"\1\2"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        ("-7", -7),
        (" 7 ", 7),
        ("7.0", 7),
        ("+7", 7),
        ("0.7E1", 7),
        ("70e-1", 7),
        (7.5, None),
        ("x", None),
        (None, None),
        (True, None),
        ([], None),
    ],
)
def test_numbers_may_be_written_oddly(written: Any, read: int | None) -> None:
    frame = _decode(_envelope(seq=written, timestamp_ms=written))
    assert (frame.seq, frame.timestamp_ms) == (read, 8 if written == 7.5 else read)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400])
def test_numbers_beyond_64_bits_are_no_numbers(number: int) -> None:
    frame = _decode(_envelope(seq=number, timestamp_ms=number))
    assert (frame.seq, frame.timestamp_ms, frame.pcm) == (None, None, b"\1\2")


@pytest.mark.parametrize("unit", [1_000, 1_000_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_time_in_a_smaller_unit_is_brought_to_milliseconds(unit: int, sign: int) -> None:
    """By one that is a time, a repeat is recognised, and a hole measured."""
    assert (
        _decode(_envelope(timestamp_ms=sign * 1_700_000_000_020 * unit)).timestamp_ms
        == sign * 1_700_000_000_020
    )
    assert abs(_decode(_envelope(timestamp_ms=sign * (2**63 - 1))).timestamp_ms or 0) < LATEST_MS


@pytest.mark.parametrize("name", ["seq", "timestamp_ms", "tenant_id", "trace_id", "encoding"])
def test_optional_fields_may_be_missing(name: str) -> None:
    envelope = _envelope(trace_id="x")
    del envelope[name]
    assert _decode(envelope).pcm == b"\1\2"


def test_a_missing_rate_is_the_configured_one() -> None:
    envelope = _envelope()
    del envelope["sample_rate"]
    assert _decode(envelope, 16_000).sample_rate == 16_000
    assert _decode(_envelope(sample_rate=None), 24_000).sample_rate == 24_000
    assert _decode(_envelope(sample_rate="16000")).sample_rate == 16_000


# Names with a tilde are those of what `Frame` holds beside an envelope.
KNOWN = {field.encode_name for field in msgspec.structs.fields(Frame)}


@given(st.dictionaries(st.text(max_size=9).filter(lambda name: name not in KNOWN), json_values, max_size=4))
@example({"positions": False, "Position": 7})
def test_unknown_fields_are_ignored(more: dict[str, Any]) -> None:
    assert _decode(more | _envelope()) == _decode(_envelope())


@pytest.mark.parametrize("channels", [1, "1", 1.0, None, "1.0", " 1 ", "1e0", "mono", "MONO ", ["external"]])
def test_one_channel_however_it_is_said(channels: Any) -> None:
    assert _decode(_envelope(channels=channels)).format is audio_format(RATE, "linear16", 1)


@pytest.mark.parametrize(
    "channels",
    [2, "2", 2.0, "2.0", "2 ", "\t2\n", "+2", "2e0", "2.", ["external", "internal"], "stereo", " Stereo"],
)
def test_two_channels_however_they_are_said(channels: Any) -> None:
    frame = _decode(_envelope(channels=channels, encoding="PCMU"))
    assert frame.format is audio_format(RATE, "mulaw", 2)
    assert frame.format.width == 2


@pytest.mark.parametrize(
    ("channels", "shown"),
    [(3, "3"), (0, "0"), (-1, "-1"), ("-2", "-2.0"), (1.5, "1.5"), ("0.0", "0.0"), (6, "6"),
     (10**400, "a number of more than 64 bits"), (["a", "b", "c"], "3"), ([], "0"), ("", "''"),
     (True, "True"), (False, "False"), ({}, "an object"), ("2ch", "'2ch'"), ("dual", "'dual'"),
     ("0x2", "'0x2'"), ("1e400", "inf"), ("\u0661", "'\u0661'"), ("1,0", "'1,0'"), ("\ud800", "'\\ud800'")],
)  # fmt: skip
def test_any_other_number_of_channels_is_not_taken_for_one_or_two(channels: Any, shown: str) -> None:
    with pytest.raises(Junk) as junk:
        _decode(_envelope(channels=channels))
    assert (junk.value.kind, str(junk.value)) == ("channels", f"audio of {shown} channels, not of 1..2")


# -- two legs ------------------------------------------------------------------------------------------

TWO = ["customer", "agent"]


@pytest.mark.parametrize("odd", [{}, {"seq": "1"}, {"channels": "2"}, {"channels": 2.0}])
def test_each_channel_may_have_a_role(odd: dict[str, Any]) -> None:
    assert _decode(_envelope(channels=2, roles=TWO) | odd).roles == ("customer", "agent")
    assert _decode(_envelope(channels=2) | odd).roles is None
    assert _decode(_envelope(channels=2, roles=None) | odd).roles is None


@pytest.mark.parametrize("more", [{}, {"channels": 1}, {"channels": None}, {"seq": "1"}])
def test_one_channel_may_have_a_role_too(more: dict[str, Any]) -> None:
    assert _decode(_envelope(roles=["customer"]) | more).roles == ("customer",)


@pytest.mark.parametrize(
    ("roles", "channels", "reason"),
    [
        ([], 1, "roles has 0 of them, and channels is 1"),
        (TWO, 1, "roles has 2 of them, and channels is 1"),
        (TWO, None, "roles has 2 of them, and channels is 1"),
        (["agent"], 2, "roles has 1 of them, and channels is 2"),
        (["a"] * 5000, 2, "roles has 5000 of them, and channels is 2"),
        (["customer", ""], 2, "the role '' is not 1-64 printable characters"),
        (["x" * 65, "agent"], 2, "the role '" + "x" * 65 + "' is not 1-64 printable characters"),
        (["x" * 9999, "agent"], 2, "the role '" + "x" * 76 + "... is not 1-64 printable characters"),
        (["a\nb", "agent"], 2, "the role 'a\\nb' is not 1-64 printable characters"),
        (["\u202ea", "agent"], 2, "the role '\\u202ea' is not 1-64 printable characters"),
        (["customer", 7], 2, "the role 7 is not a string"),
        (["customer", None], 2, "the role None is not a string"),
        ([["customer"], "agent"], 2, "the role a list is not a string"),
        ("customer,agent", 2, "roles 'customer,agent' is not a list"),
        ({"0": "customer"}, 2, "roles an object is not a list"),
        (False, 2, "roles False is not a list"),
    ],
)
def test_roles_that_fit_no_channels_are_junk(roles: Any, channels: Any, reason: str) -> None:
    for odd in ({}, {"seq": "1"}):
        with pytest.raises(Junk) as junk:
            _decode(_envelope(channels=channels, roles=roles) | odd)
        assert (junk.value.kind, str(junk.value)) == ("roles", reason)


@pytest.mark.parametrize("role", ["x" * 64, "a b", "Grüße-日本", "%s", "{role}"])
def test_roles_that_look_odd_but_can_be_published(role: str) -> None:
    assert _decode(_envelope(channels=2, roles=[role, role])).roles == (role, role)


# -- positions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [{}, {"seq": "1"}])
@pytest.mark.parametrize(
    ("written", "position"),
    [(0, 0), (160, 160), (2**53, 2**53), (160.0, 160), (0.0, 0), (-0.0, 0), ("160", 160), ("0", 0),
     ("160.0", 160), (" 160\n", 160), ("1.6e2", 160), ("9007199254740991.0", 2**53 - 1),
     (str(2**53), 2**53), (2.0**53, 2**53)],
)  # fmt: skip
def test_a_position_however_it_is_written(written: Any, position: int, odd: dict[str, Any]) -> None:
    frame = _decode(_envelope(position=written) | odd)
    assert (frame.position, type(frame.position), frame.misplaced) == (position, int, False)


@pytest.mark.parametrize("odd", [{}, {"seq": "1"}])
@pytest.mark.parametrize(
    "written",
    [-1, -160.0, "-1", 0.5, "0.5", "160.5", 2**53 + 1, 2.0**54, str(2**53 + 1), 2**63, 10**400, 1e300, "",
     "x", "1 60", "0x10", "1e400", True, False, [], [160], {}, {"samples": 160}],
)  # fmt: skip
def test_a_position_that_is_none_costs_no_audio(written: Any, odd: dict[str, Any]) -> None:
    frame = _decode(_envelope(position=written) | odd)
    assert (frame.position, frame.misplaced, frame.pcm) == (None, True, b"\1\2")


def test_no_position_is_no_wrong_one() -> None:
    for odd in ({}, {"seq": "1"}):
        for more in ({}, {"position": None}):
            frame = _decode(_envelope() | more | odd)
            assert (frame.position, frame.misplaced) == (None, False)


# -- base64, and what else may be odd --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "taken"),
    [(20.4, 20), (20.6, 21), ("20.6", 21), ("20.6 ", 21), ("1.7E12", 1_700_000_000_000),
     (" 1.70000000002e+12", 1_700_000_000_020), ("1700000000000.75", 1_700_000_000_001), (20.0, 20),
     ("20", 20),
     (-0.6, -1), (1.7e12 + 0.3, 1_700_000_000_000), (1e300, None), ("20.6 ms", None), (True, None),
     ([20.6], None)],
)  # fmt: skip
def test_a_time_with_a_fraction_is_rounded(given: Any, taken: int | None) -> None:
    timestamp = _decode(_envelope(timestamp_ms=given)).timestamp_ms
    assert (timestamp, type(timestamp)) == (taken, type(taken))


@given(st.binary(max_size=99))
def test_base64_as_node_takes_it(pcm: bytes) -> None:
    text = _encoded(pcm)
    for written in (
        text.rstrip("="),
        base64.urlsafe_b64encode(pcm).decode(),
        base64.urlsafe_b64encode(pcm).decode().rstrip("="),
        base64.encodebytes(pcm).decode(),
        text + "\n",
        "\r\n".join(text[at : at + 7] for at in range(0, len(text), 7)),
    ):
        assert _decode(_envelope() | {"audio": written}).pcm == pcm


def test_a_long_tenant_or_trace_is_dropped_and_the_audio_kept() -> None:
    frame = _decode(_envelope(tenant_id="x" * 300, trace_id="x" * 300))
    assert (frame.tenant_id, frame.trace_id, frame.pcm) == ("", None, b"\1\2")
    assert _decode(_envelope(seq="1", trace_id="y")).trace_id == "y"  # on the lenient path too


def test_other_fields_of_the_entry_are_ignored() -> None:
    data = json.dumps(_envelope()).encode()
    assert decode_frame([b"x", b"y", b"data", data, b"z", b""], RATE).pcm == b"\1\2"


# -- anything else is Junk -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"[]", "json"),
        (b"null", "json"),
        (b'"text"', "json"),
        (b"\xff\xfe", "json"),
        (DEEP, "json"),
        (b'{"x":' + DEEP, "json"),
        (b"\xef\xbb\xbf", "json"),
        (b"NaN", "json"),
        (b'{"interaction_id":"call","audio":"AAA=","x":NaN', "json"),
        (b'{"interaction_id":"call","audio":"AAA=","x":' + DEEP + b"]" * len(DEEP) + b"}", "json"),
        (b'{"interaction_id":NaN,"audio":"AAA="}', "interaction_id"),
        (b'{"interaction_id":"c\\ud800","audio":"AAA="}', "interaction_id"),
        (b'{"interaction_id":"c\xff","audio":"AAA="}', "interaction_id"),
        (b'{"interaction_id":"call","audio":NaN}', "audio"),
        (b'{"interaction_id":"call","audio":"\\ud800AAA"}', "audio"),
        (b'{"interaction_id":"call","audio":"AAA=","sample_rate":NaN}', "sample_rate"),
        (b'{"interaction_id":"call","audio":"AAA=","channels":NaN}', "channels"),
        (b'{"interaction_id":"call","audio":"AAA=","encoding":"\\ud800"}', "encoding"),
        (b'{"interaction_id":"call","audio":"AAA=","roles":["\\ud800"]}', "roles"),
        (b'{"audio":"AAA="}', "interaction_id"),
        (b'{"interaction_id":null,"audio":"AAA="}', "interaction_id"),
        (b'{"interaction_id":' + b"[" * 900 + b"]" * 900 + b"}", "interaction_id"),
        (b'{"interaction_id":"","audio":"AAA="}', "interaction_id"),
        (b'{"interaction_id":"call"}', "audio"),
        (b'{"interaction_id":"call","audio":null}', "audio"),
        (b'{"interaction_id":"call","audio":[256]}', "audio"),
        (b'{"interaction_id":"call","audio":[1.5]}', "audio"),
        (b'{"interaction_id":"call","audio":[true]}', "audio"),
        (b'{"interaction_id":"call","audio":["AAA="]}', "audio"),
        (b'{"interaction_id":"call","audio":{}}', "audio"),
        (b'{"interaction_id":"call","audio":{"type":"Buffer"}}', "audio"),
        (b'{"interaction_id":"call","audio":{"type":"Buffer","data":"AAA="}}', "audio"),
        (b'{"interaction_id":"call","audio":{"type":"Blob","data":[1]}}', "audio"),
        (b'{"interaction_id":"call","audio":"A"}', "audio"),
        (b'{"interaction_id":"call","audio":"AA AA"}', "audio"),
        (b'{"interaction_id":"call","audio":"\xc3\xa4AAA"}', "audio"),
        (b'{"interaction_id":"call","audio":"AAA=","sample_rate":0}', "sample_rate"),
        (b'{"interaction_id":"call","audio":"AAA=","sample_rate":-8000}', "sample_rate"),
        (b'{"interaction_id":"call","audio":"AAA=","sample_rate":1800}', "sample_rate"),
        (b'{"interaction_id":"call","audio":"AAA=","sample_rate":1000000000}', "sample_rate"),
        (b'{"interaction_id":"call","audio":"AAA=","sample_rate":8000.5}', "sample_rate"),
        (b'{"interaction_id":"call","audio":"AAA=","sample_rate":"fast"}', "sample_rate"),
        (b'{"interaction_id":"call","audio":"AAA=","encoding":"opus"}', "encoding"),
        (b'{"interaction_id":"call","audio":"AAA=","encoding":[]}', "encoding"),
        (b" " * (MAX_ENTRY_BYTES + 1), "too_large"),
    ],
)
def test_what_cannot_be_used_is_junk_of_a_kind(data: bytes, kind: str) -> None:
    with pytest.raises(Junk) as junk:
        _decode(data)
    assert junk.value.kind == kind
    assert len(str(junk.value)) < 300


@pytest.mark.parametrize(
    "odd",
    [
        b'"x":NaN', b'"x":[-Infinity,1e400]', b'"x":"\\ud800"', b'"x":"\xff"', b'"\\udc00":1',
        b'"timestamp_ms":NaN', b'"timestamp_ms":1e400', b'"timestamp_ms":-Infinity', b'"seq":NaN',
        b'"seq":' + b"9" * 5000, b'"position":NaN', b'"tenant_id":"\\ud800"', b'"tenant_id":"\xff"',
        b'"trace_id":"a\\udfffb"', b'"reason":"\\ud800"', b'"meta":{"a":NaN}', b'"meta":{"a":"\\ud800"}',
        b'"meta":{"\xff":1}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_only_python_and_javascript_write_costs_its_field_alone(odd: bytes, mark: bytes) -> None:
    """All of it can be published, too."""
    data = mark + b'{"interaction_id":"call","audio":"AAA=",' + odd + b"}"
    frame = _decode(data)
    assert (frame.interaction_id, frame.pcm) == ("call", b"\0\0")
    assert (frame.seq, frame.timestamp_ms, frame.position) == (None, None, None)
    assert (frame.tenant_id, frame.trace_id) == ("", None)
    if b"meta" in odd:
        with pytest.raises(BadMeta):
            read_meta(frame.meta)
    assert decode_end([b"data", data]) == CallEnd("call")
    assert peek_id([b"data", data]) == "call"


def test_what_is_sound_beside_it_counts() -> None:
    said = _envelope(
        encoding="linear16",
        meta={"queue": "süß", "n": [1, None]},
        channels=2,
        roles=["kunde", "süß"],
        trace_id="x",
    )
    plain, odd = _decode(said), _decode(said | {"x": float("nan")})
    assert read_meta(odd.meta) == read_meta(plain.meta) == said["meta"]
    odd.odd, odd.meta = plain.odd, plain.meta
    assert odd == plain
    assert _decode(b"\xef\xbb\xbf" + json.dumps(said).encode()).roles == ("kunde", "süß")


def test_an_id_that_is_no_text_is_named() -> None:
    for written in (b"c\\ud800", b"c\\uDFFF", b"c\xff"):
        with pytest.raises(Junk, match=r"interaction_id 'c.+' has unusable characters") as junk:
            _decode(b'{"interaction_id":"' + written + b'","audio":"AAA="}')
        str(junk.value).encode()


@pytest.mark.parametrize("fields", [[], [b"data"], [b"x", b"data"], [b"audio", b"{}"]])
def test_an_entry_without_data_is_junk(fields: list[bytes]) -> None:
    with pytest.raises(Junk) as junk:
        decode_frame(fields, RATE)
    assert junk.value.kind == "no_data"


@pytest.mark.parametrize(
    "interaction_id", ["", "x" * 257, "a{b", "a}b", "a\0b", "a\nb", "\u202ea", "a\u2028b", "x" * 1_000_000]
)
def test_hostile_ids_are_junk(interaction_id: str) -> None:
    with pytest.raises(Junk) as junk:
        _decode(_envelope(interaction_id=interaction_id))
    assert junk.value.kind == "interaction_id"
    assert str(junk.value).isprintable()
    assert len(str(junk.value)) < 200


@pytest.mark.parametrize(
    "interaction_id", ["a", "../../etc", "a.b/c", "x" * 256, "Grüße-日本", "a b", "%s%n"]
)
def test_ids_that_look_odd_but_can_stand_in_a_key(interaction_id: str) -> None:
    check_id(interaction_id)
    assert _decode(_envelope(interaction_id=interaction_id)).interaction_id == interaction_id


@given(st.binary(max_size=60))
@example(b'{"x":' + DEEP)
@example(b'{"interaction_id":"a","audio":"","tenant_id":"\xff"}')
@example(b'{"interaction_id":"a","audio":"","tenant_id":"\\ud800"}')
@example(b'{"interaction_id":"a","reason":' + b"[" * 900 + b"]" * 900 + b"}")
def test_no_bytes_raise_anything_but_junk(data: bytes) -> None:
    for decode in (_decode, lambda one: decode_end([b"data", one])):
        with suppress(Junk):
            decode(data)


@given(st.dictionaries(st.sampled_from(FIELDS), documents | st.just("AAAA"), max_size=len(FIELDS)))
def test_no_json_raises_anything_but_junk(document: dict[str, Any]) -> None:
    """Numbers are of any size, NaN and infinities (as Python writes them) included."""
    _junk_or_frame(json.dumps(document).encode())
    _junk_or_frame(json.dumps(_envelope() | document).encode())


@given(st.dictionaries(st.sampled_from(["event", "media", "payload"]), documents), st.integers(0, 400))
def test_no_json_in_place_of_pcm_raises_anything_but_junk(document: dict[str, Any], cut: int) -> None:
    _junk_or_frame(json.dumps(_envelope(json.dumps(document).encode())).encode())
    _junk_or_frame(json.dumps(_envelope(_telephony(b"\1\2" * 160)[:cut])).encode())


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_envelope_is_junk_or_a_frame(at: int, byte: int) -> None:
    data = bytearray(json.dumps(_envelope(bytes(40))).encode())
    data[at % len(data)] = byte
    _junk_or_frame(bytes(data))


def _junk_or_frame(data: bytes) -> None:
    with suppress(Junk):
        frame = _decode(data)
        check_id(frame.interaction_id)
        assert frame.format is audio_format(frame.sample_rate, frame.format.encoding, frame.format.channels)
        assert frame.roles is None or len(frame.roles) == frame.format.channels
        assert frame.position is None or 0 <= frame.position <= 2**53
        assert len(bytes(frame.meta)) <= MAX_META_BYTES + 1
        assert frame.seq is None or abs(frame.seq) <= 2**63
        assert frame.timestamp_ms is None or abs(frame.timestamp_ms) <= 2**63


# -- ends ----------------------------------------------------------------------------------------------


def test_an_end_names_its_call_and_perhaps_a_reason() -> None:
    end = {"interaction_id": "call", "tenant_id": "t", "reason": "stopped", "timestamp_ms": 1}
    assert decode_end([b"data", json.dumps(end).encode()]) == CallEnd("call", "stopped")
    assert decode_end([b"data", b'{"interaction_id":"call","reason":null}']) == CallEnd("call")
    end["reason"] = "x" * 1_000_000
    assert len(decode_end([b"data", json.dumps(end).encode()]).reason) == 256
    for odd in (["x"] * 10_000, {"a": 1}, 17):
        assert decode_end([b"data", json.dumps(end | {"reason": odd}).encode()]) == CallEnd("call")


@pytest.mark.parametrize(
    "document", [b"{}", b'{"interaction_id":5}', b'{"interaction_id":"a{"}', b"[]", b"x"]
)
def test_an_end_of_no_call_is_junk(document: bytes) -> None:
    with pytest.raises(Junk):
        decode_end([b"data", document])


# -- what must cost no more than the entry itself ---------------------------------------------------------


@pytest.mark.parametrize("name", ["seq", "timestamp_ms", "sample_rate"])
@pytest.mark.parametrize(
    "value",
    [
        "--5",
        "-",
        "",
        "5-",
        "\u0665",
        "1" * 19,
        "1" * 5000,
        "5 0",
        "e5",
        ".",
        "5_0",
        "nan",
        "inf",
        "5e",
        "5e9999",
        "0x5",
    ],
)
def test_a_text_that_is_no_number_is_not_taken_for_one(name: str, value: str) -> None:
    document = {"interaction_id": "call", "audio": "AAAA", name: value}
    if name == "sample_rate":
        with pytest.raises(Junk) as junk:
            decode_frame([b"data", json.dumps(document).encode()], 8000)
        assert junk.value.kind == "sample_rate"
    else:
        assert getattr(decode_frame([b"data", json.dumps(document).encode()], 8000), name) is None


@pytest.mark.parametrize("name", ["interaction_id", "audio", "sample_rate", "encoding", "seq", "tenant_id"])
@pytest.mark.parametrize("depth", [10, 940, 970, 999, 1_000, 5_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_depth_where_text_belongs_is_junk_or_left_out(name: str, depth: int, brackets: str) -> None:
    left, right = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    document = {"interaction_id": '"call"', "audio": '"AAAA"', name: left * depth + "1" + right * depth}
    text = "{" + ",".join(f'"{key}":{value}' for key, value in document.items()) + "}"
    for decode in (lambda fields: decode_frame(fields, 8000), decode_end):
        with contextlib.suppress(Junk):
            decode([b"data", text.encode()])


def test_what_is_odd_is_decoded_only_up_to_a_size() -> None:
    """Objects take a hundred times the time and room of their bytes; audio in order may be longer."""
    long = {"interaction_id": "call", "audio": "AAAA" * 100_000, "seq": 1}
    assert len(decode_frame([b"data", json.dumps(long).encode()], 8000).pcm) == 300_000
    odds: list[dict[str, object]] = [{"seq": "1"}, {"seq": [[]] * 100_000}]
    for odd in odds:
        with pytest.raises(Junk) as junk:
            decode_frame([b"data", json.dumps(long | odd).encode()], 8000)
        assert junk.value.kind == "too_large"


def test_whose_frame_it_is() -> None:
    assert peek_id([b"data", b'{"audio":"AAAA","interaction_id":"call"}']) == "call"
    for nobody in (b"{}", b"[", b'{"interaction_id":5}', b'{"interaction_id":"a","x":' + b"[" * 2000):
        assert peek_id([b"data", nobody]) is None
    assert peek_id([]) is None

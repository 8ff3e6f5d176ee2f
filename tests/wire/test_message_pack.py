"""Envelopes in MessagePack: what JSON says in the field `data` means the same in the field `m`."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.entries import decode_end, decode_frame, peek_id
from trio_asr.wire.frames import MAX_ENTRY_BYTES, CallEnd, Frame, Junk, NotAudio
from trio_asr.wire.lenient import MAX_ODD_BYTES
from trio_asr.wire.meta import NO_META, BadMeta, read_meta

pack = msgspec.msgpack.encode
RATE = 8000
PCM = bytes(range(160))
HEALTHY: dict[str, Any] = {
    "interaction_id": "call",
    "tenant_id": "t",
    "trace_id": "trace",
    "seq": 7,
    "timestamp_ms": 1_700_000_000_020,
    "sample_rate": RATE,
    "encoding": "mulaw",
    "channels": 2,
    "position": 560,
    "roles": ["customer", "agent"],
    "meta": {"queue": "sales"},
}


def _packed(document: Any, default: int = RATE) -> Frame:
    return decode_frame([b"m", document if isinstance(document, bytes) else pack(document)], default)


def test_a_frame_says_what_its_envelope_says() -> None:
    frame = _packed(HEALTHY | {"audio": PCM, "unknown": [1, {"a": b"x"}, msgspec.msgpack.Ext(5, b"y")]})
    assert (frame.interaction_id, frame.tenant_id, frame.trace_id) == ("call", "t", "trace")
    assert (frame.pcm, frame.seq, frame.timestamp_ms, frame.position) == (PCM, 7, 1_700_000_000_020, 560)
    assert frame.format is audio_format(RATE, "mulaw", 2)
    assert (frame.roles, read_meta(frame.meta)) == (("customer", "agent"), {"queue": "sales"})
    assert (frame.odd, frame.misplaced) == (False, False)
    assert frame.digest == hash(PCM) ^ 1_700_000_000_020


def test_an_envelope_that_says_little_is_mono_linear16() -> None:
    frame = _packed({"interaction_id": "call", "audio": b"\1\2"}, 16_000)
    assert (frame.format, frame.pcm, frame.digest) == (
        audio_format(16_000, "linear16", 1),
        b"\1\2",
        hash(b"\1\2"),
    )


@pytest.mark.parametrize("name", ["audio", "audio_data", "data", "payload"])
def test_audio_is_bytes_or_base64_under_any_of_its_names(name: str) -> None:
    for audio in (PCM, base64.b64encode(PCM).decode(), base64.urlsafe_b64encode(PCM).decode().rstrip("=")):
        assert _packed({"interaction_id": "call", name: audio}).pcm == PCM
    assert _packed({"interaction_id": "call", name: b""}).pcm == b""


UNDEFINED = msgspec.msgpack.Ext(0, b"\0")  # as msgpackr and msgpack5 write it


@pytest.mark.parametrize("name", [*HEALTHY, "audio_data"])
def test_undefined_is_absent(name: str) -> None:
    document = HEALTHY | {"audio": PCM, name: UNDEFINED}
    if name == "interaction_id":
        with pytest.raises(Junk) as junk:
            _packed(document)
        assert str(junk.value) == "interaction_id None is not a string"
        return
    if name == "channels":
        document["roles"] = UNDEFINED
    frame, without = _packed(document), _packed(document | {name: None})
    without.odd = frame.odd
    assert read_meta(frame.meta) == read_meta(without.meta) == ({} if name == "meta" else HEALTHY["meta"])
    frame.meta = without.meta = NO_META
    assert msgspec.structs.astuple(frame) == msgspec.structs.astuple(without)
    assert not frame.misplaced


def test_undefined_in_meta_is_null() -> None:
    frame = _packed(HEALTHY | {"audio": PCM, "meta": {"queue": UNDEFINED, "n": 1}})
    assert read_meta(frame.meta) == {"queue": None, "n": 1}


def test_an_end_for_a_reason_that_is_undefined() -> None:
    assert decode_end([b"m", pack({"interaction_id": "call", "reason": UNDEFINED})]) == CallEnd("call")


@pytest.mark.parametrize("other", [(0, b""), (0, b"\1"), (0, b"\0\0"), (1, b"\0")])
def test_other_extensions_are_what_they_are(other: tuple[int, bytes]) -> None:
    with pytest.raises(Junk) as junk:
        _packed(HEALTHY | {"audio": PCM, "encoding": msgspec.msgpack.Ext(*other)})
    assert junk.value.kind == "encoding"


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (None, "audio None is neither base64 nor bytes"),
        (5, "audio 5 is neither base64 nor bytes"),
        ([1, 256], "audio is not a list of bytes: Expected `int` <= 255 - at `$[1]`"),
        ("@@", "audio is not base64: Only base64 data is allowed"),
    ],
)
def test_audio_that_is_none(audio: Any, reason: str) -> None:
    with pytest.raises(Junk) as junk:
        _packed(HEALTHY | {"audio": audio})
    assert (junk.value.kind, str(junk.value)) == ("audio", reason)


# -- the same as JSON ------------------------------------------------------------------------------------

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20) | numbers.map(str)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
likely = {
    "encoding": st.sampled_from(["pcma", "Audio/PCMU;rate=8000;channels=2", "slin16", "opus", "", "L16"]),
    "channels": st.sampled_from([1, 2, 3, "2", 2.0, "1.0"]),
    "roles": st.lists(st.sampled_from(["customer", "agent", "", "a\nb", 5]), max_size=3),
    "sample_rate": st.sampled_from([8000, "16000", 8000.0, 3999, 96_001]),
    "position": st.sampled_from([0, 2**53, 2**53 + 1, -1, "160", 160.0, 0.5, True]),
    "interaction_id": st.sampled_from(["call", "a{b", "", 5, "x" * 257]),
    "audio": st.sampled_from(["AAAA", "AAA", "@", "_-8=", ""]),
}
documents = st.fixed_dictionaries(
    {}, optional={name: likely.get(name, values) | values for name in (*HEALTHY, "audio", "payload")}
)


def _outcome(fields: list[bytes]) -> tuple[object, ...]:
    try:
        frame = decode_frame(fields, RATE)
    except Junk as junk:
        return type(junk), junk.kind, str(junk)
    try:
        meta: object = read_meta(frame.meta)
    except BadMeta as bad:
        meta = str(bad)
    # Base64 is what JSON has for bytes, and odd in MessagePack.
    frame.meta, frame.odd, frame.encoding, frame.channels = NO_META, False, "", None
    return msgspec.structs.astuple(frame), meta


@given(documents)
def test_any_document_means_the_same(document: dict[str, Any]) -> None:
    for one in (document, HEALTHY | {"audio": "AAAA"} | document):
        assert _outcome([b"m", pack(one)]) == _outcome([b"data", json.dumps(one).encode()])


@given(st.binary(max_size=400))
def test_any_bytes_come_through(pcm: bytes) -> None:
    assert _packed(HEALTHY | {"audio": pcm}).pcm == pcm
    assert _packed(HEALTHY | {"audio": b"{" + pcm}).pcm == b"{" + pcm


def test_a_telephony_event_that_was_packed_as_audio_is_unwrapped() -> None:
    media = json.dumps({"event": "media", "media": {"payload": base64.b64encode(PCM).decode()}}).encode()
    assert _packed(HEALTHY | {"audio": media}).pcm == PCM
    with pytest.raises(NotAudio):
        _packed(HEALTHY | {"audio": b'{"event":"stop"}'})


# -- anything else is Junk -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "json"),
        (b"\xc1", "json"),
        (b"\x81", "json"),
        (b"{}", "json"),
        (pack([]), "json"),
        (pack(None), "json"),
        (pack("text"), "json"),
        (pack(HEALTHY) + b"\0", "json"),
        (pack({b"interaction_id": "call", b"audio": b""}), "json"),
        (pack({1: "call"}), "json"),
        (b"\x91" * 100_000, "json"),
        (b"\x81\xa1x" + b"\x91" * 100_000, "json"),
        (b"\x82\xaeinteraction_id\xa1\xff\xa5audio\xc4\x00", "json"),
        (b"\x82\xaeinteraction_id\xa4call\xa5audio\xa1\xff", "json"),  # bytes that were packed as text
        (pack({"audio": b""}), "interaction_id"),
        (pack({"interaction_id": b"call", "audio": b""}), "interaction_id"),
        (pack({"interaction_id": b"x" * 200_000, "audio": b""}), "interaction_id"),
        (pack({"interaction_id": "a{b", "audio": b""}), "interaction_id"),
        (pack({"interaction_id": "call"}), "audio"),
        (pack({"interaction_id": "call", "audio": b"", "encoding": b"mulaw"}), "encoding"),
        (pack({"interaction_id": "call", "audio": b"", "channels": float("nan")}), "channels"),
        (pack({"interaction_id": "call", "audio": b"", "sample_rate": float("inf")}), "sample_rate"),
        (pack({"interaction_id": "call", "audio": b"", "roles": [b"agent"]}), "roles"),
        (pack({"interaction_id": "call", "audio": bytes(MAX_ENTRY_BYTES)}), "too_large"),
        (pack({"interaction_id": "call", "audio": bytes(MAX_ODD_BYTES), "seq": "1"}), "too_large"),
    ],
)
def test_what_cannot_be_used_is_junk_of_a_kind(data: bytes, kind: str) -> None:
    with pytest.raises(Junk) as junk:
        _packed(data)
    assert junk.value.kind == kind
    assert len(str(junk.value)) < 300
    assert str(junk.value).isprintable()


def test_audio_in_order_may_be_longer_than_what_is_odd() -> None:
    assert len(_packed(HEALTHY | {"audio": bytes(2_000_000)}).pcm) == 2_000_000


@given(st.binary(max_size=60))
@example(b"\x81\xa1x" + b"\x91" * 950)
@example(b"\x82\xaeinteraction_id\xa1a\xa5audio\xc6\xff\xff\xff\xff")
def test_no_bytes_raise_anything_but_junk(data: bytes) -> None:
    for fields in ([b"m", data], [b"data", b"{}", b"m", data]):
        with suppress(Junk):
            decode_frame(fields, RATE)
        with suppress(Junk):
            decode_end(fields)
        peek_id(fields)


keys = (
    st.sampled_from([*HEALTHY, "audio", "payload"])
    | st.text(max_size=5)
    | st.integers(0, 9)
    | st.binary(max_size=5)
)
anything = st.recursive(
    scalars | st.binary(max_size=20) | st.just(float("nan")) | st.integers(0, 2**64 - 1)
    | st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=12)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
)  # fmt: skip


@given(st.dictionaries(keys, anything, max_size=9))
def test_no_map_raises_anything_but_junk(document: dict[Any, Any]) -> None:
    for one in (document, HEALTHY | {"audio": PCM} | document):
        with suppress(Junk):
            frame = _packed(one)
            with suppress(BadMeta):
                msgspec.json.encode(read_meta(frame.meta))
        with suppress(Junk):
            decode_end([b"m", pack(one)])


@given(st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_envelope_is_junk_or_a_frame(at: int, byte: int) -> None:
    data = bytearray(pack(HEALTHY | {"audio": PCM}))
    data[at % len(data)] = byte
    with suppress(Junk):
        _packed(bytes(data))


# -- the fields of an entry ------------------------------------------------------------------------------


def test_of_two_envelopes_the_packed_one_counts() -> None:
    packed, text = pack({"interaction_id": "m", "audio": b"\1"}), b'{"interaction_id":"data","audio":"Ag=="}'
    for fields in (
        [b"m", packed, b"data", text],
        [b"data", text, b"m", packed],
        [b"x", b"", b"data", text, b"m", packed, b"m", b"ignored"],
    ):
        assert decode_frame(fields, RATE).pcm == b"\1"
        assert decode_end(fields).interaction_id == peek_id(fields) == "m"
    for fields in ([b"m", b"broken", b"data", text], [b"data", text, b"m", b""]):
        for decode in (lambda one: decode_frame(one, RATE), decode_end):
            with pytest.raises(Junk) as junk:
                decode(fields)
            assert str(junk.value).startswith("m is no MessagePack map: ")
        assert peek_id(fields) is None
    assert decode_frame([b"x", b"m", b"data", text], RATE).pcm == b"\2"


@pytest.mark.parametrize("fields", [[], [b"m"], [b"x", b"m"], [b"M", b"\x80"], [b"x", b"y", b"m"]])
def test_an_entry_without_an_envelope_is_junk(fields: list[bytes]) -> None:
    for decode in (lambda one: decode_frame(one, RATE), decode_end):
        with pytest.raises(Junk) as junk:
            decode(fields)
        assert (junk.value.kind, str(junk.value)) == ("no_data", "the entry has no field 'data' or 'm'")
    assert peek_id(fields) is None


def test_a_message_says_which_form_it_was() -> None:
    for fields, start in (
        ([b"m", b"\x90"], "m is no MessagePack map: "),
        ([b"data", b"[]"], "data is no JSON object: "),
    ):
        with pytest.raises(Junk) as junk:
            decode_frame(fields, RATE)
        assert str(junk.value).startswith(start)


# -- ends and ids ----------------------------------------------------------------------------------------


def test_an_end_may_be_packed() -> None:
    end = {"interaction_id": "call", "tenant_id": "t", "reason": "stopped", "timestamp_ms": 1}
    assert decode_end([b"m", pack(end)]) == CallEnd("call", "stopped")
    assert decode_end([b"m", pack({"interaction_id": "call"})]) == CallEnd("call")
    for odd in (None, b"stopped", 17, ["x"], {1: 2}):
        assert decode_end([b"m", pack(end | {"reason": odd})]) == CallEnd("call")
    assert len(decode_end([b"m", pack(end | {"reason": "x" * 1_000_000})]).reason) == 256
    for document in ({}, {"interaction_id": 5}, {"interaction_id": b"call"}, {"interaction_id": "a{"}):
        with pytest.raises(Junk) as junk:
            decode_end([b"m", pack(document)])
        assert junk.value.kind == "interaction_id"


def test_whose_frame_it_is() -> None:
    assert peek_id([b"m", pack({"audio": PCM, "interaction_id": "call", "x": {"y": b"z"}})]) == "call"
    for nobody in (pack({}), b"\x81", b"", pack({"interaction_id": 5}), pack({"interaction_id": b"call"})):
        assert peek_id([b"m", nobody]) is None

"""The page for producers (docs/entries.md) and its schema say what the decoder does; its examples work."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from trio_asr.wire import encodings, frames, lenient, meta
from trio_asr.wire.audio_format import MOST_CHANNELS, SILENCE, audio_format
from trio_asr.wire.codes import DeadLetterKind
from trio_asr.wire.encodings import ENCODINGS, RARE, RATED
from trio_asr.wire.entries import decode_end, decode_frame
from trio_asr.wire.frames import Frame, Junk

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "entries.md").read_text()
SCHEMA = json.loads((DOCS / "entry.schema.json").read_text())
PROPERTIES = SCHEMA["properties"]
VALID = jsonschema.Draft202012Validator(SCHEMA)
RATE = 8000
AUDIO = base64.b64encode(bytes(range(160))).decode()
LEAST: dict[str, Any] = {"interaction_id": "call", "audio": AUDIO}


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def code(language: str) -> str:
    found = re.search(rf"^```{language}\n(.+?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def decode(document: dict[str, Any]) -> Frame:
    return decode_frame([b"data", json.dumps(document).encode()], RATE)


# -- the schema and the types of the decoder -------------------------------------------------------------


def types() -> dict[str, list[Any]]:
    """What each property of an envelope may be, as the decoder has it."""
    info = inspect.type_info(Frame)
    assert isinstance(info, inspect.StructType)
    fields = [field for field in info.fields if not field.encode_name.startswith("~")]
    return {
        field.encode_name: list(field.type.types)
        if isinstance(field.type, inspect.UnionType)
        else [field.type]
        for field in fields
    }


def required() -> list[str]:
    info = inspect.type_info(Frame)
    assert isinstance(info, inspect.StructType)
    return [field.encode_name for field in info.fields if field.required]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["required"]) == set(required())


def test_the_schema_has_the_names_of_the_decoder() -> None:
    assert set(PROPERTIES) == set(types())


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_schema_has_the_types_and_limits_of_the_decoder(name: str) -> None:
    said, kinds = dict(PROPERTIES[name]), types()[name]
    said.pop("description")
    nullable = any(isinstance(kind, inspect.NoneType) for kind in kinds)
    (kind,) = (kind for kind in kinds if not isinstance(kind, inspect.NoneType))
    if isinstance(kind, inspect.LiteralType):
        assert sorted(said["enum"], key=str) == sorted([*kind.values, *[None] * nullable], key=str)
        assert set(kind.values) == (set(ENCODINGS) if name == "encoding" else {*range(1, MOST_CHANNELS + 1)})
        return
    of: dict[type, str] = {
        inspect.IntType: "integer", inspect.StrType: "string", inspect.BytesType: "string",
        inspect.VarTupleType: "array", inspect.RawType: "object",
    }  # fmt: skip
    wanted = of[type(kind)]
    assert said["type"] == ([wanted, "null"] if nullable or wanted == "object" else wanted)
    if isinstance(kind, inspect.IntType):
        assert (said["minimum"], said["maximum"]) == (kind.ge, kind.le)
    elif name == "interaction_id":  # which `check_id` checks
        assert (said["minLength"], said["maxLength"]) == (1, frames.MAX_ID_LENGTH)
    elif isinstance(kind, inspect.StrType):
        assert (said.get("minLength"), said["maxLength"]) == (kind.min_length, kind.max_length)
    elif isinstance(kind, inspect.VarTupleType):
        role = kind.item_type
        assert isinstance(role, inspect.StrType)
        assert (said["items"]["minLength"], said["items"]["maxLength"]) == (role.min_length, role.max_length)


# -- what it accepts, and what it refuses ----------------------------------------------------------------

printable = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="{}"), min_size=1, max_size=9
)
numbers = st.integers(-(2**63), 2**63 - 1)
optional: dict[str, st.SearchStrategy[Any]] = {
    "encoding": st.sampled_from(list(ENCODINGS)),
    "sample_rate": st.integers(4000, 96_000),
    "position": st.none() | st.integers(0, 2**53),
    "seq": st.none() | numbers,
    "timestamp_ms": st.none() | st.integers(1 - frames.LATEST_MS, frames.LATEST_MS - 1),
    "tenant_id": st.text(max_size=20),
    "trace_id": st.none() | st.text(max_size=20),
    "meta": st.none() | st.dictionaries(st.text(max_size=5), numbers | st.text(max_size=5), max_size=3),
    "unknown": numbers | st.text(max_size=5),
}
legs: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.sampled_from([{"channels": 1}, {"channels": None}, {"channels": 2}]),
    st.builds(lambda role: {"roles": [role]}, printable),
    st.builds(lambda one, two: {"channels": 2, "roles": [one, two]}, printable, printable),
)
accepted = st.builds(
    lambda document, more, audio: document | more | {"audio": base64.b64encode(audio).decode()},
    st.fixed_dictionaries({"interaction_id": printable}, optional=optional),
    legs,
    st.binary(max_size=99),
)


@given(accepted)
def test_what_the_schema_accepts_is_decoded_fast(document: dict[str, Any]) -> None:
    VALID.validate(document)
    frame = decode(document)
    assert not frame.odd
    assert frame.pcm == base64.b64decode(document["audio"])
    assert frame.format == audio_format(
        document.get("sample_rate", RATE),
        ENCODINGS[document.get("encoding", "linear16")],
        document.get("channels") or 1,
    )
    packed = decode_frame([b"m", msgspec.msgpack.encode(document | {"audio": frame.pcm})], RATE)
    assert (packed.pcm, packed.format, packed.position) == (frame.pcm, frame.format, frame.position)
    assert not packed.odd


# What the page says of bad values: refused as this kind, or taken like the document without the field, or
# with this value.
ABSENT = object()
NEAR: list[tuple[str, list[Any], Any]] = [
    ("interaction_id", ["", "x" * 257, "a{b", "a}", "a\nb", "\u202ea", 5, None], "interaction_id"),
    ("audio", ["A", "AA AA", "ä", 5, None, [1, 256], "b'AAA='", "data:,AAA="], "audio"),
    ("audio", [AUDIO.rstrip("=")], base64.b64decode(AUDIO)),
    ("audio", [base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode()], b"\xff\xfe\xfd"),
    ("audio", [[251, 255], {"type": "Buffer", "data": [251, 255]}], b"\xfb\xff"),
    ("audio", ["data:audio/wav;base64,+/8=", "+/8%3D", "+w==/w==", "\ufeff+/8=\r\n"], b"\xfb\xff"),
    ("encoding", ["opus", "G722", "amr", "g711", 5, ["mulaw"]], "encoding"),
    ("encoding", ["PcmU", " mulaw ", "audio/x-mulaw;rate=8000", "g711.ulaw", "µ-law", "PCMU/8000"], "mulaw"),
    ("encoding", [None], "linear16"),
    ("encoding", [name for name, rate in RATED.items() if rate != RATE], "sample_rate"),
    ("encoding", [name for name, rate in RATED.items() if rate == RATE], "linear16"),
    ("sample_rate", [3999, 96_001, 8000.5, "fast", True, -8000, 0], "sample_rate"),
    ("sample_rate", ["16000", "16000.0", " 16000 ", "1.6e4"], 16_000),
    ("sample_rate", [None], RATE),
    ("channels", [0, 3, -1, 1.5, "3", ["a", "b", "c"], [], {}, True, "two", "2ch", ""], "channels"),
    ("channels", ["2", "2.0", "2 ", "stereo", ["external", "internal"]], 2),
    ("channels", ["1", "1e0", "mono", ["external"]], 1),
    ("roles", [[], ["a", "b"], [""], ["x" * 65], ["a\nb"], [5], "agent", 5, {}], "roles"),
    ("position", [-1, 0.5, 2**53 + 1, "x", True, []], ABSENT),
    ("position", ["160"], 160),
    ("seq", [7.5, "x", 2**63, True, []], ABSENT),
    ("seq", ["7"], 7),
    ("timestamp_ms", ["x", 2**63, True, []], ABSENT),
    ("timestamp_ms", [20.4, "20", "20.4", "2.0E1", "20 "], 20),
    ("tenant_id", ["x" * 257, 5, None, []], ABSENT),
    ("trace_id", ["x" * 257, 5, []], ABSENT),
]


@pytest.mark.parametrize(
    ("name", "value", "outcome"),
    [(name, value, outcome) for name, values, outcome in NEAR for value in values],
    ids=lambda value: repr(value)[:20],
)
def test_what_the_schema_refuses_is_refused_or_taken_leniently(name: str, value: Any, outcome: Any) -> None:
    document = LEAST | {name: value}
    assert not VALID.is_valid(document)
    if isinstance(outcome, str) and outcome in {*DeadLetterKind}:
        with pytest.raises(Junk) as junk:
            decode(document)
        assert junk.value.kind == outcome
        return
    taken, plain = decode(document), decode(LEAST)
    if name == "channels":
        assert taken.format.channels == outcome
        return
    if name == "encoding":
        assert taken.format == audio_format(RATE, outcome, 1)
        return
    attribute = "pcm" if name == "audio" else name
    assert getattr(taken, attribute) == (getattr(plain, attribute) if outcome is ABSENT else outcome)


@pytest.mark.parametrize("missing", ["interaction_id", "audio"])
def test_what_is_required(missing: str) -> None:
    document = {name: value for name, value in LEAST.items() if name != missing}
    assert not VALID.is_valid(document)
    with pytest.raises(Junk) as junk:
        decode(document)
    assert junk.value.kind == missing


@pytest.mark.parametrize("bad", [5, [], "text", True])
def test_meta_that_is_no_object_costs_no_audio(bad: Any) -> None:
    assert not VALID.is_valid(LEAST | {"meta": bad})
    with pytest.raises(meta.BadMeta):
        meta.read_meta(decode(LEAST | {"meta": bad}).meta)


# -- the page --------------------------------------------------------------------------------------------


def rows(text: str) -> dict[str, str]:
    """The rows of a page's tables by the name or names in the first cell."""
    found = re.findall(r"^\| (`.+?`) \|(.+)\|$", text, re.MULTILINE)
    return {name: row for names, row in found for name in re.findall(r"`(\w+)`", names)}


def test_the_page_has_the_names_of_the_decoder_and_of_its_later_ones() -> None:
    fields = rows(section("Fields"))
    assert set(fields) == set(types())
    assert set(re.findall(r"`(\w+)`", fields["audio"])) >= set(lenient.Media.__struct_fields__) - {"audio"}


def test_the_page_says_what_becomes_a_dead_letter() -> None:
    kinds = {kind.value for kind in DeadLetterKind}
    assert set(rows(section("What cannot be used"))) == kinds
    refused = {
        name for name, row in rows(section("Fields")).items() if f"`{name}`" in row.rpartition("refused: ")[2]
    }
    assert refused == kinds & set(types())


def test_the_page_has_the_names_of_encodings() -> None:
    text = section("Encodings")
    for encoding, row in zip(SILENCE, text.split("\n| ")[2:5], strict=True):
        cells = row.split("|")
        names = {name.strip('"') for name in re.findall(r"`([^`]*)`", cells[2])}
        assert names == {name for name, of in ENCODINGS.items() if of == encoding and name == name.lower()}
        assert cells[1].strip() == str(len(SILENCE[encoding]))
    rated = text.partition("\n`slin8`")[2].partition(" are linear16 of one rate")[0]
    assert set(re.findall(r"`([^`]+)`", "`slin8`" + rated)) == set(RATED)
    rare = text.partition("in front; and ")[2].partition(" are linear16 too")[0]
    assert tuple(re.findall(r"`([^`]+)`", rare)) == RARE
    for spelling in re.findall(r"`([^`]+)`", text.partition(" may follow: ")[2].partition(". Beside")[0]):
        said = encodings.read(spelling)
        assert said is not None
        assert said.rate in (8000, 16_000)


def test_the_page_has_the_limits() -> None:
    said = section("Fields") + section("An entry") + section("Meta")
    assert frames.MAX_ENTRY_BYTES == 2 * 2**20
    assert "at most 2 MiB" in said
    assert lenient.MAX_ODD_BYTES == 256 * 1024
    assert "up to 256 KB" in said
    assert f"{frames.MIN_SAMPLE_RATE}-{frames.MAX_SAMPLE_RATE} " in said
    assert frames.MAX_POSITION == 2**53
    assert "0 to 2^53" in said
    assert f"1-{frames.MAX_ROLE_LENGTH} printable" in said
    assert f"1-{frames.MAX_ID_LENGTH} printable" in said
    assert f"up to {meta.MAX_META_BYTES} bytes" in said
    assert f"up to {meta.MAX_META_DEPTH} levels" in said


def test_the_entries_it_shows_are_entries() -> None:
    (frame,) = re.findall(r"^    XADD audio_stream \* data '(.+)'$", PAGE, re.MULTILINE)
    (end,) = re.findall(r"^    XADD call_end \* data '(.+)'$", PAGE, re.MULTILINE)
    VALID.validate(json.loads(frame))
    decoded = decode(json.loads(frame))
    assert (decoded.format, decoded.odd) == (audio_format(8000, "mulaw", 1), False)
    assert decode_end([b"data", end.encode()]).reason == "hung up"


# -- its producers ---------------------------------------------------------------------------------------


def is_the_call(audio: list[list[bytes]], ends: list[list[bytes]]) -> None:
    """Check the entries of an example: a second of both legs, in pieces of 20 ms."""
    assert len(audio) == 50
    for number, fields in enumerate(audio):
        frame = decode_frame(fields, 16_000)
        assert frame.format is audio_format(8000, "mulaw", 2)
        assert (frame.interaction_id, frame.tenant_id, frame.roles) == (
            "call-17",
            "acme",
            ("customer", "agent"),
        )
        assert (frame.position, frame.misplaced, frame.odd) == (160 * number, False, False)
        assert frame.pcm == b"\xff" * 320
        assert frame.timestamp_ms is not None
        assert meta.read_meta(frame.meta) == ({"queue": "sales"} if number == 0 else {})
    assert [decode_end(fields) for fields in ends] == [frames.CallEnd("call-17", "hung up")]


def test_the_python_producer(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    running: dict[str, Any] = {}
    exec(compile(code("python"), "entries.md", "exec"), running)
    client: Any = redis.Redis.from_url(redis_url)
    try:
        streams = [
            [[part for pair in fields.items() for part in pair] for _, fields in client.xrange(stream)]
            for stream in ("audio_stream", "call_end")
        ]
        is_the_call(*streams)
        # The samples are in turn.
        running["publish"]("two", 0, b"\1\2\3", b"\4\5\6")
        ((_, last),) = client.xrevrange("audio_stream", count=1)
        assert decode_frame([b"m", last[b"m"]], RATE).pcm == b"\1\4\2\5\3\6"
    finally:
        client.close()
        running["client"].close()


# Stand-ins for its two packages: an envelope in JSON, its audio in base64, and entries on standard output.
STUBS = {
    "ioredis": "export class Redis { async xadd(...args) { console.log(JSON.stringify(args.map(String))); }"
    " async quit() {} }",
    "@msgpack/msgpack": "export const encode = (envelope) => Buffer.from(JSON.stringify(envelope, plain));"
    " const plain = (_, value) =>"
    ' value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;',
}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node (Debian: nodejs)")
def test_the_node_producer(tmp_path: Path) -> None:
    for name, source in STUBS.items():
        package = tmp_path / "node_modules" / name
        package.mkdir(parents=True)
        (package / "package.json").write_text('{"type":"module","main":"index.js"}')
        (package / "index.js").write_text(source)
    script = tmp_path / "producer.mjs"
    script.write_text(
        code("js") + 'await publish("two", 0, Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5, 6));\n'
    )
    done = subprocess.run(["node", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *entries, two = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(entry[1], entry[2]) for entry in entries} == {("*", "m")}
    streams = [
        [[b"data", entry[3].encode()] for entry in entries if entry[0] == stream]
        for stream in ("audio_stream", "call_end")
    ]
    is_the_call(*streams)
    assert decode(json.loads(two[3])).pcm == b"\1\4\2\5\3\6"


def test_the_node_producer_has_the_names_of_the_python_one() -> None:
    """Also where there is no node."""

    def names(text: str) -> set[str]:
        found = set(re.findall(r'^ +"?(\w+)"?(?=:|,$)', text.partition("envelope = {")[2], re.MULTILINE))
        return found & set(types())

    assert names(code("js")) == names(code("python")) == set(types()) - {"seq", "trace_id", "meta"}

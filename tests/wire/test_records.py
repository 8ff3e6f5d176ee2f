"""What may be stored of a call and of the reader: anything is read or refused in words, nothing else."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.outbox import Outbox
from trio_asr.core.timeline import Timeline
from trio_asr.wire import ids
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.records import (
    VERSION,
    Checkpoint,
    NewerState,
    ReaderState,
    Stored,
    Unreadable,
    decode_checkpoint,
    decode_reader,
    encode,
    read_checkpoint,
    read_reader,
)
from trio_asr.wire.resume_point import PAST_END, Ahead, ResumePoint
from trio_asr.wire.transcripts import Item, Topics

IDS = st.builds(lambda a, b: f"{a}-{b}", st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
TEXT = st.text(max_size=20)


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    rate = draw(st.sampled_from([8000, 16000, 44100, 96000]))
    finalized = draw(st.integers(0, 2**40))
    rate_from = draw(st.integers(0, finalized))
    place = ResumePoint(
        finalized,
        draw(IDS),
        draw(st.one_of(st.integers(0, 2**20), st.just(PAST_END))),
        2 * finalized + draw(st.integers(0, 2 * 60 * rate)),
        rate,
        rate_from,
        draw(st.integers(0, 2**50)),
    )
    ended = draw(st.one_of(st.just(""), IDS))
    trace = draw(st.one_of(st.none(), TEXT))
    return Checkpoint(
        place, draw(st.integers(0, 2**31)), draw(st.integers(0, 2**20)), draw(TEXT), trace, ended
    )


@given(checkpoints())
def test_what_is_written_is_read(checkpoint: Checkpoint) -> None:
    assert decode_checkpoint(encode(checkpoint)) == checkpoint
    Timeline(checkpoint.place)
    Outbox("x", Topics("t", "e", 1), Stored(1, encode(checkpoint)), "another")


@given(IDS, IDS, IDS, IDS)
def test_what_is_written_of_the_reader_is_read(a: str, b: str, c: str, d: str) -> None:
    state = ReaderState(a, b, c, d)
    assert decode_reader(encode(state)) == state
    assert read_reader(Stored(3, encode(state))) == state


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
GOOD: dict[str, Any] = msgspec.json.decode(
    encode(Checkpoint(ResumePoint(800, "5-1", 20, 1600, 8000, 0, 0), 3, 1, "t", None, ""))
)


def read_well(read: Checkpoint | ReaderState, state: bytes) -> None:
    if isinstance(read, Checkpoint):
        Outbox("x", Topics("t", "e", 1), Stored(1, state))
        timeline = Timeline(read.place)
        assert timeline.finalized <= timeline.received
        timeline.append("9-9", bytes(10), audio_format(8000), offset=read.place.offset)
        timeline.resume_point(timeline.finalized)
        timeline.ms(timeline.received)
    else:
        known = (one for one in msgspec.structs.astuple(read) if isinstance(one, str))
        assert all(map(ids.is_id, known))


@given(
    st.one_of(
        st.binary(max_size=60),
        JSON.map(encode),
        st.tuples(st.sampled_from(sorted(GOOD)), JSON).map(lambda two: encode(GOOD | {two[0]: two[1]})),
        st.tuples(st.sampled_from(sorted(GOOD["place"])), JSON).map(
            lambda two: encode(GOOD | {"place": GOOD["place"] | {two[0]: two[1]}})
        ),
        st.integers(0, len(encode(GOOD)) - 1).map(lambda end: encode(GOOD)[:end]),
    )
)
def test_anything_is_read_or_refused(state: bytes) -> None:
    """What is read is good for all that a call does with it."""
    for decode in (decode_checkpoint, decode_reader):
        try:
            read = decode(state)
        except Unreadable as error:
            refused = str(error)
        else:
            refused = ""
            read_well(read, state)
        assert len(refused) < 1000


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"entry": "x"}, "entry 'x'"),
        ({"entry": "5"}, "entry '5'"),
        ({"entry": f"{2**64}-0"}, "no entry id"),
        ({"finalized": -1}, "finalized"),
        ({"rate_from": 801}, "rate_from"),
        ({"at": 1599}, "at 1599"),
        ({"at": 2**60}, "does not fit"),
        ({"rate": -1}, "rate -1"),
        ({"rate": 2**40}, "rate"),
        ({"rate": 0}, "without a rate"),
        ({"offset": -1}, "offset"),
        ({"rate_us": -5}, "rate_us"),
    ],
)
def test_a_place_that_cannot_be(change: dict[str, Any], named: str) -> None:
    with pytest.raises(Unreadable, match=named.replace("(", "[(]")):
        decode_checkpoint(encode(GOOD | {"place": GOOD["place"] | change}))


@pytest.mark.parametrize("field", ["audio_floor", "end_floor", "audio_junk", "end_junk"])
def test_a_reader_that_cannot_be(field: str) -> None:
    with pytest.raises(Unreadable, match=field):
        decode_reader(encode({field: "never"}))


def test_a_fault_is_what_was_found() -> None:
    for read in (read_checkpoint, read_reader):
        with pytest.raises(Unreadable, match="the key is a list"):
            read(Stored(fault="the key is a list"))


@pytest.mark.parametrize(
    ("said", "seq"),
    [(b"", 0), (b'{"seq": 7}', 7), (b"{}", 0), (b"{", 0), (b'{"seq": -7}', 0), (b'{"seq": 99999999999}', 0)],
)
def test_a_fresh_call_goes_on_with_the_seq_of_its_stream(said: bytes, seq: int) -> None:
    assert read_checkpoint(Stored(said=said)) == Checkpoint(seq=seq)


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        (b'{"seq":7,"connection":3}', (7, 3)),
        (b'{"seq":7,"connection":null}', (7, 0)),
        (b'{"seq":null,"connection":3}', (0, 3)),
        (b'{"seq":7.0,"connection":"3"}', (7, 3)),
        (b'{"seq":"7","connection":-1}', (7, 0)),
        (b'{"seq":7,"connection":99999999999999999999999}', (7, 0)),
        (b'{"seq":7,"connection":1e400,"text":"\\ud800","x":NaN}', (7, 0)),
        (b'{"seq":7.5,"connection":true}', (0, 0)),
        (b'{"seq":2147483648,"connection":2147483647}', (0, 2147483647)),
        (b"[7]", (0, 0)),
        (b"\xff", (0, 0)),
    ],
)
def test_an_odd_number_of_the_last_message_costs_no_other(said: bytes, numbers: tuple[int, int]) -> None:
    seq, connection = numbers
    assert read_checkpoint(Stored(said=said)) == Checkpoint(seq=seq, connection=connection)


@given(checkpoints())
def test_over_is_until_something_is_committed_after_the_end(checkpoint: Checkpoint) -> None:
    over = bool(checkpoint.ended) and ids.key(checkpoint.place.entry) <= ids.key(checkpoint.ended)
    assert checkpoint.over is over


# -- what other versions read ------------------------------------------------------------------------------

# The bytes of the first version, which must be able to take a call of plain audio over again.
PLAIN = (
    b'{"place":{"finalized":8000,"entry":"1700000000000-1","offset":320,"at":16320,"rate":8000,"rate_from":0,'
    b'"rate_us":0},"seq":0,"connection":2,"tenant_id":"tenant","trace_id":null,"ended":""}'
)
PLAIN_AHEAD = (
    b'{"place":{"finalized":24000,"entry":"1700000000000-1","offset":0,"at":48000,"rate":16000,'
    b'"rate_from":8000,"rate_us":1000000,"ahead":{"entries":["1700000000020-0"],"entry":"1700000000040-0",'
    b'"offset":64}},"seq":0,"connection":2,"tenant_id":"tenant","trace_id":"trace","ended":"1700000000060-0"}'
)
READER = b'{"audio_floor":"1-1","end_floor":"2-2","audio_junk":"3-3","end_junk":"4-4"}'
AHEAD = Ahead(("1700000000020-0",), "1700000000040-0", 64)


def committed(point: ResumePoint, trace_id: str | None = None, ended: str | None = None) -> bytes:
    """Return the state that a call's commit stores."""
    outbox = Outbox("x", Topics("t", "e", 1), Stored(), "tenant")
    outbox.tenant_id, outbox.trace_id, outbox.connection = "tenant", trace_id, 2
    outbox.roles = ("customer", "agent")
    outbox.put(Item(resume_point=point, ended=ended))
    commit = outbox.next_commit(1)
    assert commit is not None
    return commit.state


def test_the_state_of_plain_audio_is_the_first_versions_byte_for_byte() -> None:
    point = ResumePoint(8000, "1700000000000-1", 320, 16320, 8000, 0, 0)
    assert committed(point) == PLAIN
    point = ResumePoint(24000, "1700000000000-1", 0, 48000, 16000, 8000, 1_000_000, AHEAD)
    assert committed(point, "trace", "1700000000060-0") == PLAIN_AHEAD
    assert encode(ReaderState("1-1", "2-2", "3-3", "4-4")) == READER


@pytest.mark.parametrize("state", [PLAIN, PLAIN_AHEAD])
def test_the_first_versions_state_is_read_and_written_again_as_it_was(state: bytes) -> None:
    assert encode(decode_checkpoint(state)) == state
    assert decode_checkpoint(state).place.format is audio_format(decode_checkpoint(state).place.rate)
    assert encode(decode_reader(READER)) == READER


# What the decoders of the first version look for. They pass over whatever else there is.
KNOWN = {
    "": {"place", "seq", "connection", "tenant_id", "trace_id", "ended"},
    "place": {"finalized", "entry", "offset", "at", "rate", "rate_from", "rate_us", "ahead"},
    "ahead": {"entries", "entry", "offset"},
}


@given(checkpoints(), st.sampled_from([msgspec.UNSET, AHEAD]))
def test_the_first_version_passes_over_nothing_of_plain_audio(
    checkpoint: Checkpoint, ahead: Ahead | msgspec.UnsetType
) -> None:
    state = msgspec.json.decode(committed(msgspec.structs.replace(checkpoint.place, ahead=ahead)))
    assert state.keys() == KNOWN[""]
    assert state["place"].keys() | {"ahead"} == KNOWN["place"]
    assert {*state["place"].get("ahead", KNOWN["ahead"])} == KNOWN["ahead"]


@pytest.mark.parametrize(
    "more",
    [
        {"encoding": "mulaw", "channels": 1, "at": 8000},
        {"encoding": "alaw", "channels": 2, "lead": (0, 160)},
        {"encoding": "linear16", "channels": 2, "at": 32_000},
    ],
)
def test_the_state_of_other_audio_says_its_version(more: dict[str, Any]) -> None:
    """The first version would pass over what makes it another; every later one compares."""
    point = msgspec.structs.replace(ResumePoint(8000, "5-1", 0, 16_000, 8000), **more)
    state = committed(point)
    assert msgspec.json.decode(state)["version"] == VERSION == 2
    assert decode_checkpoint(state).place == point
    assert decode_checkpoint(state).roles == ("customer", "agent")


@pytest.mark.parametrize("version", [3, 4, 1000, 2**62])
@pytest.mark.parametrize("more", [{}, {"place": "elsewhere"}, {"seq": None}])
def test_a_state_of_a_later_version_is_neither_read_nor_broken(version: int, more: dict[str, Any]) -> None:
    """Whatever else it says: what this version would call broken may mean something to the other."""
    said = f"state of version {version}; this program knows versions up to 2"
    for read in (decode_checkpoint, lambda state: read_checkpoint(Stored(4, state))):
        with pytest.raises(NewerState, match=said):
            read(encode(GOOD | {"version": version} | more))


@pytest.mark.parametrize("version", [-1, 0, 1, 2])
def test_a_state_of_a_version_that_is_known_is_read(version: int) -> None:
    assert decode_checkpoint(encode(GOOD | {"version": version})).place.finalized == 800


@pytest.mark.parametrize("version", ["3", None, [3], 3.5])
def test_a_version_that_is_no_number_is_a_broken_state(version: Any) -> None:
    with pytest.raises(Unreadable, match="version"):
        decode_checkpoint(encode(GOOD | {"version": version}))


# -- several channels, other encodings, other versions ---------------------------------------------------


def test_the_state_of_plain_audio_is_what_it_always_was() -> None:
    """Byte for byte: these were written by the worker before there were channels, and are read by it."""
    plain = ResumePoint(800, "5-1", 20, 1600, 8000, 400, 50_000)
    ahead = msgspec.structs.replace(plain, ahead=Ahead(("7-0",), "6-0", 4))
    for checkpoint, state in (
        (
            Checkpoint(plain, 3, 1, "t", None, ""),
            (
                b'{"place":{"finalized":800,"entry":"5-1","offset":20,"at":1600,"rate":8000,"rate_from":400,'
                b'"rate_us":50000},"seq":3,"connection":1,"tenant_id":"t","trace_id":null,"ended":""}'
            ),
        ),
        (
            Checkpoint(ahead, 3, 1, "t", "x", "9-0"),
            (
                b'{"place":{"finalized":800,"entry":"5-1","offset":20,"at":1600,"rate":8000,"rate_from":400,'
                b'"rate_us":50000,"ahead":{"entries":["7-0"],"entry":"6-0","offset":4}},"seq":3,"connection":1,'
                b'"tenant_id":"t","trace_id":"x","ended":"9-0"}'
            ),
        ),
    ):
        assert encode(checkpoint) == state
        assert decode_checkpoint(state) == checkpoint


def test_a_call_of_plain_audio_stores_what_it_always_did() -> None:
    outbox, timeline = Outbox("x", Topics("t", "e", 1), Stored()), Timeline(ResumePoint())
    timeline.append("5-1", bytes(3200), audio_format(8000))
    outbox.roles = ("customer",)
    outbox.put(Item(resume_point=timeline.finalize(800)))
    commit = outbox.next_commit(1)
    assert commit is not None
    assert commit.state == (
        b'{"place":{"finalized":800,"entry":"5-1","offset":1600,"at":1600,"rate":8000,"rate_from":0,'
        b'"rate_us":0},"seq":0,"connection":0,"tenant_id":"","trace_id":null,"ended":""}'
    )


@pytest.mark.parametrize(
    ("fmt", "fields"),
    [
        (audio_format(8000, "mulaw"), {"encoding": "mulaw", "channels": 1}),
        (audio_format(8000, "alaw", 2), {"encoding": "alaw", "channels": 2}),
        (audio_format(8000, "linear16", 2), {"encoding": "linear16", "channels": 2}),
    ],
)
def test_the_state_of_other_audio_names_its_format_and_its_version(
    fmt: Format, fields: dict[str, Any]
) -> None:
    timeline = Timeline(ResumePoint())
    timeline.append("5-1", bytes(fmt.bytes_per_s), fmt)
    outbox = Outbox("x", Topics("t", "e", 1), Stored())
    outbox.put(Item(resume_point=timeline.finalize(800)))
    commit = outbox.next_commit(1)
    assert commit is not None
    state = msgspec.json.decode(commit.state)
    at = 800 * fmt.width
    assert state["place"] == {
        "finalized": 800, "entry": "5-1", "offset": at, "at": at, "rate": 8000, "rate_from": 0, "rate_us": 0,
        **fields,
    }  # fmt: skip
    assert state["version"] == VERSION
    read = decode_checkpoint(commit.state)
    assert (read.place.format, read.place.cursors) == (fmt, [800] * fmt.channels)


OTHER: dict[str, Any] = {"encoding": "mulaw", "channels": 2, "at": 1600, "lead": [0, 80]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"channels": 0}, "channels 0"),
        ({"channels": 3}, "channels 3"),
        ({"channels": -1}, "channels -1"),
        ({"channels": "2"}, "str"),
        ({"encoding": "opus"}, "opus"),
        ({"encoding": None}, "null"),
        ({"lead": [0]}, "lead [0]"),
        ({"lead": [0, 1, 2]}, "lead [0, 1, 2]"),
        ({"lead": []}, "lead []"),
        ({"lead": [1, 1]}, "lead [1, 1]"),
        ({"lead": [0, -1]}, "lead [0, -1]"),
        ({"lead": [0, 2**51]}, "lead"),
        ({"lead": [0, 1.5]}, "int"),
        ({"lead": [0] * 9}, "lead [0, 0, 0, 0]"),
        ({"channels": 1}, "lead [0, 80]"),
        ({"at": 1599}, "at 1599"),
        ({"at": 1600 + 2 * 61 * 96_000 + 1}, "at"),
        ({"rate": 96_001}, "rate 96001"),
    ],
)
def test_a_place_of_two_channels_that_cannot_be(change: dict[str, Any], named: str) -> None:
    decode_checkpoint(encode(GOOD | {"place": GOOD["place"] | OTHER}))
    with pytest.raises(Unreadable, match=re.escape(named)):
        decode_checkpoint(encode(GOOD | {"place": GOOD["place"] | OTHER | change}))


def test_roles_are_no_more_than_channels_can_be() -> None:
    for roles in ([], ["customer"], ["customer", "agent"]):
        assert decode_checkpoint(encode(GOOD | {"roles": roles})).roles == tuple(roles)
    with pytest.raises(Unreadable, match="3 roles"):
        decode_checkpoint(encode(GOOD | {"roles": ["a", "b", "c"]}))


@pytest.mark.parametrize("more", [{}, {"place": "elsewhere"}, {"seq": -1, "news": [1]}])
def test_the_state_of_a_later_version_is_none_to_be_read_or_set_aside(more: dict[str, Any]) -> None:
    """Whatever it looks like."""
    state = encode(GOOD | {"version": VERSION + 1} | more)
    too_new = "state of version 3; this program knows versions up to 2"
    with pytest.raises(NewerState, match=too_new):
        decode_checkpoint(state)
    with pytest.raises(NewerState, match=too_new):
        read_checkpoint(Stored(1, state))


@pytest.mark.parametrize("version", [0, 1, VERSION])
def test_the_state_of_an_earlier_version_is_read(version: int) -> None:
    assert decode_checkpoint(encode(GOOD | {"version": version})).place.finalized == 800


@pytest.mark.parametrize("version", ["3", None, [3], True])
def test_a_version_that_is_no_number_is_that_of_no_state(version: Any) -> None:
    with pytest.raises(Unreadable):
        decode_checkpoint(encode(GOOD | {"version": version}))


@given(
    st.sampled_from([audio_format(8000, "mulaw", 2), audio_format(8000, "linear16", 2)]),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 400)), max_size=8),
)
def test_where_two_channels_are_is_stored_and_read(fmt: Format, finals: list[tuple[int, int]]) -> None:
    timeline = Timeline(ResumePoint())
    timeline.append("5-1", bytes(fmt.width * 2000), fmt)
    for channel, samples in finals:
        timeline.finalize(min(2000, timeline.cursors[channel] + samples), channel)
    point = timeline.resume_point(timeline.finalized)
    assert (point.lead is msgspec.UNSET) == (timeline.cursors[0] == timeline.cursors[1])
    again = Timeline(decode_checkpoint(encode(Checkpoint(point, version=VERSION))).place)
    assert (again.cursors, again.finalized) == (timeline.cursors, timeline.finalized)
    again.append("5-1", bytes(fmt.width * 2000), fmt, offset=point.offset)
    assert again.received == timeline.received
    assert again.resume_point(again.finalized) == point

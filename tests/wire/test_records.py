"""What may be stored of a call and of the reader: anything is read or refused in words, nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.outbox import Outbox
from trio_asr.core.timeline import Timeline
from trio_asr.wire import ids
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.records import (
    Checkpoint,
    ReaderState,
    Stored,
    Unreadable,
    decode_checkpoint,
    decode_reader,
    encode,
    read_checkpoint,
    read_reader,
)
from trio_asr.wire.resume_point import PAST_END, ResumePoint
from trio_asr.wire.transcripts import Topics

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
        assert all(ids.is_id(entry) for entry in msgspec.structs.astuple(read))


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


@given(checkpoints())
def test_over_is_until_something_is_committed_after_the_end(checkpoint: Checkpoint) -> None:
    over = bool(checkpoint.ended) and ids.key(checkpoint.place.entry) <= ids.key(checkpoint.ended)
    assert checkpoint.over is over

"""Frames that come late: each in its place, at its true time, over any number of kills.

The samples of the producer are 1, 2, 3, ...; what was heard of a call, up to what was committed each time,
must be just these, with zeros for the frames that never came.
"""

import math
import struct
from copy import copy
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.examples import examples

from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.order import MOST_WAITING
from trio_asr.core.outbox import Outbox
from trio_asr.core.reader_state import REPLAY_MARGIN_MS
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.core.repeats import LATE_WINDOW
from trio_asr.wire import ids
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.frames import Frame
from trio_asr.wire.records import Outcome, Stored, decode_checkpoint
from trio_asr.wire.resume_point import Ahead
from trio_asr.wire.transcripts import Item, Topics

FRAME_MS, RATE = 20, 100  # two samples a frame
REORDER_MS = 600
BEGIN_MS = 1_700_000_000_000
BOUNDS = Bounds(1000, 120.0, REORDER_MS)
TOPICS = Topics("transcript", "events", 100)


def frame(n: int, added_ms: int, *, seq: int | None = None) -> Frame:
    """Frame n of a call, 0, 1, ..., put on the stream so long after its beginning."""
    pcm = struct.pack("<hh", 2 * n + 1, 2 * n + 2)
    made = Frame("call", pcm, RATE, n + 1 if seq is None else seq, BEGIN_MS + n * FRAME_MS)
    made.format = audio_format(RATE)
    made.digest = hash(pcm) ^ (made.timestamp_ms or 0)
    made.entry = f"{BEGIN_MS + added_ms}-{n}"
    return made


def in_order(frames: list[Frame]) -> list[Frame]:
    """Give entry ids that are those of a stream: rising."""
    frames = sorted(frames, key=lambda one: ids.milliseconds(one.entry))
    for at, one in enumerate(frames):
        one.entry = f"{ids.milliseconds(one.entry)}-{at}"
    return frames


def begun(stored: Stored = Stored(), bounds: Bounds = BOUNDS) -> Call:  # noqa: B008 (immutable)
    return Call(Outbox("call", TOPICS, stored), bounds)


def heard(call: Call) -> list[int]:
    """The samples on the timeline that are not finalized."""
    audio = bytes(call.timeline._audio)
    return [n for (n,) in struct.iter_unpack("<h", audio[: len(audio) // 2 * 2])]


def samples(*numbers: int) -> list[int]:
    """What frames sound like; -1 stands for one that never came."""
    return [n for number in numbers for n in ((0, 0) if number < 0 else (2 * number + 1, 2 * number + 2))]


def received(frames: list[Frame], bounds: Bounds = BOUNDS) -> tuple[list[int], ReceiveResult]:
    """What a call makes of frames, one at a time, and of their end."""
    call, total = begun(bounds=bounds), ReceiveResult()
    for one in frames:
        _add(total, call.receive([one], ids.milliseconds(one.entry) / 1000))
    _add(total, call.close())
    return heard(call), total


def _add(total: ReceiveResult, result: ReceiveResult) -> None:
    for name in ("accepted", "repeats", "filled_s", "late_s"):
        setattr(total, name, getattr(total, name) + getattr(result, name))


def stream_of(numbers: list[int]) -> list[Frame]:
    """Frames in this order, one every 20 ms."""
    return [frame(n, at * FRAME_MS) for at, n in enumerate(numbers)]


# -- what is waited for ----------------------------------------------------------------------------------


def test_frames_that_a_failed_publish_held_up_take_their_places() -> None:
    """The ingest publishes what it could not after newer ones."""
    numbers = [*range(9), 20, *range(9, 20), *range(21, 100)]
    audio, result = received(stream_of(numbers))
    assert audio == samples(*range(100))
    assert (result.accepted, result.filled_s, result.late_s) == (100, 0.0, 0.0)


def test_what_does_not_come_in_time_is_silence_and_all_after_it_is_at_its_time() -> None:
    numbers = [*range(9), *range(20, 100)]
    audio, result = received(stream_of(numbers))
    assert audio == samples(*range(9), *[-1] * 11, *range(20, 100))
    assert result.accepted == 89
    assert result.filled_s == pytest.approx(0.22)


@pytest.mark.parametrize("late", [1, 11])
def test_what_comes_still_later_is_appended_and_the_next_hole_is_smaller(late: int) -> None:
    numbers = [*range(9), *range(9 + late, 60), *range(9, 9 + late), *range(60, 70), *range(85, 130)]
    audio, result = received(stream_of(numbers))
    first = [*range(9), *[-1] * late, *range(9 + late, 60), *range(9, 9 + late), *range(60, 70)]
    assert audio == samples(*first, *[-1] * (15 - late), *range(85, 130))
    assert result.late_s == pytest.approx(late * 0.02)


@pytest.mark.parametrize(("after_ms", "in_time"), [(599, True), (600, False)])
def test_the_window_is_measured_on_the_stream(after_ms: int, in_time: bool) -> None:
    frames = [frame(0, 0), frame(2, 40), frame(1, 40 + after_ms), frame(3, 40 + after_ms)]
    expected = samples(0, 1, 2, 3) if in_time else samples(0, -1, 2, 1, 3)
    assert received(frames)[0] == expected


def test_where_nothing_comes_the_caller_asks_in_time() -> None:
    call = begun()
    assert call.order.due == math.inf
    call.receive([frame(0, 0), frame(2, 40)], 5.0)
    assert (heard(call), call.order.due) == (samples(0), 5.6)
    assert call.expire(5.5).accepted == 0
    result = call.expire(call.order.due)
    assert (result.accepted, result.filled_s, heard(call)) == (1, 0.02, samples(0, -1, 2))
    assert call.order.due == math.inf


def test_each_hole_has_its_own_time() -> None:
    call = begun()
    call.receive([frame(0, 0), frame(2, 40)], 1.0)
    call.receive([frame(4, 80)], 1.25)
    call.expire(1.6)
    assert (heard(call), call.order.due) == (samples(0, -1, 2), 1.85)
    call.receive([frame(3, 120)], 1.7)
    assert heard(call) == samples(0, -1, 2, 3, 4)


def test_a_frame_in_the_right_place_lets_those_behind_it_go() -> None:
    call = begun()
    call.receive([frame(0, 0), frame(3, 60), frame(2, 61), frame(5, 100)], 1.0)
    assert heard(call) == samples(0)
    call.receive([frame(1, 101)], 1.1)
    assert heard(call) == samples(0, 1, 2, 3)
    call.receive([frame(4, 102), frame(6, 120)], 1.1)
    assert heard(call) == samples(0, 1, 2, 3, 4, 5, 6)


def test_with_no_time_to_wait_nothing_waits() -> None:
    audio, result = received(stream_of([0, 2, 3, 1, 4]), BOUNDS._replace(reorder_ms=0))
    assert audio == samples(0, 2, -1, 3, 1, 4)
    assert result.late_s == 0.02


@pytest.mark.parametrize("what", ["seq", "time", "rate", "none"])
def test_what_is_not_in_step_ends_the_waiting(what: str) -> None:
    call = begun()
    call.receive([frame(0, 0), frame(2, 40)], 1.0)
    odd = frame(3, 60)
    changes: dict[str, dict[str, Any]] = {
        "seq": {"seq": 500},
        "time": {"seq": 9, "timestamp_ms": 7},
        "rate": {"format": audio_format(200)},
        "none": {"seq": None},
    }
    call.receive([msgspec.structs.replace(odd, **changes[what])], 1.0)
    assert heard(call) == samples(0, -1, 2, 3)


def test_what_waits_is_bounded() -> None:
    call = begun()
    frames = [frame(0, 0), *(frame(n, 40) for n in range(2, 2000))]
    for one in frames:
        call.receive([one], 1.0)
        assert len(call.timeline.waiting) <= MOST_WAITING
    call, waiting = begun(), list[int]()
    for n in range(0, 2000, 8):
        call.receive([frame(n, 40)], 1.0)
        waiting = [one.seq or 0 for one in call.timeline.waiting]
        assert not waiting or waiting[-1] - call.timeline.received // 2 - len(waiting) <= LATE_WINDOW
    assert call.timeline.held_bytes == 2 * call.timeline.unfinalized + 4 * len(waiting)


def test_what_waits_counts_for_the_bound_of_a_call() -> None:
    call = begun(bounds=Bounds(1000, 2.0, REORDER_MS))
    for one in [frame(0, 0), *(frame(n, 40) for n in range(2, 300))]:
        call.receive([one], 1.0)
        assert call.timeline.held_bytes <= 2.1 * 2 * RATE


def test_a_stream_that_begins_again_lets_all_go() -> None:
    call = begun()
    call.receive(stream_of([0, 1, 4, 2]), 1.0)
    call.forget_above(f"{BEGIN_MS + 20}-1")
    assert heard(call) == samples(0, 1, 2, -1, 4)
    place = call.timeline.resume_point(call.timeline.received)
    assert (place.entry, place.ahead) == (f"{BEGIN_MS + 20}-1", msgspec.UNSET)


# -- checkpoints -----------------------------------------------------------------------------------------


def test_a_checkpoint_names_what_is_needed_and_what_is_done_above_it() -> None:
    call = begun()
    call.receive(stream_of([0, 1, 5, 2, 3]), 1.0)
    call.timeline.finalize(7)
    place = call.timeline.resume_point(7)
    ids = [one.entry for one in stream_of([0, 1, 5, 2, 3])]
    assert place.entry == ids[2]
    assert place.ahead == Ahead((ids[3],), ids[4], 2)
    call.receive([frame(4, 100)], 1.0)
    call.timeline.finalize(12)
    assert call.timeline.resume_point(12).ahead is msgspec.UNSET
    assert call.timeline.resume_point(12).entry == frame(4, 100).entry


def test_a_checkpoint_of_frames_in_order_is_what_it_was() -> None:
    call = begun()
    call.receive(stream_of([0, 1, 2, 5, 3, 4, 6, 7]), 1.0)
    place = call.timeline.resume_point(0)
    for sample in range(16):
        place = call.timeline.finalize(sample)
        assert (b"ahead" in msgspec.json.encode(place)) == (sample in range(6, 12))
    old = {
        "finalized": 15,
        "entry": frame(7, 140).entry,
        "offset": 2,
        "at": 30,
        "rate": 100,
        "rate_from": 0,
        "rate_us": 0,
    }
    assert msgspec.to_builtins(place) == old


# -- any order, any repeats, kills anywhere ---------------------------------------------------------------


class Run(NamedTuple):
    """A call: what is done with its frames, and with the worker."""

    delays: list[int]
    lost: set[int]
    again: list[tuple[int, int, bool]]
    steps: list[tuple[int, int, str]]


runs = st.builds(
    Run,
    st.lists(st.sampled_from([0, 0, 0, 0, 0, 30, 100, 250, 400, 600]), min_size=20, max_size=120),
    st.sets(st.integers(1, 119), max_size=12),
    st.lists(st.tuples(st.integers(0, 119), st.integers(0, 3000), st.booleans()), max_size=9),
    st.lists(
        st.tuples(
            st.integers(1, 30),
            st.integers(0, 60),
            st.sampled_from(["go on", "commit", "commit", "kill", "forget"]),
        ),
        max_size=60,
    ),
)


def published(run: Run) -> list[Frame]:
    frames = []
    for n, delay in enumerate(run.delays):
        if n not in run.lost or n == 0:
            frames.append(frame(n, n * FRAME_MS + (delay if n else 0)))
    for n, later, other_time in run.again:
        if n < len(run.delays) and (n not in run.lost or n == 0):
            first = next(one for one in frames if one.seq == n + 1)
            repeat = copy(first)
            repeat.entry = f"{ids.milliseconds(first.entry) + later}-{n}"
            if other_time and repeat.timestamp_ms is not None:
                repeat.timestamp_ms += 3
                repeat.digest = first.digest ^ (first.timestamp_ms or 0) ^ repeat.timestamp_ms
            frames.append(repeat)
    return in_order(frames)


# Killed twice while the frame that was finalized in part waits for one that never comes.
@example(
    Run(
        [0, 0, 30, *[0] * 18, 250],
        {1},
        [],
        [(21, 7, "commit"), (1, 0, "kill"), (4, 0, "commit"), (1, 0, "kill")],
    )
)
@given(runs)
@settings(deadline=None, max_examples=examples(400))
def test_in_any_order_with_any_repeats_and_kills_anywhere_nothing_is_lost_doubled_or_moved(run: Run) -> None:
    stream = published(run)
    call, at, now, done, pending = begun(), 0, 0.0, list[int](), list[int]()
    for count, finalize, fate in [*run.steps, *[(50, 10**6, "commit")] * 9]:
        batch = stream[at : at + count]
        if batch:
            at += len(batch)
            now = max(now, ids.milliseconds(batch[-1].entry) / 1000)
            call.receive(batch, now)
        elif fate == "commit":
            call.close()
        timeline = call.timeline
        end = min(timeline.received, timeline.finalized + finalize)
        pending += heard(call)[: end - timeline.finalized]
        place = timeline.finalize(end)
        call.outbox.put(Item(resume_point=place))
        if fate == "commit":
            while call.outbox.next_commit(1) is not None:
                call.outbox.settle(Outcome.APPLIED)
            done += pending
            pending = []
        elif fate == "kill" or (fate == "forget" and call.outbox.next_commit(1) is None):
            call, pending = begun(call.outbox.stored), []
            state = decode_checkpoint(call.outbox.stored.state)
            assert state.place.ahead is msgspec.UNSET or len(state.place.ahead.entries) <= LATE_WINDOW
            assert state.place.finalized == len(done)
            begin = ids.key(ids.earlier(state.place.entry, REPLAY_MARGIN_MS))
            at = sum(ids.key(one.entry) < begin for one in stream)
    there = {(one.seq or 0) - 1 for one in stream}
    expected = samples(*[n if n in there else -1 for n in range(max(there) + 1)])
    assert done == expected

"""Each rule of a position, with exact values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from copy import copy
from typing import Any

import msgspec
import pytest

from trio_asr.core.bounds import Bounds
from trio_asr.core.call import GAP_STEP_S, Call
from trio_asr.core.giving_up import pass_void
from trio_asr.core.order import MOST_WAITING
from trio_asr.core.outbox import Outbox
from trio_asr.core.placement import MOST_AHEAD_S
from trio_asr.core.reader_state import REPLAY_MARGIN_MS
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.wire import ids
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.codes import EndReason, GapReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.records import Outcome, Stored, decode_checkpoint
from trio_asr.wire.resume_point import Ahead
from trio_asr.wire.transcripts import Item, Topics

BEGIN_MS = 1_700_000_000_000
REORDER_MS = 600
BOUNDS = Bounds(1000, 120.0, REORDER_MS)
TOPICS = Topics("t", "e", 100)
PLAIN = audio_format(1000)  # a sample is a millisecond
LEGS = audio_format(1000, "mulaw", 2)
N = 20  # samples of a frame


def sound(first: int, end: int, fmt: Format = PLAIN) -> bytes:
    """The audio of samples: none of it is silence, and none like the next 82."""
    return bytes((7 * n + 5 * k) % 83 + 1 for n in range(first, end) for k in range(fmt.width))


class Stream:
    """What is on the stream of one call, and the call that reads it."""

    def __init__(self, bounds: Bounds = BOUNDS, stored: Stored = Stored()) -> None:  # noqa: B008 (immutable)
        self.bounds = bounds
        self.entries = list[Frame]()
        self.call = Call(Outbox("call", TOPICS, stored), bounds)
        self.total = ReceiveResult()

    def add(
        self,
        first: int | None,
        end: int,
        at_ms: int = -1,
        *,
        fmt: Format = PLAIN,
        pcm: bytes | None = None,
        seq: int | None = None,
    ) -> Frame:
        """Add the samples `first`..`end` as an entry, `at_ms` after the first one or with the one before."""
        last_ms = ids.milliseconds(self.entries[-1].entry) - BEGIN_MS if self.entries else 0
        pcm = sound(first or 0, end, fmt) if pcm is None else pcm
        frame = Frame("call", pcm, fmt.rate, seq, None if seq is None else seq * N)
        frame.format, frame.position = fmt, first
        frame.digest = hash(pcm) ^ (frame.timestamp_ms or 0)
        frame.entry = f"{BEGIN_MS + max(at_ms, last_ms)}-{len(self.entries)}"
        self.entries.append(frame)
        return frame

    def read(self, frames: Iterable[Frame] = (), now: float = 0.0) -> ReceiveResult:
        """Let the call receive these entries one by one, or all that there are."""
        total = ReceiveResult()
        for frame in list(frames) or self.entries:
            _sum(total, self.call.receive([copy(frame)], now))  # each is decoded anew
        _sum(self.total, total)
        return total

    def say(self, first: int | None, end: int, at_ms: int = -1, **more: Any) -> ReceiveResult:
        """Add an entry and have it read."""
        return self.read([self.add(first, end, at_ms, **more)])

    @property
    def audio(self) -> bytes:
        """What is on the timeline and not finalized."""
        return bytes(self.call.timeline._audio)

    def finalize(self, sample: int, channel: int | None = None) -> None:
        """Let finals come of all channels, or of one."""
        timeline, outbox = self.call.timeline, self.call.outbox
        for one in range(len(timeline.cursors)) if channel is None else (channel,):
            outbox.put(Item(resume_point=timeline.finalize(sample, one), channel=one))
        pass_void(timeline, outbox)

    def commit(self, most: int = 1000) -> list[dict[str, Any]]:
        """Commit what waits, and return the events."""
        written = []
        while most and (commit := self.call.outbox.next_commit(1)) is not None:
            written += [json.loads(write.data) for write in commit.writes]
            self.call.outbox.settle(Outcome.APPLIED)
            most -= 1
        return written

    def restart(self) -> None:
        """Kill the worker: another reads again from 5 s before the resume point's entry."""
        stored = self.call.outbox.stored
        self.call = Call(Outbox("call", TOPICS, stored), self.bounds)
        begin = ids.key(ids.earlier(decode_checkpoint(stored.state).place.entry, REPLAY_MARGIN_MS))
        self.read([frame for frame in self.entries if ids.key(frame.entry) >= begin])


def _sum(total: ReceiveResult, result: ReceiveResult) -> None:
    for name in ("accepted", "repeats", "misplaced", "filled_s", "late_s", "given_up_s"):
        setattr(total, name, getattr(total, name) + getattr(result, name))


def gaps(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (one["reason"], one["start_ms"], one["end_ms"], one["samples"], one.get("channel"))
        for one in events
        if one["event"] == "gap"
    ]


# -- order, repeats, overlaps ----------------------------------------------------------------------------


def test_the_position_alone_decides_whatever_seq_and_time_say() -> None:
    stream = Stream()
    for at, seq in ((0, 7), (2, 7), (3, None), (1, 900)):
        stream.add(at * N, (at + 1) * N, seq=seq)
    result = stream.read()
    assert stream.audio == sound(0, 4 * N)
    assert (result.accepted, result.repeats, result.filled_s, result.late_s) == (4, 0, 0.0, 0.0)


def test_what_lies_below_what_was_received_is_a_repeat() -> None:
    stream = Stream()
    stream.say(0, 100)
    result = stream.say(
        40, 100, pcm=bytes([200]) * 120
    )  # the first one counts, whatever the other sounds like
    assert (result.accepted, result.repeats, result.late_s) == (0, 1, 0.0)
    assert stream.audio == sound(0, 100)


def test_of_an_overlap_what_came_first_counts() -> None:
    stream = Stream()
    stream.say(0, 100)
    result = stream.say(70, 130, pcm=bytes([200]) * 120)
    assert (result.accepted, result.repeats) == (1, 0)
    assert stream.audio == sound(0, 100) + bytes([200]) * 60
    stream.say(150, 160)
    stream.say(120, 170, pcm=bytes([201]) * 100)  # contains a frame that waits
    assert stream.audio == sound(0, 100) + bytes([200]) * 60 + bytes([201]) * 80


def test_an_empty_entry_is_neither_waited_for_nor_changes_anything() -> None:
    stream = Stream()
    stream.say(0, 21, pcm=sound(0, 21)[:-1])  # it ends in mid-sample
    stream.say(5000, 5000, fmt=LEGS)
    assert stream.call.timeline.format_at(20) is PLAIN
    stream.say(20, 41, pcm=sound(20, 41)[1:])
    assert stream.audio == sound(0, 41)
    assert stream.commit()[0]["event"] == "started"


# -- holes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_ms", "waited"), [(599, True), (600, False)])
def test_a_hole_stays_open_for_a_while_by_the_clock_of_the_stream(after_ms: int, waited: bool) -> None:
    stream = Stream()
    stream.say(0, N)
    stream.say(3 * N, 4 * N, 40)
    assert stream.audio == sound(0, N)
    result = stream.say(N, 3 * N, 40 + after_ms)
    between = sound(N, 3 * N) if waited else bytes(4 * N)
    assert stream.audio == sound(0, N) + between + sound(3 * N, 4 * N)
    assert (result.filled_s, result.late_s) == ((0.0, 0.0) if waited else (0.04, 0.04))
    assert (result.accepted, result.repeats) == ((2, 0) if waited else (1, 1))


def test_where_nothing_comes_it_is_the_clock_of_the_caller() -> None:
    stream = Stream()
    stream.say(0, N)
    stream.read([stream.add(2 * N, 3 * N)], 5.0)
    assert stream.call.order.due == 5.6
    assert stream.call.expire(5.59).accepted == 0
    result = stream.call.expire(5.6)
    assert (result.accepted, result.filled_s) == (1, 0.02)
    assert stream.audio == sound(0, N) + bytes(2 * N) + sound(2 * N, 3 * N)


@pytest.mark.parametrize("fmt", [PLAIN, LEGS, audio_format(1000, "alaw")])
def test_a_hole_up_to_the_limit_is_silence_and_a_longer_one_a_gap(fmt: Format) -> None:
    for hole, is_gap in ((1000, False), (1001, True)):
        stream = Stream()
        stream.say(0, N, fmt=fmt)
        stream.add(N + hole, 2 * N + hole, fmt=fmt)
        stream.read(stream.entries[1:])
        assert stream.call.close().filled_s == (0.0 if is_gap else 1.0)
        timeline = stream.call.timeline
        silence = b"" if is_gap else fmt.silence * hole
        assert stream.audio == sound(0, N, fmt) + silence + sound(N + hole, 2 * N + hole, fmt)
        assert (timeline.received, timeline.ms(timeline.received)) == (2 * N + hole, 2 * N + hole)
        stream.finalize(N)
        found = [
            ("source", N, N + hole, hole, None if fmt.channels == 1 else leg) for leg in range(fmt.channels)
        ]
        assert gaps(stream.commit()) == (found if is_gap else [])


@pytest.mark.parametrize("hole", [400, 4000])
def test_what_comes_when_its_time_is_over_is_left_out_and_counted_as_late(hole: int) -> None:
    """After silence, or after a gap. Of an overlap only what belongs in the hole is late."""
    stream = Stream()
    stream.say(0, N)
    stream.say(N + hole, 2 * N + hole)
    stream.say(2 * N + hole, 3 * N + hole, 600)
    before = stream.audio
    assert stream.say(100, 120).late_s == 0.02
    assert stream.say(0, N).late_s == 0.0
    result = stream.say(10, 30)
    assert (result.late_s, result.repeats) == (0.01, 1)
    result = stream.say(hole, 4 * N + hole)
    assert (result.late_s, result.accepted, result.repeats) == (0.02, 1, 0)
    assert stream.audio == before + sound(3 * N + hole, 4 * N + hole)
    assert (stream.total.late_s, stream.total.repeats) == (0.05, 3)


def test_a_call_may_begin_with_a_hole() -> None:
    for first, silence in ((300, 600), (9000, 0)):
        stream = Stream()
        stream.say(first, first + N)
        call = stream.call
        assert (stream.audio, call.begun, call.outbox.idle) == (b"", False, True)
        assert call.floor() == stream.entries[0].entry  # a restart needs it
        call.close()
        assert stream.audio == bytes(silence) + sound(first, first + N)
        events = stream.commit()
        assert events[0]["event"] == "started"
        assert gaps(events) == ([] if silence else [("source", 0, 9000, 9000, None)])
        assert call.timeline.ms(call.timeline.received) == first + N
        stream.restart()
        assert (stream.call.timeline.received, stream.call.order.frames) == (first + N, [])


def test_the_first_checkpoint_names_a_frame_that_came_before_the_first() -> None:
    stream = Stream()
    stream.add(N, 2 * N)
    stream.add(0, N)
    stream.call.receive(stream.entries)
    stream.commit(1)
    assert stream.call.outbox.resume_point.entry == stream.entries[0].entry
    stream.restart()
    assert stream.audio == sound(0, 2 * N)


def test_whoever_waits_for_numbers_goes_on_waiting_for_a_position() -> None:
    stream = Stream()
    stream.say(None, N, seq=1)
    stream.say(None, N, seq=3)
    assert stream.call.timeline.received == N
    stream.say(5 * N, 6 * N, seq=6)  # it ends the first waiting, and begins another
    assert stream.call.timeline.received == 3 * N
    stream.say(3 * N, 5 * N, seq=0)
    assert stream.audio == sound(0, N) + bytes(2 * N) + sound(0, N) + sound(3 * N, 6 * N)


def test_frames_of_several_formats_wait_together() -> None:
    stream = Stream()
    stream.say(0, N)
    stream.say(3 * N, 4 * N, fmt=LEGS)
    stream.say(2 * N, 3 * N)
    assert stream.call.order.seconds == 0.04
    assert stream.call.timeline.received == N
    stream.say(N, 2 * N)
    assert stream.audio == sound(0, 3 * N) + sound(3 * N, 4 * N, LEGS)
    assert stream.call.timeline.format_at(3 * N) is LEGS


def test_a_hole_before_another_format_is_of_that_format() -> None:
    for hole in (500, 5000):
        stream = Stream()
        stream.say(0, N)
        fast = audio_format(2000, "alaw", 2)
        stream.say(N + hole, N + hole + 40, fmt=fast)
        stream.call.close()
        timeline = stream.call.timeline
        silence = fast.silence * hole if hole == 500 else b""
        assert stream.audio == sound(0, N) + silence + sound(N + hole, N + hole + 40, fast)
        assert timeline.ms(timeline.received) == 20 + hole // 2 + 20
        assert timeline.segment_end() == N
        stream.finalize(N)
        assert timeline.format_at(timeline.finalized) is fast
        assert gaps(stream.commit()) == [("source", 20, 2520, 5000, leg) for leg in (0, 1) if hole == 5000]


def test_what_waits_is_bounded() -> None:
    stream = Stream(Bounds(1000, math.inf, REORDER_MS))
    stream.say(0, 1)
    for n in range(2, MOST_WAITING + 2):
        stream.say(n, n + 1)
    assert (stream.call.timeline.received, len(stream.call.order.frames)) == (1, MOST_WAITING)
    stream.say(MOST_WAITING + 2, MOST_WAITING + 3)
    assert (stream.call.timeline.received, stream.call.order.frames) == (MOST_WAITING + 3, [])


# -- the middle of a sample ------------------------------------------------------------------------------


@pytest.mark.parametrize("up", [0, 1])
@pytest.mark.parametrize("order", ["0123", "1032", "3210"])
def test_a_frame_may_go_on_in_mid_sample_and_say_that_sample_or_the_next(up: int, order: str) -> None:
    pcm = sound(0, 40)
    cuts = [(0, 0, 15), (7 + up, 15, 40), (20, 40, 61), (30 + up, 61, 80)]
    stream = Stream()
    for n in map(int, order):
        position, begin, end = cuts[n]
        stream.add(position, 0, pcm=pcm[begin:end])
    stream.read()
    assert stream.audio == pcm
    for position, begin, end in cuts * 2:  # again, and once more
        assert stream.say(position, 0, pcm=pcm[begin:end]).accepted == 0
    assert stream.audio == pcm
    stream.say(40, 60)
    assert stream.audio == sound(0, 60)
    assert (stream.total.accepted, stream.total.repeats, stream.total.filled_s) == (5, 8, 0.0)


@pytest.mark.parametrize("up", [0, 1])
def test_a_restart_in_such_a_frame_goes_on_at_the_very_byte(up: int) -> None:
    fmt = audio_format(1000, "linear16", 2)
    pcm = sound(0, 30, fmt)
    for sample in range(11, 29):
        stream = Stream()
        stream.say(0, 0, fmt=fmt, pcm=pcm[:41])
        stream.say(10 + up, 0, fmt=fmt, pcm=pcm[41:119])
        stream.finalize(sample)
        stream.commit()
        stream.restart()
        stream.say(29 + up, 0, fmt=fmt, pcm=pcm[119:])
        assert stream.audio == pcm[4 * sample :]


def test_a_part_of_a_sample_alone_is_not_waited_for() -> None:
    stream = Stream(Bounds(0, 120.0, REORDER_MS))  # nor does it become a gap
    stream.say(0, 0, pcm=sound(0, 11)[:21])
    result = stream.say(11, 31)
    assert stream.audio == sound(0, 11)[:21] + b"\0" + sound(11, 31)
    assert (result.accepted, result.filled_s) == (1, 0.0005)
    stream.say(31, 0, pcm=sound(31, 40)[:17])
    stream.say(40, 60, fmt=LEGS)  # what is left of a sample is silence before another format
    assert stream.audio == sound(0, 11)[:21] + b"\0" + sound(11, 40)[:57] + b"\0" + sound(40, 60, LEGS)


def test_one_that_cannot_go_on_begins_on_a_whole_sample() -> None:
    """What it goes on with is lost. Its own size is odd, so that the next one is taken to go on with it."""
    stream = Stream()
    stream.say(0, 10)
    stream.say(20, 0, pcm=sound(20, 30)[1:])
    stream.call.close()
    assert stream.audio == sound(0, 10) + bytes(20) + sound(20, 30)[1:]
    stream.say(30, 40)
    assert stream.call.timeline.received == 40


# -- positions that cannot be meant, and none ------------------------------------------------------------


def test_more_than_an_hour_ahead_cannot_be_meant() -> None:
    most = 100 + MOST_AHEAD_S * PLAIN.rate
    stream = Stream()
    stream.say(0, 100, seq=1)
    assert stream.say(most, most + N, seq=1).misplaced == 0
    assert stream.call.timeline.received == 100
    stream.call.close()
    assert stream.call.timeline.received == most + N
    stream = Stream()
    stream.say(0, 100, seq=1)
    result = stream.say(most + 1, 120, seq=2, pcm=sound(100, 120))
    assert (result.misplaced, result.accepted, stream.audio) == (1, 1, sound(0, 120))


def test_mistakes_are_counted_though_numbers_go_on() -> None:
    stream = Stream()
    for n in range(6):
        stream.add(None, N, seq=n, pcm=sound(n * N, (n + 1) * N)).misplaced = n % 2 == 1
    assert stream.call.receive(stream.entries[:2]).misplaced == 1
    assert stream.call._plain
    assert stream.call.receive(stream.entries[2:]).misplaced == 2
    assert stream.audio == sound(0, 6 * N)


def test_those_without_a_position_go_by_number_from_the_last_one_that_had_one() -> None:
    stream = Stream()
    for n in range(10):
        stream.say(n * N, (n + 1) * N, seq=n)
    assert stream.say(3 * N, 4 * N, seq=3).repeats == 1  # which says nothing about what comes next
    stream.say(None, N, seq=10, pcm=sound(200, 220))
    assert stream.audio == sound(0, 220)
    stream.say(None, N, seq=12, pcm=sound(240, 260))
    assert (stream.audio, len(stream.call.order.frames)) == (sound(0, 220), 1)
    stream.say(260, 280, seq=0)
    assert stream.audio == sound(0, 220) + bytes(2 * N) + sound(240, 280)


# -- checkpoints -----------------------------------------------------------------------------------------


def test_a_checkpoint_does_not_name_what_positions_say() -> None:
    """However many come while one waits, or until it is finalized: more could not be read again."""
    stream = Stream()
    stream.say(0, 1)
    far = stream.add(2000, 2001)
    stream.read([far])
    for n in range(1, 2000):
        stream.say(n, n + 1, n // 4)
        if n % 100 == 0:
            stream.finalize(n)
            stream.commit()
            assert stream.call.outbox.resume_point == _point(
                n, far.entry, Ahead((), stream.entries[n + 1].entry)
            )
    stream.finalize(1990)
    stream.commit()
    assert len(stream.call.outbox.stored.state) < 400
    stream.restart()
    assert stream.audio == sound(1990, 2001)
    stream.finalize(2001)
    stream.commit()
    # It is the newest of all that is dealt with.
    assert stream.call.outbox.resume_point.entry == stream.entries[-1].entry
    assert stream.call.outbox.resume_point.ahead is msgspec.UNSET


def _point(sample: int, entry: str, ahead: Ahead) -> Any:
    place = Stream().call.timeline.resume_point(0)
    return msgspec.structs.replace(
        place, finalized=sample, at=2 * sample, rate=1000, entry=entry, ahead=ahead
    )


def test_a_hole_is_as_long_after_a_restart_with_another_limit() -> None:
    stream = Stream()
    stream.say(0, 100)
    stream.say(5100, 5200)
    stream.call.close()
    stream.finalize(50)
    stream.commit()
    for fill_ms, silence in ((10_000, 10_000), (1000, 0)):
        stream.bounds = Bounds(fill_ms, 120.0, REORDER_MS)
        stream.restart()
        stream.call.close()
        assert stream.audio == sound(50, 100) + bytes(silence) + sound(5100, 5200)
        assert stream.call.timeline.received == 5200


def test_the_header_of_a_file_is_silence_where_it_stood() -> None:
    header = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(16) + b"data\0\0\0\0"
    stream = Stream()
    result = stream.say(0, 0, pcm=header + sound(22, 100))
    assert (result.accepted, stream.call.order.frames) == (1, [])
    stream.say(100, 120)
    assert stream.say(0, 0, pcm=header + sound(22, 100)).repeats == 1
    assert stream.audio == bytes(44) + sound(22, 120)
    for sample in (0, 10, 22, 60):
        stream.finalize(sample)
        stream.commit()
        stream.restart()
        assert stream.audio == (bytes(44) + sound(22, 120))[2 * sample :]


def test_a_header_after_an_empty_entry_is_found() -> None:
    header = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(16) + b"data\0\0\0\0"
    stream = Stream()
    stream.say(None, 0, seq=1, pcm=b"")
    stream.say(None, 0, seq=2, pcm=header + sound(0, 100))
    assert stream.audio == sound(0, 100)


@pytest.mark.parametrize("fmt", [PLAIN, LEGS])
def test_a_restart_before_the_last_sample_of_a_frame_that_goes_on_in_mid_sample(fmt: Format) -> None:
    for sample in range(26):
        stream = Stream()
        stream.say(0, 0, fmt=fmt, pcm=sound(0, 25, fmt)[:23])
        stream.say(11, 0, fmt=fmt, pcm=sound(0, 25, fmt)[23:])
        stream.finalize(sample)
        stream.commit()
        stream.restart()
        assert stream.audio == sound(sample, 25, fmt)
        assert stream.call.timeline.received == 25


# -- positions that stand still --------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [PLAIN, LEGS])
@pytest.mark.parametrize("at", [0, 50])
def test_a_position_that_stands_still_is_not_believed(at: int, fmt: Format) -> None:
    """A field that a producer never fills says 0 in each entry: by that all but the first are repeats."""
    stream = Stream()
    for n in range(10):
        stream.say(at, 0, fmt=fmt, pcm=sound(N * n, N * (n + 1), fmt))
    heard = fmt.silence * at + sound(0, N, fmt) + sound(3 * N, 10 * N, fmt)
    assert stream.audio == heard
    assert stream.call.timeline.received == at + 8 * N
    assert (stream.total.misplaced, stream.total.repeats) == (7, 2)
    stream.say(at + 8 * N, 0, fmt=fmt, pcm=sound(10 * N, 11 * N, fmt))  # it moves: believed again
    stream.say(at, 0, fmt=fmt, pcm=sound(0, N, fmt))
    assert stream.audio == heard + sound(10 * N, 11 * N, fmt)
    assert (stream.total.misplaced, stream.total.repeats) == (7, 3)


@pytest.mark.parametrize("entries", [1, 8, 9, 30])
def test_silence_at_one_position_is_repeats_up_to_a_number(entries: int) -> None:
    stream = Stream()
    for _ in range(entries):
        stream.say(0, 0, pcm=bytes(2 * N))
    assert stream.call.timeline.received == N * max(1, entries - 7)


@pytest.mark.parametrize("recorders", [2, 3])
def test_several_recordings_of_a_call_are_no_standstill(recorders: int) -> None:
    stream = Stream()
    for n in range(20):
        for one in range(recorders):
            stream.say(N * n, 0, pcm=sound(N * n + one, N * (n + 1) + one))
    assert stream.audio == sound(0, 20 * N)
    assert (stream.total.misplaced, stream.total.repeats) == (0, 20 * (recorders - 1))


def test_repeats_by_number_are_no_standstill() -> None:
    stream = Stream()
    for n in range(3):
        stream.say(N * n, N * (n + 1), seq=n)
    for _ in range(10):
        stream.say(0, N, seq=0)
    assert stream.audio == sound(0, 3 * N)
    assert stream.total.misplaced == 0


def test_an_entry_without_audio_does_not_move_anything() -> None:
    stream = Stream()
    for n in range(10):
        stream.say(0, 0, pcm=sound(N * n, N * (n + 1)))
        stream.say(7 * n, 0, pcm=b"")
    assert stream.audio == sound(0, N) + sound(3 * N, 10 * N)


@pytest.mark.parametrize("fmt", [PLAIN, LEGS])
@pytest.mark.parametrize("quiet", [0, 12])
def test_a_restart_where_positions_stand_still(quiet: int, fmt: Format) -> None:
    frames = [sound(N * n, N * (n + 1), fmt) for n in range(9)]
    frames += [fmt.silence * N] * quiet + [sound(N * n, N * (n + 1), fmt) for n in range(9, 12)]
    heard = b"".join(frames[:1] + frames[3:])
    for sample in range(0, N * (len(frames) - 2), 7):
        stream = Stream()
        for n, pcm in enumerate(frames):
            stream.say(0, 0, N * n, fmt=fmt, pcm=pcm)
        stream.finalize(sample)
        stream.commit()
        stream.restart()
        assert stream.audio == heard[fmt.width * sample :]
        stream.say(0, 0, N * len(frames), fmt=fmt, pcm=sound(900, 920, fmt))
        assert stream.audio == (heard + sound(900, 920, fmt))[fmt.width * sample :]


# -- voids -----------------------------------------------------------------------------------------------


def with_void(fmt: Format = PLAIN, bounds: Bounds = BOUNDS) -> Stream:
    """Samples 0..100 and 40100..40200: 40 s never came."""
    stream = Stream(bounds)
    stream.say(0, 100, fmt=fmt)
    stream.say(40_100, 40_200, 40_100, fmt=fmt)
    _sum(stream.total, stream.call.close())
    return stream


def test_a_connection_ends_where_a_void_begins_and_the_next_goes_on_behind_it() -> None:
    stream = with_void()
    timeline = stream.call.timeline
    assert (timeline.unsent(PLAIN), timeline.segment_end(), timeline.received) == (100, 100, 40_200)
    chunk = timeline.take(10**6)
    assert chunk is not None
    assert (chunk.start, chunk.end, chunk.pcm) == (0, 100, sound(0, 100))
    assert (timeline.take(10**6), timeline.unsent(PLAIN)) == (None, 0)
    stream.finalize(99)
    assert (timeline.finalized, gaps(stream.commit())) == (99, [])
    stream.finalize(100)
    assert gaps(stream.commit()) == [("source", 100, 40_100, 40_000, None)]
    assert (timeline.finalized, timeline.sent, timeline.unsent(PLAIN)) == (40_100, 40_100, 100)
    chunk = timeline.take(10**6)
    assert chunk is not None
    assert (chunk.start, chunk.end, chunk.pcm) == (40_100, 40_200, sound(40_100, 40_200))


def test_a_void_is_committed_once_all_channels_stand_at_it() -> None:
    stream = with_void(LEGS)
    stream.call.outbox.roles = ("customer", "agent")
    stream.finalize(100, 1)
    assert gaps(stream.commit()) == []
    stream.finalize(70, 0)
    assert (stream.call.timeline.cursors, gaps(stream.commit())) == ([70, 100], [])
    stream.restart()
    stream.call.close()
    assert stream.call.timeline.cursors == [70, 100]
    stream.finalize(100, 0)
    events = [one for one in stream.commit() if one["event"] == "gap"]
    assert gaps(events) == [("source", 100, 40_100, 40_000, 0), ("source", 100, 40_100, 40_000, 1)]
    assert [one["role"] for one in events] == ["customer", "agent"]
    assert stream.call.timeline.cursors == [40_100, 40_100]


def test_where_nothing_is_open_before_it_a_void_is_committed_at_once() -> None:
    stream = Stream()
    stream.say(0, 100)
    stream.finalize(100)
    stream.say(3000, 3100)
    assert stream.call.close().accepted == 1
    assert gaps(stream.commit()) == [("source", 100, 3000, 2900, None)]
    assert (stream.call.timeline.finalized, stream.audio) == (3000, sound(3000, 3100))


def test_only_audio_counts_for_the_bound_of_a_call() -> None:
    stream = with_void(bounds=Bounds(1000, 0.3, REORDER_MS))
    assert stream.call.timeline.unfinalized_s == pytest.approx(0.2)
    assert stream.total.given_up_s == 0.0
    assert stream.say(40_200, 40_300).given_up_s == 0.0
    assert stream.call.timeline.unfinalized_s == pytest.approx(0.3)
    result = stream.say(40_300, 43_000)  # 2.7 s too much
    assert result.given_up_s == pytest.approx(min(3.0, 2.7 + GAP_STEP_S))


def test_what_is_given_up_ends_at_a_void_and_goes_on_behind_it() -> None:
    for fmt in (PLAIN, LEGS):
        stream = with_void(fmt)
        stream.commit()
        assert stream.call.give_up_oldest(0.15, GapReason.MEMORY) == pytest.approx(0.15)
        legs: list[int | None] = [None] if fmt is PLAIN else [0, 1]
        assert gaps(stream.commit()) == [
            (reason, start, end, end - start, leg)
            for reason, start, end in (
                ("memory", 0, 100),
                ("source", 100, 40_100),
                ("memory", 40_100, 40_150),
            )
            for leg in legs
        ]
        assert stream.audio == sound(40_150, 40_200, fmt)
        assert stream.call.give_up_oldest(9.0, GapReason.MEMORY) == pytest.approx(0.05)
    stream = with_void()
    assert stream.call.give_up_oldest(0.1, GapReason.MEMORY) == pytest.approx(0.1)
    assert stream.call.timeline.finalized == 40_100


@pytest.mark.parametrize(("finalized", "events"), [(0, 0), (60, 0), (100, 0), (100, 1), (40_150, 1)])
def test_a_restart_before_in_and_after_a_void(finalized: int, events: int) -> None:
    """In it: the last final before it was committed, and the gap was not."""
    stream = with_void(LEGS)
    timeline, outbox = stream.call.timeline, stream.call.outbox
    stream.commit()
    for one in (0, 1):
        outbox.put(Item(resume_point=timeline.finalize(min(100, finalized), one), channel=one))
    if events:
        pass_void(timeline, outbox)
        stream.finalize(max(40_100, finalized))
    found = gaps(stream.commit())
    stream.restart()
    stream.call.close()
    stream.finalize(100) if finalized < 100 else pass_void(stream.call.timeline, stream.call.outbox)
    found += gaps(stream.commit())
    assert found == [("source", 100, 40_100, 40_000, 0), ("source", 100, 40_100, 40_000, 1)]
    assert stream.call.timeline.finalized == max(40_100, finalized)
    assert stream.audio == sound(max(40_100, finalized), 40_200, LEGS)
    assert stream.call.timeline.ms(stream.call.timeline.received) == 40_200


def test_many_voids_and_formats_in_a_row() -> None:
    stream, end = Stream(), 0
    for n in range(50):
        end += 2000
        stream.say(end, end + 10, fmt=(PLAIN, LEGS)[n % 2])
        end += 10
    stream.call.close()
    assert stream.call.timeline.unfinalized_s == pytest.approx(0.5)
    assert stream.call.give_up_oldest(0.3, GapReason.MEMORY) == pytest.approx(0.3)
    assert stream.call.timeline.finalized == 31 * 2000 + 30 * 10
    assert stream.call.timeline.ms(end) == end
    stream.call.give_up_oldest(9.0, GapReason.MEMORY)
    assert stream.call.timeline.unfinalized == 0
    found = [gap for gap in gaps(stream.commit()) if gap[-1] != 1]
    assert [gap[0] for gap in found] == ["source", "memory"] * 50


# -- calls that are over ---------------------------------------------------------------------------------


def ended(stream: Stream) -> Stream:
    """The same stream, read by a call that begins after this one has ended."""
    call = stream.call
    stream.finalize(call.timeline.received)
    call.end(stream.entries[-1].entry, EndReason.CALL_END)
    stream.commit()
    past = call.past()
    stream.call = Call(Outbox("call", TOPICS, call.outbox.stored), BOUNDS, past)
    return stream


@pytest.mark.parametrize("numbered", [True, False])
def test_frames_that_come_again_after_the_end_begin_nothing(numbered: bool) -> None:
    stream = Stream()
    for n in range(10):
        stream.say(n * N, (n + 1) * N, seq=n if numbered else None)
    ended(stream)
    for n in (3, 0, 9, 5):
        result = stream.say(n * N, (n + 1) * N, 5000, seq=n if numbered else None)
        assert (result.accepted, result.repeats) == (0, 1)
    assert (stream.call.begun, stream.call.outbox.idle, stream.audio) == (False, True, b"")
    stream.say(12 * N, 13 * N)  # this is new
    stream.call.close()
    assert stream.audio == bytes(4 * N) + sound(12 * N, 13 * N)
    assert [one["event"] for one in stream.commit()] == ["resumed"]


@pytest.mark.parametrize("up", [0, 1])
def test_an_end_in_mid_sample_is_gone_on_from_by_position(up: int) -> None:
    stream = Stream()
    stream.say(0, 0, pcm=sound(0, 21)[:41])
    ended(stream)
    stream.say(20 + up, 0, pcm=sound(20, 40)[1:])
    assert stream.audio == sound(20, 40)
    stream = Stream()
    stream.say(0, 0, pcm=sound(0, 21)[:41])
    ended(stream)
    stream.say(20 + up, 40)
    assert stream.audio == (sound(20, 40) if up == 0 else sound(20, 21)[:1] + b"\0" + sound(21, 40))


# -- what a gap means elsewhere --------------------------------------------------------------------------


def test_what_waits_to_be_written_is_not_old_because_of_what_never_came() -> None:
    """Redis refuses transcripts: they are kept for as long as audio would be."""
    for fmt in (PLAIN, LEGS):
        stream = with_void(fmt)
        stream.commit()
        outbox = stream.call.outbox
        stream.finalize(100)
        stream.finalize(40_150)
        assert outbox.earlier(40_150, 40) == 40_110
        assert outbox.earlier(40_150, 50) == 40_100
        assert outbox.earlier(40_150, 60) == 90
        stream.commit()
        assert outbox.earlier(40_150, 60) == 40_090

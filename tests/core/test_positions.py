"""Entries with a `position`: any order, any repeats, any cuts, killed anywhere, and true to the sample.

The bytes of the producer's samples are never those of silence. What was committed of a call, channel by
channel, must be these bytes where they were published in time, silence or a gap where not, and at the times
that the positions say. What comes in time, a small model of the rule says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.examples import examples

from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.giving_up import pass_void
from trio_asr.core.outbox import Outbox
from trio_asr.core.reader_state import REPLAY_MARGIN_MS
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.core.repeats import MOST_ALIKE
from trio_asr.core.standstill import MOST_DIFFERENT
from trio_asr.wire import ids
from trio_asr.wire.audio_format import Encoding, Format, audio_format
from trio_asr.wire.codes import GapReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.records import Outcome, Stored, decode_checkpoint
from trio_asr.wire.transcripts import Item, Topics

BEGIN_MS = 1_700_000_000_000
FILL_MS, REORDER_MS = 100, 600
BOUNDS = Bounds(FILL_MS, math.inf, REORDER_MS)
TOPICS = Topics("transcript", "events", 100)
ENCODINGS: list[Encoding] = ["linear16", "mulaw", "alaw"]
# Samples of 1 or 2 ms, so that all times are whole.
FORMATS = [
    audio_format(rate, encoding, channels)
    for rate in (1000, 500)
    for encoding in ENCODINGS
    for channels in (1, 2)
]


# -- what is published -----------------------------------------------------------------------------------


Byte = tuple[int, int]  # a sample, and a byte of it


class Cut(NamedTuple):
    """An entry: the bytes `begin`..`end` of the stretch of one format that begins at sample `origin`."""

    fmt: Format
    origin: int
    begin: int
    end: int
    added_ms: int
    ceil: bool = False  # it says the sample after the one in which it begins
    number: int = 0

    @property
    def whole(self) -> bool:
        return self.begin % self.fmt.width == 0

    @property
    def position(self) -> int:
        return self.first[0] + (self.ceil and not self.whole)

    @property
    def first(self) -> Byte:
        """The sample in which it begins, and the byte of it."""
        return self.origin + self.begin // self.fmt.width, self.begin % self.fmt.width

    @property
    def last(self) -> Byte:
        return self.origin + self.end // self.fmt.width, self.end % self.fmt.width

    @property
    def bytes(self) -> list[Byte]:
        width = self.fmt.width
        return [(self.origin + byte // width, byte % width) for byte in range(self.begin, self.end)]


class Script(NamedTuple):
    """How a call goes: what is said, what is said of it once more, and the numbers that mean nothing."""

    pieces: list[tuple[Any, ...]]
    again: list[tuple[int, int]]
    others: list[tuple[int, int, int]]
    numbers: list[int | None]


DELAYS = st.sampled_from([0, 0, 0, 0, 0, 0, 30, 100, 250, 400, 600, 700, 1500])
FRAMES = st.tuples(st.just("frame"), st.integers(0, 40), DELAYS)
LOST = st.tuples(st.just("lost"), st.sampled_from([1, 20, 49, 50, 51, 99, 100, 101, 300]))
ODD = st.tuples(
    st.just("odd"),
    st.lists(st.integers(4, 45), min_size=1, max_size=5),  # never less than a sample
    DELAYS,
    st.permutations(range(5)),
    st.booleans(),
)
PIECES = st.one_of(FRAMES, FRAMES, FRAMES, LOST, ODD, st.tuples(st.just("format"), st.sampled_from(FORMATS)))
SCRIPTS = st.builds(
    Script,
    st.lists(PIECES, min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 2500)), max_size=12),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 90), st.integers(0, 2500)), max_size=8),
    st.lists(st.sampled_from([None, 0, 1, 1, 2, 7, 500, -3]), min_size=1, max_size=40),
)


class Producer:
    """Says a script. All samples of the call lie on one axis, published or not."""

    def __init__(self, script: Script) -> None:
        self.cuts = list[Cut]()
        self._stretches = [(FORMATS[0], 0)]  # the formats, and the samples from which on they hold
        self._end = 0
        self._clock_ms = 0
        self._uneven = list[tuple[int, int]]()  # stretches cut in mid-sample
        self._early = set[int]()  # parts of samples that come before those they go on from
        self._partial = -1  # the sample after one of which only a part is ever published
        for kind, *what in script.pieces:
            getattr(self, f"_{kind}")(*what)
        for n, later_ms in script.again:
            # One that comes early, and again after what it goes on from, is not placed right yet.
            if n < len(self.cuts) and n not in self._early:
                self._once_more(self.cuts[n]._replace(added_ms=self.cuts[n].added_ms + later_ms))
        for other in script.others:
            self._other(*other)
        self.cuts.sort(key=lambda cut: cut.added_ms)
        numbers = itertools.cycle(script.numbers)
        self.stream = [_entry(n, cut, next(numbers)) for n, cut in enumerate(self.cuts)]

    def format(self, sample: int) -> Format:
        return [fmt for fmt, origin in self._stretches if origin <= sample][-1]

    def channel(self, at: Byte) -> int:
        """The channel that a byte is of."""
        fmt = self.format(at[0])
        return at[1] * fmt.channels // fmt.width

    def bytes(self, at: set[Byte]) -> dict[Byte, int]:
        """The values of bytes."""
        return {(sample, byte): _value(sample, byte) for sample, byte in at}

    def _format(self, fmt: Format) -> None:
        if self._stretches[-1][1] == self._end:
            self._stretches.pop()
        self._stretches.append((fmt, self._end))

    def _lost(self, samples: int) -> None:
        self._end += samples
        self._clock_ms += samples * 1000 // self._stretches[-1][0].rate

    def _frame(self, samples: int, delay_ms: int) -> None:
        fmt, _ = self._stretches[-1]
        self._cut([samples * fmt.width], delay_ms, range(1), ceil=False)

    def _odd(self, sizes: list[int], delay_ms: int, order: list[int], ceil: bool) -> None:
        """Say frames of which all but the first go on in mid-sample, as the rule has it."""
        width, begin, made, at = self._stretches[-1][0].width, self._end, list[int](), 0
        if begin == self._partial:
            return  # it would be taken to go on with that part
        for size in sizes:
            if made and (at % width == 0 or size % width == 0):
                break
            made.append(size)
            at += size
        first, order = len(self.cuts), [n for n in order if n < len(made)]
        self._early |= {first + at for at, n in enumerate(order) if n - 1 in order[at:]}
        self._cut(made, delay_ms, order, ceil=ceil)
        self._uneven.append((begin, self._end))
        if at % width:
            self._partial = self._end

    def _cut(self, sizes: list[int], delay_ms: int, order: Sequence[int], *, ceil: bool) -> None:
        """Say the next bytes in frames of these sizes, in an order."""
        fmt, origin = self._stretches[-1]
        ends = list(itertools.accumulate(sizes, initial=fmt.width * (self._end - origin)))
        added_ms = self._clock_ms + delay_ms
        first = len(self.cuts)
        self.cuts += [Cut(fmt, origin, ends[n], ends[n + 1], added_ms, ceil, first + n) for n in order]
        self._lost(math.ceil(sum(sizes) / fmt.width))

    def _other(self, begin: int, samples: int, later_ms: int) -> None:
        """Say once more what is cut elsewhere now: it overlaps others, or contains them."""
        if begin >= self._end:
            return
        at = max(n for n, (_, origin) in enumerate(self._stretches) if origin <= begin)
        fmt, origin = self._stretches[at]
        until = self._stretches[at + 1][1] if at + 1 < len(self._stretches) else self._end
        end = min(until, begin + samples)
        if any(begin < odd_end and odd < end for odd, odd_end in self._uneven):
            return
        near = next((cut.added_ms for cut in self.cuts if cut.last >= (begin, 0)), 0)
        self._once_more(
            Cut(fmt, origin, fmt.width * (begin - origin), fmt.width * (end - origin), near + later_ms)
        )

    def _once_more(self, cut: Cut) -> None:
        """Say what was said before, unless that makes a position that stands still, which is not believed."""
        there = [one for one in self.cuts if one.position == cut.position]
        if len(there) < MOST_ALIKE and len({(one.begin, one.end) for one in [*there, cut]}) <= MOST_DIFFERENT:
            self.cuts.append(cut)


def _entry(n: int, cut: Cut, seq: int | None) -> Frame:
    """The entry that a cut is, the n-th on the stream."""
    pcm = bytes(_value(sample, byte) for sample, byte in cut.bytes)
    frame = Frame("call", pcm, cut.fmt.rate, seq, None if seq is None else 20 * seq)
    frame.format, frame.position = cut.fmt, cut.position
    frame.digest = hash(pcm) ^ (frame.timestamp_ms or 0)
    frame.entry = f"{BEGIN_MS + cut.added_ms}-{n}"
    return frame


def _value(sample: int, byte: int) -> int:
    return (7 * sample + 5 * byte) % 83 + 1


# -- what must come of it --------------------------------------------------------------------------------


class Model:
    """The rule: which bytes come in time, what else is waited for in vain, and what that becomes."""

    def __init__(self, begin: int = 0) -> None:
        self.front: Byte = (begin, 0)
        self.heard: set[Byte] = set()
        self.voids: list[tuple[int, int]] = []
        self.late_s = 0.0
        self._filled: set[int] = set()
        self._waiting: list[tuple[int, Cut]] = []

    def take(self, cut: Cut) -> None:
        while self._waiting and min(added for added, _ in self._waiting) + REORDER_MS <= cut.added_ms:
            self._close_first()
        self._waiting.append((cut.added_ms, cut))
        self._drain()

    def close(self) -> None:
        while self._waiting:
            self._close_first()

    @property
    def _up(self) -> int:
        """The next whole sample."""
        sample, byte = self.front
        return sample + (byte > 0)

    def _close_first(self) -> None:
        at, cut = min(enumerate(cut for _, cut in self._waiting), key=lambda one: one[1].position)
        del self._waiting[at]
        hole = cut.position - self._up
        self._filled |= set(range(self._up, cut.position))
        if hole * 1000 / cut.fmt.rate > FILL_MS:
            self.voids.append((self._up, cut.position))
        self.front = cut.first
        self._hear(cut)
        self._drain()

    def _drain(self) -> None:
        while (found := next((one for one in self._waiting if self._follows(one[1])), None)) is not None:
            self._waiting.remove(found)
            self._hear(found[1])

    def _follows(self, cut: Cut) -> bool:
        if cut.begin == cut.end:
            return True
        return cut.first <= ((self._up, 0) if cut.whole else self.front)

    def _hear(self, cut: Cut) -> None:
        new = {at for at in cut.bytes if at >= self.front}
        self.heard |= new
        late = sum(at not in new and at[0] in self._filled for at in cut.bytes)
        self.late_s += late / cut.fmt.bytes_per_s
        self.front = max(self.front, cut.last) if cut.begin < cut.end else self.front


def modelled(cuts: list[Cut]) -> Model:
    model = Model()
    for cut in cuts:
        model.take(cut)
    model.close()
    return model


# -- what came of it -------------------------------------------------------------------------------------


Step = tuple[int, list[tuple[int, int]], str]  # entries read, finals by channel, and what then happens


class Worker:
    """One worker after another, one call: what was committed of it."""

    def __init__(self, stream: list[Frame]) -> None:
        self.stream = stream
        self.at = 0
        self.done: list[dict[str, Any]] = []
        self.result = ReceiveResult()
        self.call = self._begun(Stored())

    @staticmethod
    def _begun(stored: Stored) -> Call:
        return Call(Outbox("call", TOPICS, stored), BOUNDS)

    def read(self, count: int) -> bool:
        """Let the call receive what comes next on the stream."""
        batch = self.stream[self.at : self.at + count]
        self.at += len(batch)
        if batch:
            self._took(self.call.receive(batch, ids.milliseconds(batch[-1].entry) / 1000))
        return bool(batch)

    def close(self) -> None:
        self._took(self.call.close())

    def _took(self, result: ReceiveResult) -> None:
        for name in ("accepted", "repeats", "filled_s", "late_s"):
            setattr(self.result, name, getattr(self.result, name) + getattr(result, name))

    def hear(self, count: int, channel: int) -> None:
        """Let a final come for so many samples of a channel, with the audio as its words."""
        timeline, outbox = self.call.timeline, self.call.outbox
        timeline.rewind()
        channel %= len(timeline.cursors)
        start = timeline.cursor(channel)
        end = min(start + count, timeline.segment_end())
        if end <= start:
            return
        heard = {
            "event": "heard", "samples": end - start, "start_ms": timeline.ms(start),
            "end_ms": timeline.ms(end), "audio": timeline._between(start, end), "fmt": timeline.format(),
            "start": start, **outbox.leg(channel, len(timeline.cursors)),
        }  # fmt: skip
        outbox.put(Item(resume_point=timeline.finalize(end, channel), event=heard, channel=channel))
        pass_void(timeline, outbox)

    def give_up(self, seconds: float) -> None:
        """Give up the oldest audio."""
        before = self.call.timeline.unfinalized_s
        self.call.give_up_oldest(seconds, GapReason.MEMORY)
        assert before - self.call.timeline.unfinalized_s == pytest.approx(min(before, seconds), abs=0.002)

    def commit(self, steps: int = 10**6) -> None:
        """Have Redis take what waits to be written, or some of it."""
        while steps and self.call.outbox.next_commit(1) is not None:
            self.done += [item.event for item in self.call.outbox.settle(Outcome.APPLIED) if item.event]
            steps -= 1

    def kill(self) -> None:
        """Begin again from what was committed."""
        stored = self.call.outbox.stored
        place = decode_checkpoint(stored.state).place
        self.call = self._begun(stored)
        begin = ids.key(ids.earlier(place.entry, REPLAY_MARGIN_MS))
        self.at = sum(ids.key(one.entry) < begin for one in self.stream)

    def go(self, steps: list[Step]) -> None:
        """Read, hear, commit and die, and then let all be read, heard and committed."""
        for count, finals, fate in steps:
            if not self.read(count) and fate == "commit":
                self.close()
            for samples, channel in finals:
                self.hear(samples, channel)
            if fate == "kill":
                self.kill()
            elif fate != "go on":
                self.commit(1 if fate == "commit some" else 10**6)
        self.finish()

    def finish(self, size: int = 17) -> None:
        """Let all that is left be read, heard and committed."""
        while self.read(size):
            pass
        self.close()
        while self.call.timeline.unfinalized:
            for channel in (0, 1):
                self.hear(10**9, channel)
        self.commit()
        assert not self.call.order
        assert self.call.outbox.idle


class Found:
    """What was committed of a call, in order: each sample of each channel once, at its time."""

    def __init__(self, of: Producer, done: list[dict[str, Any]]) -> None:
        self.heard = dict[Byte, int]()  # that are not silence
        self.gaps = list[tuple[int, int]]()  # of the source
        self.given_up = set[tuple[int, int]]()  # samples of channels
        self._of = of
        self._cursors = [0, 0]
        self._ms = {0: 0}
        for event in done:
            if event["event"] in ("heard", "gap"):
                self._take(event)
        assert self._cursors[0] == self._cursors[1]
        self.end = self._cursors[0]

    def _take(self, event: dict[str, Any]) -> None:
        channel, mono = event.get("channel", 0), "channel" not in event
        start, end = self._cursors[channel], self._cursors[channel] + event["samples"]
        assert end > start
        self._cursors = [end, end] if mono else [*self._cursors[:channel], end, *self._cursors[channel + 1 :]]
        assert self._ms.setdefault(start, event["start_ms"]) == event["start_ms"]
        assert self._ms.setdefault(end, event["end_ms"]) == event["end_ms"]
        if event.get("reason") == "memory":
            self.given_up |= {(n, one) for n in range(start, end) for one in ((0, 1) if mono else (channel,))}
            return
        # What never came is as long as if it were of the format of what is behind it.
        fmt = event.get("fmt") or self._of.format(end)
        assert event["end_ms"] - event["start_ms"] == (end - start) * 1000 // fmt.rate
        if event["event"] == "gap":
            assert event["reason"] == "source"
            if channel == 0:
                self.gaps.append((start, end))
        else:
            assert event["start"] == start
            self._hear(start, event["audio"], fmt, channel)

    def _hear(self, start: int, audio: bytes, fmt: Format, channel: int) -> None:
        for n, value in enumerate(audio):
            sample, byte = start + n // fmt.width, n % fmt.width
            if self._of.channel((sample, byte)) == channel and value != fmt.silence[0]:
                self.heard[sample, byte] = value


STEPS = st.lists(
    st.tuples(
        st.integers(1, 25),
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1)), max_size=4),
        st.sampled_from(["go on", "commit", "commit", "commit some", "kill", "kill"]),
    ),
    max_size=50,
)
GIVEN_UP_S = st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.1, 0.3]), min_size=1, max_size=30)


@given(SCRIPTS, STEPS, GIVEN_UP_S)
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_comes_in_time_is_heard_or_given_up_and_the_rest_is_silence_or_a_gap(
    script: Script, steps: list[Step], given_up_s: list[float]
) -> None:
    of = Producer(script)
    model, worker = modelled(of.cuts), Worker(of.stream)
    for (count, finals, _), seconds in zip(steps, itertools.cycle(given_up_s), strict=False):
        worker.read(count)
        for samples, channel in finals:
            worker.hear(samples, channel)
        worker.give_up(seconds)
    worker.finish()
    got = Found(of, worker.done)
    sample, byte = model.front  # part of a sample is not heard before the rest of it comes
    expected = of.bytes({at for at in model.heard if at < (sample, 0)})
    assert got.heard == {
        at: value for at, value in expected.items() if (at[0], of.channel(at)) not in got.given_up
    }
    assert got.gaps == model.voids
    assert not {n for n, _ in got.given_up} & {n for void in model.voids for n in range(*void)}
    assert (got.end, worker.call.timeline.rest) == (sample, byte)
    in_part = 1e-6 + 0.002 * sum(not cut.whole for cut in of.cuts)  # these say where they begin to a sample
    assert worker.result.late_s == pytest.approx(model.late_s, abs=in_part)


@given(SCRIPTS, STEPS)
@settings(max_examples=examples(600), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_killed_anywhere_and_read_again_nothing_is_lost_doubled_or_moved(
    script: Script, steps: list[Step]
) -> None:
    of = Producer(script)
    model, worker = modelled(of.cuts), Worker(of.stream)
    worker.go(steps)
    got = Found(of, worker.done)
    sample, _ = model.front
    in_time = {at for at in model.heard if at < (sample, 0)}
    # What waits is fewer after a kill, and so is what makes a hole close: more may come in time.
    ever = {at for cut in of.cuts for at in cut.bytes}
    assert got.heard.items() >= of.bytes(in_time).items()
    assert got.heard.items() <= of.bytes(ever).items()
    assert got.end == sample


# -- some entries have none ------------------------------------------------------------------------------

MIXED = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.integers(0, 40), st.booleans()),
        st.tuples(st.just("frame"), st.integers(0, 40), st.booleans()),
        st.tuples(st.just("lost"), st.sampled_from([1, 50, 51, 100, 101, 300])),
        st.tuples(st.just("format"), st.sampled_from(FORMATS)),
    ),
    max_size=60,
)
MISTAKES = st.sampled_from([None, -1, 10**9])


@given(MIXED, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2500)), max_size=9), MISTAKES, STEPS)
@example([("lost", 1), ("frame", 16, False), ("frame", 0, False), ("frame", 1, True)], [], None, [])
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_those_without_one_go_on_where_the_one_before_them_ended(
    pieces: list[tuple[Any, ...]], again: list[tuple[int, int]], mistake: int | None, steps: list[Step]
) -> None:
    """In order, and what is missing is missing before one that has a position."""
    said, without, lost = list[tuple[Any, ...]](), set[int](), True
    for kind, *what in pieces:
        if kind == "frame":
            n = sum(one[0] == "frame" for one in said)
            without |= {n} if what[1] and not lost else set()
            said.append(("frame", what[0], 0))
            lost = lost and not what[0]
        else:
            said.append((kind, *what))
            lost = lost or kind == "lost"
    of = Producer(Script(said, again, [], [None]))
    for cut, frame in zip(of.cuts, of.stream, strict=True):
        frame.seq, frame.timestamp_ms = cut.number, 20 * cut.number
        frame.digest = hash(frame.pcm) ^ frame.timestamp_ms
        if cut.number in without:
            frame.misplaced, frame.position = mistake == -1, mistake if mistake == 10**9 else None
    worker = Worker(of.stream)
    worker.go(steps)
    got = Found(of, worker.done)
    assert got.heard == of.bytes({at for cut in of.cuts for at in cut.bytes})
    assert got.gaps == modelled(of.cuts).voids


# -- the fast path ---------------------------------------------------------------------------------------


class Careful(Call):
    """A call that looks at each frame."""

    def _goes_on(self, frames: list[Frame]) -> bool:
        return False


def state_of(call: Call) -> list[Any]:
    """All that what comes next can depend on."""
    timeline, series, repeats = call.timeline, call._series, call.repeats
    last = series._last
    return [
        bytes(timeline._audio), timeline.received, timeline.rest, timeline.cursors, timeline.segments._all,
        [timeline.resume_point(sample) for sample in range(timeline.finalized, timeline.received + 1)],
        call.order.frames, call.last_entry, call.announced, call.floor(), call.outbox._queue,
        last and (last.entry, last.seq, last.timestamp_ms, last.format, len(last.pcm)),
        series._owed, series._due, repeats._digests.tolist(), repeats._runs, repeats._highest,
        repeats._rising, [frame.entry for frame in repeats._alike],
    ]  # fmt: skip


@given(
    SCRIPTS,
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 40)), min_size=1, max_size=60),
    st.sets(st.integers(0, 90), max_size=12),
    st.booleans(),
)
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_frames_that_go_on_are_taken_at_once_as_they_are_one_by_one(
    script: Script, steps: list[tuple[int, int]], without: set[int], in_order: bool
) -> None:
    if in_order:  # as it nearly always is
        pieces = [
            piece if piece[0] == "format" else (*piece[:2], 0, *piece[3:])
            for piece in script.pieces
            if piece[0] != "lost"
        ]
        script = script._replace(pieces=pieces, numbers=[*range(99)])
    of = Producer(script)
    fast, slow = Worker._begun(Stored()), Careful(Outbox("call", TOPICS, Stored()), BOUNDS)
    for n in without & set(range(len(of.stream))):
        of.stream[n].position = None
        of.stream[n].misplaced = n % 3 == 0
    at = 0
    for count, finalized in steps:
        batch = of.stream[at : at + count]
        at += count
        if not batch:
            break
        results = [call.receive([copy(frame) for frame in batch]) for call in (fast, slow)]
        assert _fields(results[0]) == _fields(results[1])
        for call in (fast, slow):
            call.give_up_until(call.timeline.finalized + finalized, GapReason.MEMORY)
        assert state_of(fast) == state_of(slow)


def _fields(result: ReceiveResult) -> list[float]:
    return [getattr(result, name) for name in ReceiveResult.__slots__]

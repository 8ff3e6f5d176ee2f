"""A whole call against a model: frames, connections, results, commits, lost answers and kills in any order.

The producer numbers its samples, the stand-in for Deepgram says the numbers of the samples that it was sent,
Redis applies commits by compare-and-set. What is checked is what was committed: every sample of the call lies
in exactly one final or gap, the words of a final are those of its range, and times are the call's own.
"""

import itertools
import json
import math
import struct
from copy import copy
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.channel_results import TOLERANCE_S, Publishing
from trio_asr.core.outbox import MAX_WRITES, Outbox
from trio_asr.core.results import ResultHandler
from trio_asr.wire import ids
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.codes import EndReason, EventName, GapReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.messages import Alternative, Channel, Metadata, Results, UtteranceEnd, Word
from trio_asr.wire.records import Commit, Outcome, Stored, decode_checkpoint
from trio_asr.wire.transcripts import Item, Topics

RATES = (100, 200)  # samples of 10 and 5 ms: few enough to say each of them
TOPICS = Topics("transcript", "events", 100)
ENTRY_MS = 1000  # between two entries
# What a start reads before its floor, here forty entries. What lies before it can still be repeated within
# it: then the repeat is taken for news, and a hole soon after it may not be filled. Real ones hold hundreds.
MARGIN_MS = 40_000
REORDER_MS = 2500  # two entries may come in between
FIRST_ENTRY = 1_000_000
PARTS = st.floats(0, 1)


def index_of(entry: str) -> int:
    """The number of the first entry that an exclusive read after `entry` gives."""
    return max(0, (ids.milliseconds(entry) - FIRST_ENTRY) // ENTRY_MS + 1)


def float32(value: float) -> float:
    """A time as Deepgram has it."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def new_call(stored: Stored, max_unfinalized_s: float) -> Call:
    return Call(Outbox("call", TOPICS, stored), Bounds(1000, max_unfinalized_s, REORDER_MS))


class Producer:
    """Puts entries on the stream; its samples are 1, 2, 3, ... so that silence is told from them."""

    def __init__(self) -> None:
        self.stream: list[Frame] = []
        self.rate = RATES[0]
        self._source = b"".join(n.to_bytes(2, "little") for n in range(1, 20_000))
        self._at = self._seq = self._timestamp = 0
        self._frame_ms = self._anew_from = 0
        self._series = 0

    def frame(self, size: int, lost: int) -> None:
        """Add a frame of so many bytes after so many that were lost."""
        self._add(self._next(size, lost))

    def late(self, order: list[int]) -> None:
        """Add frames of 20 ms in this order."""
        frames = [self._next(self.rate // 25, 0) for _ in order]
        for n in order:
            self._add(frames[n])

    def _next(self, size: int, lost: int) -> Frame:
        self._seq += 1 + lost
        self._timestamp += self._frame_ms * (1 + lost)
        pcm = self._source[self._at : self._at + size]
        self._at += size
        self._frame_ms = size * 500 // self.rate
        frame = Frame("call", pcm, self.rate, self._seq, self._timestamp, "tenant", "trace")
        frame.format = audio_format(self.rate)
        frame.digest = hash((self._at, self._seq)) ^ self._timestamp
        return frame

    def repeat(self, back: int) -> None:
        """Add an entry once more; none from before the call's last end, which is past recognising."""
        recent = self.stream[self._anew_from :][-back:]
        if recent:
            self._add(copy(recent[0]))

    def _add(self, frame: Frame) -> None:
        frame.entry = f"{FIRST_ENTRY + len(self.stream) * ENTRY_MS}-0"
        self.stream.append(frame)

    def change_rate(self) -> None:
        self.rate = RATES[self.rate == RATES[0]]

    def start_anew(self) -> None:
        """Count from somewhere below again, at some other time; no two frames have the same number."""
        self._series += 1
        self._seq = -1000 * self._series
        self._timestamp += 10_000

    def call_ended(self) -> None:
        """Go on as another series, whatever came before: a call that is over remembers none."""
        self._seq += 1000
        self._timestamp -= 10_000
        self._anew_from = len(self.stream)


class Range(NamedTuple):
    """What one committed item finalized."""

    start: int
    end: int
    kind: str


class Redis:
    """Compare-and-set, and all that was ever written; `truth` is of a call that forgot nothing."""

    def __init__(self, truth: Call) -> None:
        self.truth = truth.timeline
        self.stored = Stored()
        self.live = False
        self.ranges: list[Range] = []
        self.transcripts: list[dict[str, Any]] = []
        self.events: list[str] = []

    @property
    def finalized(self) -> int:
        return self.ranges[-1].end if self.ranges else 0

    def apply(self, commit: Commit, items: list[Item]) -> Outcome:
        """Answer as the script does; the first time, judge what is written."""
        if self.stored[:2] == (commit.rev, commit.state):
            return Outcome.DONE
        assert commit.rev == self.stored.rev + 1, "the only worker builds on what is stored"
        assert len(commit.writes) <= MAX_WRITES
        self.stored, self.live = Stored(commit.rev, commit.state), commit.live
        documents = iter([json.loads(write.data) for write in commit.writes])
        for item in items:
            self._judge(item, next(documents) if item.transcript or item.event else {})
        state = decode_checkpoint(commit.state)
        assert state.place.finalized == self.finalized
        assert state.seq == len(self.transcripts)
        return Outcome.APPLIED

    def _judge(self, item: Item, written: dict[str, Any]) -> None:
        start = self.finalized
        end = start if item.resume_point is None else item.resume_point.finalized
        assert end >= start, "a cursor moved back"
        event = written.get("event", "")
        if event:
            self.events.append(event)
            assert event == "gap" or end == start, f"the event {event} passed over audio"
        kind = event or written.get("type", "empty")
        if event == "gap":
            assert written["samples"] == end - start > 0
        if kind in ("gap", "final"):
            assert (written["start_ms"], written["end_ms"]) == (self.truth.ms(start), self.truth.ms(end))
        if end > start:
            self.ranges.append(Range(start, end, kind))
        if item.transcript is not None:
            self._judge_transcript(written, start, end)

    def _judge_transcript(self, written: dict[str, Any], start: int, end: int) -> None:
        self.transcripts.append(written)
        assert written["seq"] == len(self.transcripts), "numbers count up from 1"
        assert written["text"]
        assert 0 <= written["start_ms"] <= written["end_ms"] <= self.truth.ms(self.truth.received)
        if written["type"] == "final":
            assert end > start, "a final that froze nothing was published"
            tolerance = math.ceil(TOLERANCE_S * RATES[-1])
            said = [int(word) for word in written["text"].split()]
            begins = range(start - tolerance, start + tolerance + 1)
            assert any(said == self.samples(begin, end) for begin in begins), "words of other audio"

    def samples(self, start: int, end: int) -> list[int]:
        """The numbers of the samples that lie on this stretch of the call; silence is none."""
        pcm = self.truth._audio[2 * max(0, start) : 2 * min(end, self.truth.received)]
        return [n for (n,) in struct.iter_unpack("<h", pcm) if n]


class Connection:
    """One connection, and the server at its other end: it was sent `heard`, and said so much for good."""

    def __init__(self, call: Call, number: int) -> None:
        self.handler = ResultHandler(call.timeline, call.outbox, Publishing(number, "r"))
        self.heard: list[int] = []
        self.final = 0

    def result(self, start: int, end: int, *, silent: bool = False, **more: Any) -> Results:
        """What a server says of a stretch of its own audio: the number of each sample, as a word."""
        rate = self.handler.clock.rate
        words = [
            Word(str(self.heard[at]), float32(at / rate), float32((at + 1) / rate))
            for at in range(max(0, start), min(end, len(self.heard)))
            if self.heard[at] and not silent
        ]
        best = Alternative(" ".join(word.word for word in words), 0.5, words)
        begin = float32(start / rate)
        return Results(begin, float32(end / rate) - begin, channel=Channel([best]), **more)


class Machine(RuleBasedStateMachine):
    """One worker after another, one call."""

    def __init__(self) -> None:
        super().__init__()
        self.producer = Producer()
        self.truth = new_call(Stored(), math.inf)
        self.redis = Redis(self.truth)
        self.call: Call | None = None
        self.line: Connection | None = None
        self.ending = False
        self.read = self.told = 0  # entries read, and told to the truth
        self.floor = ids.ORIGIN

    # -- the producer ----------------------------------------------------------------------------------

    @precondition(lambda self: not self.ending)
    @rule(size=st.integers(0, 40), lost=st.sampled_from([0, 0, 0, 1, 2]))
    def a_frame(self, size: int, lost: int) -> None:
        self.producer.frame(size, lost)
        self._tell()

    @precondition(lambda self: not self.ending)
    @rule(count=st.integers(1, 9))
    def frames_of_twenty_ms(self, count: int) -> None:
        for _ in range(count):
            self.producer.frame(self.producer.rate // 25, 0)
        self._tell()

    @precondition(lambda self: not self.ending)
    @rule(order=st.permutations(range(3)))
    def frames_come_late(self, order: list[int]) -> None:
        self.producer.late(order)
        self._tell()

    @precondition(lambda self: not self.ending)
    @rule(back=st.integers(1, 3))
    def a_frame_twice(self, back: int) -> None:
        self.producer.repeat(back)
        self._tell()

    @rule()
    def another_rate(self) -> None:
        self.producer.change_rate()

    @rule()
    def seq_begins_anew(self) -> None:
        self.producer.start_anew()

    def _tell(self) -> None:
        new = self.producer.stream[self.told :]
        if new:
            self.truth.receive(new)
        self.told += len(new)

    # -- the reader ------------------------------------------------------------------------------------

    @precondition(lambda self: self.read < len(self.producer.stream) and not self.ending)
    @rule(count=st.integers(1, 12))
    def some_frames_are_read(self, count: int) -> None:
        batch = self.producer.stream[self.read : self.read + count]
        self.read += len(batch)
        if self.call is None:
            until = decode_checkpoint(self.redis.stored.state).place.entry
            if ids.key(batch[-1].entry) <= ids.key(until):
                return  # all of it was dealt with before the call ended
            self.call = new_call(self.redis.stored, 1.5)
        self.call.receive(batch)

    @rule()
    def the_floor_is_noted(self) -> None:
        floor = None if self.call is None else self.call.floor()
        at = self.producer.stream[self.read - 1].entry if self.read else ids.ORIGIN
        self.floor = at if floor is None else min(at, floor, key=ids.key)

    # -- connections -----------------------------------------------------------------------------------

    @precondition(lambda self: self.call and not self.line and self.call.timeline.unfinalized)
    @rule()
    def a_connection_opens(self) -> None:
        assert self.call is not None
        self.line = Connection(self.call, self.call.connected("r"))

    @precondition(lambda self: self.line)
    @rule(limit=st.integers(1, 40))
    def a_chunk_is_sent(self, limit: int) -> None:
        assert self.call is not None
        assert self.line is not None
        timeline, clock = self.call.timeline, self.line.handler.clock
        chunk = timeline.take(limit) if timeline.unsent(self.line.handler.format) else None
        if chunk is not None:
            assert chunk.pcm == self.truth.timeline._audio[2 * chunk.start : 2 * chunk.end]
            assert (
                self.truth.timeline.format_at(chunk.start).rate
                == self.truth.timeline.format_at(chunk.end - 1).rate
                == clock.rate
            )
            clock.sending(chunk.start, chunk.end)
            self.line.handler.chunk_ends.append(chunk.end)
            self.line.heard += [n for (n,) in struct.iter_unpack("<h", chunk.pcm)]

    @precondition(lambda self: self.line)
    @rule(
        part=PARTS,
        off=st.sampled_from([0, 0, 0, 0, 0, -1, 1, -7, 9, -100]),
        silent=st.sampled_from([False, False, False, True]),
        speech_final=st.booleans(),
    )
    def a_final_comes(self, part: float, off: int, silent: bool, speech_final: bool) -> None:
        """Of what follows the last one; or it begins early, or late, or repeats, or has no length."""
        line = self.line
        assert line is not None
        end = line.final + round(part * (len(line.heard) - line.final))
        start = max(0, line.final + off)
        line.handler.handle(
            line.result(start, max(start, end), silent=silent, is_final=True, speech_final=speech_final)
        )
        line.final = max(line.final, min(end, len(line.heard)))

    @precondition(lambda self: self.line)
    @rule(start=PARTS, part=PARTS, again=st.booleans())
    def a_final_comes_of_any_stretch(self, start: float, part: float, again: bool) -> None:
        line = self.line
        assert line is not None
        sent = len(line.heard)
        message = line.result(round(start * sent), round((start + part) * sent), is_final=True)
        for _ in range(1 + again):
            line.handler.handle(message)

    @precondition(lambda self: self.line)
    @rule(part=PARTS)
    def an_interim_comes(self, part: float) -> None:
        line = self.line
        assert line is not None
        line.handler.handle(
            line.result(line.final, line.final + round(part * (len(line.heard) - line.final)))
        )

    @precondition(lambda self: self.line)
    @rule(at=st.floats(-1, 5))
    def an_utterance_ends(self, at: float) -> None:
        assert self.line is not None
        self.line.handler.handle(UtteranceEnd(at))

    @precondition(lambda self: self.line)
    @rule(in_order=st.booleans())
    def the_connection_ends(self, in_order: bool) -> None:
        assert self.call is not None
        assert self.line is not None
        if in_order:
            self.line.handler.handle(Metadata(1.0))
            self.line.handler.finish()
        self.call.event(EventName.CONNECTION_CLOSED, code=1000 if in_order else 1006)
        self.line = None

    @precondition(lambda self: self.call and not self.ending)
    @rule(seconds=st.floats(0.01, 2))
    def the_oldest_audio_is_given_up(self, seconds: float) -> None:
        assert self.call is not None
        assert self.call.give_up_oldest(seconds, GapReason.MEMORY) <= 2 * seconds + 0.01

    # -- Redis, and death ------------------------------------------------------------------------------

    @precondition(lambda self: self.call)
    @rule(fate=st.sampled_from(["answered", "answered", "answered", "lost", "never came", "refused"]))
    def a_commit_is_made(self, fate: str) -> None:
        assert self.call is not None
        outbox = self.call.outbox
        commit = outbox.next_commit(1)
        if commit is None:
            assert outbox.idle
        elif fate == "refused" and commit.rev == self.redis.stored.rev + 1:
            assert outbox.settle(Outcome.REFUSED) == []
        elif fate in ("answered", "lost"):
            assert outbox._flight is not None
            outcome = self.redis.apply(commit, outbox._flight[1])
            if outcome is Outcome.APPLIED and not commit.live:
                self.producer.call_ended()
            if fate == "answered":
                outbox.settle(outcome)
        if self.ending and outbox.idle:
            self.call, self.ending = None, False

    @precondition(lambda self: self.call and not self.line and not self.call.timeline.unfinalized)
    @precondition(lambda self: not self.ending)
    @rule()
    def the_call_ends(self) -> None:
        """At a whole sample: what follows an end is not the other half of one before it."""
        assert self.call is not None
        if self.read == len(self.producer.stream) > 0 and not self.call.timeline.held_bytes:
            self.call.end(self.call.last_entry, EndReason.IDLE)
            self.ending = True

    @rule()
    def the_worker_is_killed(self) -> None:
        self.line, self.ending = None, False
        self.call = new_call(self.redis.stored, 1.5) if self.redis.live else None
        self.read = index_of(ids.before(ids.earlier(self.floor, MARGIN_MS)))

    # -- what is always true ---------------------------------------------------------------------------

    @invariant()
    def cursors_are_in_order(self) -> None:
        if self.call is None:
            return
        timeline = self.call.timeline
        assert self.redis.finalized <= timeline.finalized <= timeline.sent <= timeline.received
        assert timeline.received <= self.truth.timeline.received
        assert timeline.held_bytes <= 2 * self.truth.timeline.format().rate * (2.5 + 1)

    @invariant()
    def a_call_that_has_begun_is_found_again_until_it_ends(self) -> None:
        events = [event for event in self.redis.events if event in ("started", "resumed", "ended")]
        assert self.redis.live == (bool(events) and events[-1] != "ended")
        for before, event in itertools.pairwise(["ended", *events]):
            assert (event == "ended") == (before != "ended")
        assert events.count("started") <= 1

    def teardown(self) -> None:
        """Let all that is left be read, sent, heard and committed: then nothing is missing."""
        self._commit_all()
        self.truth.close()
        for _ in range(100):
            while self.read < len(self.producer.stream):
                self.some_frames_are_read(9)
                self._commit_all()
            if self.call is not None:
                self.call.close()
                self._commit_all()
            if self.call is None or not self.call.timeline.unfinalized:
                break
            self.a_connection_opens()
            for _ in range(100):
                self.a_chunk_is_sent(40)
            self.a_final_comes(1.0, 0, silent=False, speech_final=True)
            self.the_connection_ends(in_order=True)
            self._commit_all()
        assert self.redis.finalized == self.truth.timeline.received
        for before, after in itertools.pairwise([Range(0, 0, ""), *self.redis.ranges]):
            assert before.end == after.start < after.end

    def _commit_all(self) -> None:
        self.line = None
        while self.call is not None and not self.call.outbox.idle:
            self.a_commit_is_made("answered")


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)

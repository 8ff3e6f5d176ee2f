"""A whole call against a model: frames, connections, results, commits, lost answers and kills in any order.

The producer numbers its samples, on each channel differently. The stand-in for Deepgram says the numbers of
the samples that it was sent, channel by channel. Redis applies commits by compare-and-set. What is checked is
what was committed: every sample of each channel of the call lies in exactly one final or gap of that channel,
the words of a final are those of its range, and times are the call's own.
"""

import itertools
import json
import math
import struct
from copy import copy
from typing import Any, ClassVar, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.channel_results import TOLERANCE_S, MessageKind, Publishing
from trio_asr.core.outbox import MAX_WRITES, Outbox
from trio_asr.core.results import SILENT_S, ResultHandler
from trio_asr.core.verdict import TAIL_S, ChannelEnd, End, Judge
from trio_asr.wire import ids
from trio_asr.wire.audio_format import Format
from trio_asr.wire.codes import EndReason, EventName, GapReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.messages import Alternative, Channel, Message, Metadata, Results, UtteranceEnd, Word
from trio_asr.wire.records import VERSION, Commit, Outcome, Stored, decode_checkpoint
from trio_asr.wire.transcripts import Item, Topics

ROLES = ("customer", "agent")
TOPICS = Topics("transcript", "events", 100)
ENTRY_MS = 1000  # between two entries
# What a start reads before its floor, here forty entries. What lies before it can still be repeated within
# it: then the repeat is taken for news, and a hole soon after it may not be filled. Real ones hold hundreds.
MARGIN_MS = 40_000
REORDER_MS = 2500  # two entries may come in between
FIRST_ENTRY = 1_000_000
PARTS = st.floats(0, 1)
OFF = st.sampled_from([0, 0, 0, 0, 0, -1, 1, -3, -7, 9, -100])  # samples between a final and the one before
CHANNELS = st.sampled_from([0, 0, 0, 0, 1, 1, 1, 1, None, 2, -1])  # that a message names


def index_of(entry: str) -> int:
    """The number of the first entry that an exclusive read after `entry` gives."""
    return max(0, (ids.milliseconds(entry) - FIRST_ENTRY) // ENTRY_MS + 1)


def float32(value: float) -> float:
    """A time as Deepgram has it."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def new_call(stored: Stored, max_unfinalized_s: float) -> Call:
    return Call(Outbox("call", TOPICS, stored), Bounds(1000, max_unfinalized_s, REORDER_MS))


def numbers(audio: bytes, channels: int) -> list[list[int]]:
    """The samples of each channel."""
    samples = list(memoryview(audio).cast("H"))
    return [samples[channel::channels] for channel in range(channels)]


class Producer:
    """Puts entries on the stream; its samples are 1, 2, 3, ... so that silence is told from them.

    Those of a second channel are 2 ** 15 more.
    """

    def __init__(self, fmt: Format) -> None:
        self.stream: list[Frame] = []
        self.format = fmt
        self._rest = b""  # of a sample of which a part is on the stream
        self._count = self._at = 0  # samples made, bytes put on the stream
        self._seq = self._timestamp = 0
        self._frame_ms = self._anew_from = 0
        self._series = 0

    def frame(self, size: int, lost: int, silent: int | None = None) -> None:
        """Add a frame of so many bytes after so many that were lost. A channel of it may be silent."""
        self._add(self._next(size, lost, silent))

    def late(self, order: list[int]) -> None:
        """Add frames of 20 ms in this order."""
        frames = [self._next(self.twenty_ms, 0) for _ in order]
        for n in order:
            self._add(frames[n])

    @property
    def twenty_ms(self) -> int:
        return self.format.bytes_per_s // 50

    def _next(self, size: int, lost: int, silent: int | None = None) -> Frame:
        self._seq += 1 + lost
        self._timestamp += self._frame_ms * (1 + lost)
        pcm = self._audio(size, silent)
        self._at += size
        fmt = self.format
        self._frame_ms = size * 1000 // fmt.bytes_per_s
        frame = Frame("call", pcm, fmt.rate, self._seq, self._timestamp, "tenant", "trace")
        frame.format = fmt
        frame.roles = ROLES[: fmt.channels] if fmt.channels > 1 else None
        frame.digest = hash((self._at, self._seq)) ^ self._timestamp
        return frame

    def _audio(self, size: int, silent: int | None) -> bytes:
        made, fmt = bytearray(self._rest), self.format
        while len(made) < size:
            self._count += 1
            for channel in range(fmt.channels):
                number = 0 if channel == silent else self._count + 2**15 * channel
                made += number.to_bytes(2, "little")
        self._rest = bytes(made[size:])
        return bytes(made[:size])

    def repeat(self, back: int) -> None:
        """Add an entry once more; none from before the call's last end, which is past recognising."""
        recent = self.stream[self._anew_from :][-back:]
        if recent:
            self._add(copy(recent[0]))

    def _add(self, frame: Frame) -> None:
        frame.entry = f"{FIRST_ENTRY + len(self.stream) * ENTRY_MS}-0"
        self.stream.append(frame)

    def change_format(self, fmt: Format) -> None:
        if fmt is not self.format:
            self.format, self._rest = fmt, b""

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


class Truth:
    """The call that forgot nothing: what is where on its axis."""

    def __init__(self) -> None:
        self.call = new_call(Stored(), math.inf)
        self.timeline = self.call.timeline

    def audio(self, start: int, end: int) -> bytes:
        """The audio of a stretch of one format."""
        return self.timeline._between(start, end)

    def samples(self, channel: int, start: int, end: int) -> list[int]:
        """The numbers of a channel's samples on a stretch of one format; silence is none."""
        fmt = self.timeline.format_at(start)
        return [n for n in numbers(self.audio(start, end), fmt.channels)[channel] if n]

    def silent_until(self, channel: int, start: int, end: int) -> int:
        """Where the silence ends that a stretch of two channels begins with."""
        samples = numbers(self.audio(start, end), 2)[channel]
        return start + next((at for at, n in enumerate(samples) if n), len(samples))

    def channels_at(self, sample: int) -> int:
        return self.timeline.format_at(sample).channels

    def border(self, sample: int) -> float:
        """Where the next format begins, unless both have one channel: a gap may span those."""
        while (after := self.timeline.segments.after(sample)) is not None:
            before = self.timeline.format_at(sample)
            if before != after.format and (before.channels, after.format.channels) != (1, 1):
                return after.start
            sample = after.start
        return math.inf

    def spans(self, channel: int) -> list[tuple[int, int]]:
        """Where there is such a channel."""
        segments, found = self.timeline.segments._all, list[tuple[int, int]]()
        ends = [one.start for one in segments[1:]] + [self.timeline.received]
        for segment, end in zip(segments, ends, strict=True):
            if segment.format.channels > channel:
                found.append((segment.start, end))
        return joined(found)


class Range(NamedTuple):
    """What one committed item finalized, of one channel."""

    channel: int
    start: int
    end: int
    kind: str


def joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges with those joined that follow one another; none goes back."""
    found = list[tuple[int, int]]()
    for start, end in ranges:
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], end
        elif end > start:
            assert not found or start > found[-1][1], "said twice, or out of order"
            found.append((start, end))
    return found


class Redis:
    """Compare-and-set, and all that was ever written."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.stored = Stored()
        self.live = False
        self.cursors = [0]
        self.ranges: list[Range] = []
        self.transcripts: list[dict[str, Any]] = []
        self.events: list[str] = []

    @property
    def finalized(self) -> int:
        return min(self.cursors)

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
        assert state.place.cursors == self.cursors
        assert state.seq == len(self.transcripts)
        assert (state.version == VERSION) == (b'"roles"' in commit.state) == (not state.place.format.plain)
        return Outcome.APPLIED

    def _judge(self, item: Item, written: dict[str, Any]) -> None:
        ms = self.truth.timeline.ms
        moved = self._moved(item)
        event = written.get("event", "")
        if event:
            self.events.append(event)
            assert moved is None or event == "gap", f"the event {event} passed over audio"
        kind = event or written.get("type", "empty")
        if kind in ("gap", "final"):
            assert moved is not None, "nothing was finalized"
            assert (written["start_ms"], written["end_ms"]) == (ms(moved.start), ms(moved.end))
            assert leg(written) == leg_of(moved.channel, self.truth.channels_at(moved.start))
        elif "channel" in written:
            assert written["role"] == ROLES[written["channel"]]
        if event == "gap":
            assert moved is not None
            assert written["samples"] == moved.end - moved.start
        if item.transcript is not None:
            self._judge_transcript(written, moved)
        if moved is not None:
            self.ranges.append(moved._replace(kind=kind))

    def _moved(self, item: Item) -> Range | None:
        """Take the cursors of an item. Return what it finalized."""
        point = item.resume_point
        if point is None:
            return None
        truth, at = self.truth, self.finalized
        before, after, channels = self.cursors, point.cursors, truth.channels_at(at)
        self.cursors = after
        if len(before) != channels:  # another format begins here, maybe one that is not yet read
            assert set(before) == {at}, "a lead crossed a border"
            before = [at] * channels
        if point.finalized >= (border := truth.border(at)):
            assert set(after) == {border}, "a lead crosses a border"
            after = [int(border)] * channels
        elif len(after) != channels:
            assert {*before, *after} == {at}
            return None
        moved = [
            Range(channel, start, end, "")
            for channel, (start, end) in enumerate(zip(before, after, strict=True))
            if start != end
        ]
        assert len(moved) <= 1, "one item is of one channel"
        assert all(one.start < one.end for one in moved), "a cursor moved back"
        return moved[0] if moved else None

    def _cursor(self, channel: int) -> int:
        """Where a channel is. What is stored does not yet know it if that was before any audio."""
        return self.cursors[channel] if len(self.cursors) > channel else self.finalized

    def _judge_transcript(self, written: dict[str, Any], moved: Range | None) -> None:
        truth = self.truth
        self.transcripts.append(written)
        assert written["seq"] == len(self.transcripts), "numbers count up from 1"
        assert written["text"]
        assert 0 <= written["start_ms"] <= written["end_ms"] <= truth.timeline.ms(truth.timeline.received)
        channel = written.get("channel", 0) if moved is None else moved.channel
        start = self._cursor(channel) if moved is None else moved.start
        segment, after = truth.timeline.segments.at(start), truth.timeline.segments.after(start)
        tolerance = math.ceil(TOLERANCE_S * segment.format.rate)
        begins = range(max(segment.start, start - tolerance), start + tolerance + 1)
        said = [int(word) for word in written["text"].split()]
        if written["type"] == "final":
            assert moved is not None, "a final that froze nothing was published"
            assert any(said == truth.samples(channel, begin, moved.end) for begin in begins), (
                "words of other audio"
            )
        else:
            assert leg(written) == leg_of(channel, segment.format.channels)
            assert written["end_ms"] > truth.timeline.ms(start), "a final has overtaken it"
            end = truth.timeline.received if after is None else after.start
            assert follows(said, truth.samples(channel, begins[0], end)), "words of other audio"


def follows(some: list[int], all_: list[int]) -> bool:
    """Whether some numbers stand among others, with none in between. A hole of odd length may repeat some."""
    places = [at for at, number in enumerate(all_) if number == some[0]]
    return any(all_[at : at + len(some)] == some for at in places)


def leg(written: dict[str, Any]) -> dict[str, Any]:
    """What a message says of its channel."""
    return {name: written[name] for name in ("channel", "role") if name in written}


def leg_of(channel: int, channels: int) -> dict[str, Any]:
    """What it has to say."""
    return {} if channels == 1 else {"channel": channel, "role": ROLES[channel]}


class Connection:
    """One connection, and the server at its other end: on each channel it heard this, and said so much."""

    def __init__(self, call: Call, number: int) -> None:
        self.handler = ResultHandler(call.timeline, call.outbox, Publishing(number, "r"))
        self.format = self.handler.format
        self.heard: list[list[int]] = [[] for _ in self.handler.channels]
        self.final = [0] * len(self.heard)

    def hear(self, audio: bytes) -> None:
        for heard, samples in zip(self.heard, numbers(audio, self.format.channels), strict=True):
            heard.extend(samples)

    def of(self, channel: int | None) -> int | None:
        """The channel that a message is of that names this one: none of several, or always the only one."""
        if len(self.heard) == 1:
            return 0
        return channel if channel in range(len(self.heard)) else None

    def result(
        self, channel: int | None, start: int, end: int, *, silent: bool = False, **more: Any
    ) -> Results:
        """What a server says of a stretch of its own audio: the number of each sample, as a word."""
        rate, heard = self.format.rate, self.heard[self.of(channel) or 0]
        words = [
            Word(str(heard[at]), float32(at / rate), float32((at + 0.8) / rate))  # its middle is in there
            for at in range(max(0, start), min(end, len(heard)))
            if heard[at] and not silent
        ]
        best = Alternative(" ".join(word.word for word in words), 0.5, words)
        begin = float32(start / rate)
        duration = float32(end / rate) - begin
        index = [] if channel is None else [channel, len(self.heard)]
        return Results(begin, duration, channel=Channel([best]), channel_index=index, **more)


class CallMachine(RuleBasedStateMachine):
    """One worker after another, one call. Its audio is of the `formats`; it holds at most `most_s` of it."""

    formats: ClassVar[list[Format]]
    most_s: ClassVar[float]

    def __init__(self) -> None:
        super().__init__()
        self.producer = Producer(self.formats[0])
        self.truth = Truth()
        self.redis = Redis(self.truth)
        self.call: Call | None = None
        self.line: Connection | None = None
        self.judge, self.now = Judge(), 0.0
        self.ending = False
        self.read = self.told = 0  # entries read, and told to the truth
        self.floor = ids.ORIGIN

    # -- the producer ----------------------------------------------------------------------------------

    @precondition(lambda self: not self.ending)
    @rule(size=st.integers(0, 40), lost=st.sampled_from([0, 0, 0, 1, 2]))
    def a_frame(self, size: int, lost: int) -> None:
        self.producer.frame(size, lost)
        self.tell()

    @precondition(lambda self: not self.ending)
    @rule(count=st.integers(1, 9))
    def frames_of_twenty_ms(self, count: int) -> None:
        for _ in range(count):
            self.producer.frame(self.producer.twenty_ms, 0)
        self.tell()

    @precondition(lambda self: not self.ending)
    @rule(order=st.permutations(range(3)))
    def frames_come_late(self, order: list[int]) -> None:
        self.producer.late(order)
        self.tell()

    @precondition(lambda self: not self.ending)
    @rule(back=st.integers(1, 3))
    def a_frame_twice(self, back: int) -> None:
        self.producer.repeat(back)
        self.tell()

    @rule(number=st.integers(0, 9))
    def another_format(self, number: int) -> None:
        self.producer.change_format(self.formats[number % len(self.formats)])

    @rule()
    def seq_begins_anew(self) -> None:
        self.producer.start_anew()

    def tell(self) -> None:
        new = self.producer.stream[self.told :]
        if new:
            self.truth.call.receive(new)
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
            self.call = new_call(self.redis.stored, self.most_s)
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
        timeline, line, truth = self.call.timeline, self.line, self.truth
        chunk = timeline.take(limit) if timeline.unsent(line.format) else None
        if chunk is not None:
            assert chunk.pcm == truth.audio(chunk.start, chunk.end)
            first, last = truth.timeline.format_at(chunk.start), truth.timeline.format_at(chunk.end - 1)
            assert first is last is line.format
            line.handler.clock.sending(chunk.start, chunk.end)
            line.handler.chunk_ends.append(chunk.end)
            line.hear(chunk.pcm)

    @precondition(lambda self: self.line)
    @rule(
        channel=CHANNELS,
        part=PARTS,
        off=OFF,
        silent=st.sampled_from([False, False, False, True]),
        speech_final=st.booleans(),
    )
    def a_final_comes(
        self, channel: int | None, part: float, off: int, silent: bool, speech_final: bool
    ) -> None:
        """Of what follows the last one; or it begins early, or late, or repeats, or has no length."""
        line = self.line
        assert line is not None
        of = line.of(channel)
        last, sent = line.final[of or 0], len(line.heard[0])
        end = last + round(part * (sent - last))
        start = max(0, last + off)
        more = {"silent": silent, "is_final": True, "speech_final": speech_final}
        self.hear(line.result(channel, start, max(start, end), **more), of)
        if of is not None:
            line.final[of] = max(last, min(end, sent))

    @precondition(lambda self: self.line)
    @rule(channel=CHANNELS, start=PARTS, part=PARTS, again=st.booleans())
    def a_final_comes_of_any_stretch(
        self, channel: int | None, start: float, part: float, again: bool
    ) -> None:
        line = self.line
        assert line is not None
        sent = len(line.heard[0])
        message = line.result(channel, round(start * sent), round((start + part) * sent), is_final=True)
        for _ in range(1 + again):
            self.hear(message, line.of(channel))

    @precondition(lambda self: self.line)
    @rule(channel=CHANNELS, part=PARTS)
    def an_interim_comes(self, channel: int | None, part: float) -> None:
        line = self.line
        assert line is not None
        of = line.of(channel)
        last = line.final[of or 0]
        end = last + round(part * (len(line.heard[0]) - last))
        self.hear(line.result(channel, last, end), of)

    @precondition(lambda self: self.line)
    @rule(channel=CHANNELS, at=st.floats(-1, 5))
    def an_utterance_ends(self, channel: int | None, at: float) -> None:
        assert self.line is not None
        self.hear(UtteranceEnd(at, [] if channel is None else [channel, 2]), self.line.of(channel))

    def hear(self, message: Message, of: int | None) -> None:
        """Hand a message to the call, which is of this channel, and of no other."""
        assert self.call is not None
        assert self.line is not None
        handler, outbox = self.line.handler, self.call.outbox
        before, partials = [one.cursor for one in handler.channels], dict(outbox._partials)
        finals = [channel.finals for channel in handler.channels]
        kind = handler.handle(message)
        assert (kind is MessageKind.NO_CHANNEL) == (of is None)
        after = [one.cursor for one in handler.channels]
        for channel, reached in enumerate(after):
            if channel != of:
                assert reached == self._passed(channel, before, after, of)
            if reached == before[channel] and channel != of:
                assert outbox._partials.get(channel) is partials.get(channel)
        for channel, results in enumerate(handler.channels):
            if results.finals > finals[channel]:
                self.judge.heard(channel)

    def _passed(self, channel: int, before: list[int], after: list[int], of: int | None) -> int:
        """Where a final of channel `of` leaves another: behind silence, 5 s before its end."""
        assert self.line is not None
        if of is None or after[of] == before[of]:
            return before[channel]
        limit = max(before[channel], after[of] - round(SILENT_S * self.line.format.rate))
        return self.truth.silent_until(channel, before[channel], limit)

    @precondition(lambda self: self.line)
    @rule(in_order=st.booleans(), over=st.booleans())
    def the_connection_ends(self, in_order: bool, over: bool) -> None:
        """Then it is judged, as the sender does; `over` is whether the input is, as far as that knows."""
        assert self.call is not None
        assert self.line is not None
        handler, timeline = self.line.handler, self.call.timeline
        if in_order:
            handler.handle(Metadata(1.0))
            handler.finish()
        tail = over and self.call.next_format == handler.format and timeline.unfinalized_s < TAIL_S
        until = timeline.received if tail else min(handler.clock.end, timeline.received)
        ends = [ChannelEnd(one.finals > 0, timeline.seconds(one.cursor, until)) for one in handler.channels]
        end = End(1000 if in_order else 1006, in_order, in_order, ends, 30.0, tail)
        self.now += 50.0
        for channel, reason in enumerate(self.judge.ended(end, self.now, 120.0).give_up):
            if reason is not None:
                self.call.give_up_until(until, reason, channel)
        self.call.event(EventName.CONNECTION_CLOSED, code=end.code)
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
        self.judge = Judge()
        self.call = new_call(self.redis.stored, self.most_s) if self.redis.live else None
        self.read = index_of(ids.before(ids.earlier(self.floor, MARGIN_MS)))

    # -- what is always true ---------------------------------------------------------------------------

    @invariant()
    def cursors_are_in_order(self) -> None:
        if self.call is None:
            return
        timeline = self.call.timeline
        assert self.redis.finalized <= timeline.finalized <= timeline.sent <= timeline.received
        assert timeline.finalized == min(timeline.cursors)
        assert len(timeline.cursors) == timeline.format_at(timeline.finalized).channels
        assert timeline.received <= self.truth.timeline.received
        most = max(fmt.bytes_per_s for fmt in self.formats)
        assert timeline.held_bytes <= most * (self.most_s + 1)

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
        self.truth.call.close()
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
                self.a_chunk_is_sent(1000)
            assert self.line is not None
            for channel in range(len(self.line.heard)):
                self.a_final_comes(channel, 1.0, 0, silent=False, speech_final=True)
            self.the_connection_ends(in_order=True, over=False)
            self._commit_all()
        assert self.redis.finalized == self.truth.timeline.received
        for channel in range(2):
            ranges = [(one.start, one.end) for one in self.redis.ranges if one.channel == channel]
            assert joined(ranges) == self.truth.spans(channel)

    def _commit_all(self) -> None:
        self.line = None
        while self.call is not None and not self.call.outbox.idle:
            self.a_commit_is_made("answered")

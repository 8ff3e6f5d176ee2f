"""The call's timeline: the one idea that carries the daemon.

All audio of a call lies on one axis, counted in samples since the call began. Three cursors move along it,
always in this order::

    finalized <= sent <= received

* a frame appends at `received`;
* a flush takes the span `sent..received` and moves `sent`;
* a final of the provider, or a gap, moves `finalized`.

A lost socket, a dead process and a takeover are the same case: `rewind`, and replay from `finalized`.

Inside, positions are bytes of s16le: frames of odd length happen, and half a sample must neither be sent nor
shift what follows. The rate can change in mid-call. So the axis is cut into segments of one rate each, and
time is the sum over segments. Audio below `finalized` is dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId, key
from trio_asr.wire.resume_point import PAST_END, ResumePoint, without_order


class _Source(msgspec.Struct, gc=False):
    """A stretch of bytes on the timeline and the entry that it came from."""

    start: int
    end: int
    entry: EntryId
    offset: int  # of the byte at `start` within the entry's audio


class Segment(NamedTuple):
    """A stretch of one sample rate in Hz, from sample `start` at `start_us` to the next segment."""

    start: int
    rate: int
    start_us: int

    def us(self, sample: int) -> int:
        """Return the time of `sample`, in microseconds since the call began."""
        return self.start_us + (sample - self.start) * 1_000_000 // self.rate


class Chunk(NamedTuple):
    """Audio to send: `pcm` begins at sample `start`, and was `due` at a moment of the caller's clock."""

    start: int
    end: int
    pcm: bytes
    due: float = 0.0


class Timeline:
    """The cursors, the audio between them, and the entries that it came from."""

    __slots__ = (
        "_audio",
        "_base",
        "_done",
        "_segments",
        "_sources",
        "_unread",
        "finalized",
        "sent",
        "waiting",
    )

    def __init__(self, point: ResumePoint) -> None:
        self.finalized = self.sent = point.finalized
        self.waiting: Sequence[Frame] = ()  # frames received that wait for those before them
        # Entries finalized, and the first not read again yet, where they are not in the order of their ids.
        self._done: list[EntryId] | None = None
        self._unread: EntryId | None = None
        if point.ahead is not msgspec.UNSET:
            self._done, self._unread = list(point.ahead.entries), point.entry
        self._base = 2 * point.finalized  # the position of _audio[0]
        self._audio = bytearray(point.at - self._base)  # silence not finalized before the first entry
        # Never empty: the last one says after which byte of which entry the timeline ends.
        self._sources = deque([_Source(point.at, point.at, *point.next)])
        self._segments = [Segment(point.rate_from, point.rate, point.rate_us)] if point.rate else []

    # -- what there is ---------------------------------------------------------------------------------

    @property
    def received(self) -> int:
        """The position after the last whole sample received."""
        return (self._base + len(self._audio)) // 2

    @property
    def unfinalized(self) -> int:
        """The number of samples received and not finalized."""
        return self.received - self.finalized

    def unsent(self, rate: int) -> int:
        """Return how many samples a connection of this rate can be sent: those before the next change."""
        if len(self._segments) == 1:  # nearly every call, several times a flush
            end = (self._base + len(self._audio)) // 2
            return end - self.sent if self._segments[0].rate == rate else 0
        return self.segment_end() - self.sent if self.rate() == rate else 0

    @property
    def held_bytes(self) -> int:
        """The bytes of audio in memory."""
        held = len(self._audio)
        return held + sum(len(frame.pcm) for frame in self.waiting) if self.waiting else held

    def rate(self) -> int:
        """Return the sample rate at `sent`, in Hz (0 before the first frame)."""
        return self.rate_at(self.sent)

    def rate_at(self, sample: int) -> int:
        """Return the sample rate in force at `sample`, in Hz (0 before the first frame)."""
        return self._segment(sample).rate if self._segments else 0

    def segment_end(self) -> int:
        """Return where the segment at `sent` ends: at the next change of rate, else at `received`."""
        if len(self._segments) == 1:
            return self.received
        following = next((s.start for s in self._segments if s.start > self.sent), None)
        return self.received if following is None else following

    def ms(self, sample: int) -> int:
        """Return the time of `sample` in whole milliseconds since the call began."""
        return (self._segment(sample).us(sample) + 500) // 1000 if self._segments else 0

    def seconds(self, start: int, end: int) -> float:
        """Return the duration of a stretch, in seconds."""
        if not self._segments or end <= start:
            return 0.0
        if len(self._segments) == 1:
            return (end - start) / self._segments[0].rate
        return (self._segment(end).us(end) - self._segment(start).us(start)) / 1_000_000

    def resume_point(self, sample: int) -> ResumePoint:
        """Return what a restart must know to resume from `sample`."""
        segment = self._segment(sample) if self._segments else Segment(0, 0, 0)
        position = 2 * sample
        source = next((s for s in self._sources if s.end > position), None)
        if source is None:
            tail = self._sources[-1]
            entry, offset, at = tail.entry, tail.offset + tail.end - tail.start, max(position, tail.end)
        elif source.start <= position:
            entry, offset, at = source.entry, source.offset + position - source.start, position
        else:
            entry, offset, at = source.entry, source.offset, source.start
        point = ResumePoint(sample, entry, offset, at, segment.rate, segment.start, segment.start_us)
        return point if self._done is None else self._without_order(point, position)

    # -- what happens to it ----------------------------------------------------------------------------

    def append(self, entry: EntryId, pcm: bytes, rate: int, *, silence: int = 0, offset: int = 0) -> None:
        """Append the audio of an entry from byte `offset` on, after `silence` bytes of silence."""
        if not self._segments or rate != self._segments[-1].rate:
            self._change_rate(rate)
        audio = self._audio
        if silence:
            audio += bytes(silence)
        start = self._base + len(audio)
        audio += pcm[offset:] if offset else pcm
        source = _Source(start, self._base + len(audio), entry, offset)
        if source.end == start == self._sources[-1].start:
            self._sources[-1] = source  # empty after empty, which may go on for hours
        else:
            self._sources.append(source)

    def extend(self, frames: Sequence[Frame]) -> None:
        """Append the audio of several entries, none empty, all of the rate of the last one."""
        end, append = self._base + len(self._audio), self._sources.append
        for frame in frames:
            start, end = end, end + len(frame.pcm)
            append(_Source(start, end, frame.entry, 0))
        self._audio += b"".join([frame.pcm for frame in frames])

    def half(self) -> bytes:
        """Return the last byte received if it is the first half of a sample, else nothing."""
        return bytes(self._audio[-1:]) if len(self._audio) % 2 else b""

    def go_on_with(self, half: bytes) -> None:
        """Continue with the half sample that was left where this timeline begins."""
        self._audio += half
        self._sources[-1].end += len(half)

    def pad(self) -> None:
        """Complete the last sample if only its first half came: the other half will not."""
        if len(self._audio) % 2:
            self.go_on_with(b"\0")

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there.

        The audio of those entries cannot be read again; a restart resumes after `last`.
        """
        for source in self._sources:
            if key(source.entry) > key(last):
                source.entry, source.offset = last, PAST_END
        if self._done is not None:
            self._done = [entry for entry in self._done if key(entry) <= key(last)]
        if self._unread is not None:
            self._unread = min(self._unread, last, key=key)

    def out_of_order(self) -> None:
        """Note that from now on entries may come in another order than their audio."""
        if self._done is None:
            self._done = []

    def read_again(self) -> None:
        """Note that every entry named by the first resume point was read."""
        self._unread = None

    def take(self, limit: int, due: float = 0.0) -> Chunk | None:
        """Take at most `limit` samples of the present segment to send, and move `sent` past them."""
        start, end = self.sent, min(self.sent + limit, self.segment_end())
        if end <= start:
            return None
        self.sent = end
        return Chunk(start, end, bytes(self._audio[2 * start - self._base : 2 * end - self._base]), due)

    def rewind(self) -> None:
        """Move `sent` back to `finalized`: the connection is gone, whatever it had been sent."""
        self.sent = self.finalized

    def finalize(self, sample: int) -> ResumePoint:
        """Move `finalized` (and `sent` where it lags) and drop the audio below. Return the resume point.

        Raises:
            ValueError: The cursor would move back, or beyond what was received; a bug of the caller.
        """
        if not self.finalized <= sample <= self.received:
            raise ValueError(f"cannot finalize {sample}: {self.finalized}..{self.received}")
        self.finalized = sample
        self.sent = max(self.sent, sample)
        position = 2 * sample
        del self._audio[: position - self._base]
        self._base = position
        sources = self._sources
        while len(sources) > 1 and sources[0].end <= position:
            gone = sources.popleft()
            if self._done is not None and gone.start < gone.end:
                self._done.append(gone.entry)
        point = self.resume_point(sample)
        if self._done is not None:
            self._settle_order(point)
        while len(self._segments) > 2 and self._segments[2].start <= sample:
            del self._segments[0]  # the one before stays: an utterance may be reported after its audio
        return point

    def _without_order(self, point: ResumePoint, position: int) -> ResumePoint:
        """Complete a resume point among entries that are not in the order of their ids."""
        sources = self._sources
        # One without length may be what is left of an entry that was not read again yet.
        done = {source.entry for source in sources if source.start < source.end <= position}
        done.update(self._done or ())
        needed = [source.entry for source in sources if source.end > position]
        needed += [frame.entry for frame in self.waiting]
        if self._unread is not None:
            needed.append(self._unread)
        done.difference_update(source.entry for source in sources if source.end > position)
        # The entry of the point may wait itself, after a restart in the middle of it.
        placed = self._unread is None and sources[-1].end <= position and point.entry not in needed
        return without_order(point, done, needed, placed=placed)

    def _settle_order(self, point: ResumePoint) -> None:
        """Keep no more about finalized entries than a restart must know."""
        if point.ahead is not msgspec.UNSET:
            self._done = list(point.ahead.entries)
            return
        self._done = []
        if self._sources[-1].end <= 2 * point.finalized:  # all are finalized: the newest has to be named
            end = self._sources[-1].end
            self._sources[-1] = _Source(end, end, point.entry, point.offset)
        ids = [key(source.entry) for source in self._sources]
        if not self.waiting and self._unread is None and ids == sorted(ids):
            self._done = None

    def _segment(self, sample: int) -> Segment:
        """Return the segment in force at `sample` (a sample on a border belongs to the later one)."""
        if len(self._segments) == 1:
            return self._segments[0]
        index = bisect_right(self._segments, sample, key=lambda s: s.start) - 1
        return self._segments[max(0, index)]

    def _change_rate(self, rate: int) -> None:
        self.pad()
        at = self.received
        if not self._segments:
            self._segments.append(Segment(at, rate, 0))
        elif self._segments[-1].start == at:
            self._segments[-1] = Segment(at, rate, self._segments[-1].us(at))
        else:
            self._segments.append(Segment(at, rate, self._segments[-1].us(at)))

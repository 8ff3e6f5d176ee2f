"""The call's timeline: the one idea that carries the daemon.

All audio of a call lies on one axis, counted in samples since the call began. A sample is one sample of each
channel. Three cursors move along the axis, always in this order::

    finalized <= sent <= received

* a frame appends at `received`;
* a flush takes the span `sent..received` and moves `sent`;
* a final of the provider, or a gap, moves `finalized`.

A lost socket, a dead process and a takeover are the same case: `rewind`, and replay from `finalized`.

Where a call has several channels, each has a `finalized` cursor of its own (`cursors`), and `finalized` is
the lowest of them. What a channel ahead had already, a replay brings again; its own cursor cuts that off.

Inside, positions are bytes: frames that end in mid-sample happen, and part of a sample must neither be sent
nor shift what follows. `core/segments.py` has the formats along the axis. Audio below `finalized` is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from trio_asr.core.segments import Segment, Segments
from trio_asr.core.sources import Sources
from trio_asr.wire.audio_format import Format, silent_samples
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId
from trio_asr.wire.resume_point import ResumePoint


class Chunk(NamedTuple):
    """Audio to send: `pcm` begins at sample `start`, and was `due` at a moment of the caller's clock."""

    start: int
    end: int
    pcm: bytes
    due: float = 0.0


class Timeline:
    """The cursors, the audio between them, and the entries that it came from."""

    __slots__ = (
        "_at", "_audio", "_base", "_format", "_sources", "_start", "_width", "cursors", "finalized",
        "segments", "sent", "uniform",
    )  # fmt: skip

    def __init__(self, point: ResumePoint, waiting: Callable[[], Sequence[Frame]] = tuple) -> None:
        """Begin at a resume point. `waiting` returns the frames received that wait for those before them."""
        fmt = point.format
        self.finalized = self.sent = point.finalized
        self.cursors = point.cursors  # one for each channel
        self.segments = Segments(Segment(point.rate_from, fmt.width * point.rate_from, fmt, point.rate_us))
        self._base = fmt.width * point.finalized  # the position of _audio[0]
        # Silence that is not finalized before the first entry.
        self._audio = bytearray(fmt.silence[:1] * (point.at - self._base))
        self._sources = Sources(point, waiting)
        self._look_at_segments()

    # -- what there is ---------------------------------------------------------------------------------

    @property
    def received(self) -> int:
        """The position after the last whole sample received."""
        return self._start + (self._base + len(self._audio) - self._at) // self._width

    @property
    def rest(self) -> int:
        """The number of bytes received of a sample that is not complete."""
        return (self._base + len(self._audio) - self._at) % self._width

    def cursor(self, channel: int) -> int:
        """Return up to which sample a channel is finalized; also of one that the audio no longer has."""
        return self.cursors[channel] if channel < len(self.cursors) else self.finalized

    @property
    def unfinalized(self) -> int:
        """The number of samples received and not finalized."""
        return self.received - self.finalized

    @property
    def unfinalized_s(self) -> float:
        """The seconds of audio received and not finalized."""
        segments, received = self.segments, self.received
        seconds = segments.seconds(self.finalized, received)
        return seconds if self.uniform else seconds - segments.void_s(self.finalized, received)

    def unsent(self, fmt: Format) -> int:
        """Return how many samples a connection of this format can be sent: those before the next border."""
        if self.uniform:  # nearly every call, several times a flush
            end = self._start + (self._base + len(self._audio) - self._at) // self._width
            return end - self.sent if self._format == fmt else 0
        return self.segment_end() - self.sent if self.format() == fmt else 0

    @property
    def waiting(self) -> Sequence[Frame]:
        """Frames received that wait for those before them."""
        return self._sources.waiting()

    @property
    def held_bytes(self) -> int:
        """The bytes of audio in memory."""
        return len(self._audio) + sum(len(frame.pcm) for frame in self._sources.waiting())

    def format(self) -> Format:
        """Return the format at `sent` (of rate 0 before the first frame)."""
        return self._format if self.uniform else self.format_at(self.sent)

    def format_at(self, sample: int) -> Format:
        """Return the format in force at `sample` (of rate 0 before the first frame)."""
        return self.segments.at(sample).format

    def segment_end(self) -> int:
        """Return where the audio of the segment at `sent` ends: at a void, at the next format, or not yet."""
        following = None if self.uniform else self.segments.after(self.sent)
        return self.received if following is None else following.start - following.void

    def void_end(self) -> int:
        """Return where the void ends that begins at `finalized` (0: there is none)."""
        return self.segments.void_end(self.finalized)

    def ms(self, sample: int) -> int:
        """Return the time of `sample` in whole milliseconds since the call began."""
        return (self.segments.us(sample) + 500) // 1000

    def seconds(self, start: int, end: int) -> float:
        """Return the duration of a stretch, in seconds."""
        return self.segments.seconds(start, end)

    def silent_until(self, channel: int, end: int) -> int:
        """Return up to where a channel is its codec's silence, from its cursor on and at most to `end`."""
        at = self.cursors[channel]
        while at < end:
            stop = min(end, at + self.format_at(at).rate)  # a second at a time: there may be sound soon
            audio = self._between(at, stop)
            silent = silent_samples(audio, self.format_at(at), channel)
            at += silent
            if at < stop:
                break
        return at

    def resume_point(self, sample: int) -> ResumePoint:
        """Return what a restart must know to resume from `sample`."""
        segment, position = self.segments.at(sample), self.segments.position(sample)
        fmt = segment.format
        entry, offset, at = self._sources.find(position)
        at += fmt.width * sample - position
        point = ResumePoint(sample, entry, offset, at, fmt.rate, segment.start, segment.start_us)
        if not fmt.plain:
            point = self._with_format(point, fmt)
        return self._sources.completed(point, position)

    # -- what happens to it ----------------------------------------------------------------------------

    def append(
        self,
        entry: EntryId,
        pcm: bytes,
        fmt: Format,
        *,
        silence: int = 0,
        offset: int = 0,
        placed: bool = False,
    ) -> None:
        """Append the audio of an entry from byte `offset` on, after `silence` bytes of silence.

        The entry is `placed` if it has a position. The format of one without audio says nothing.
        """
        if fmt != self._format and (silence or len(pcm) > offset):
            self._change_format(fmt)
        audio = self._audio
        if silence:
            audio += fmt.silence[:1] * silence
        start = self._base + len(audio)
        audio += pcm[offset:] if offset else pcm
        self._sources.add(start, self._base + len(audio), entry, offset, placed=placed)

    def extend(self, frames: Sequence[Frame]) -> None:
        """Append the audio of several entries, none empty, all of the format of the last one."""
        self._sources.extend(self._base + len(self._audio), frames)
        self._audio += b"".join([frame.pcm for frame in frames])

    def part(self) -> bytes:
        """Return the bytes received of a sample that is not complete."""
        rest = self.rest
        return bytes(self._audio[-rest:]) if rest else b""

    def go_on_with(self, part: bytes) -> None:
        """Continue with the part of a sample that was left where this timeline begins."""
        self._audio += part
        self._sources.lengthen(len(part))

    def pad(self) -> None:
        """Complete the last sample if only a part of it came: the rest will not."""
        if rest := self.rest:
            self.go_on_with(self.segments.last.format.silence[rest:])

    def skip(self, void: int, fmt: Format) -> None:
        """Leave out `void` samples that never came, behind whatever was received. Audio of `fmt` follows."""
        if fmt != self._format:
            self._change_format(fmt)
        self.pad()
        self.segments.begin(fmt, self.received + void, self._base + len(self._audio), void)
        self._look_at_segments()

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        self._sources.forget_above(last)

    def out_of_order(self) -> None:
        """Note that from now on entries may come in another order than their audio."""
        self._sources.out_of_order()

    def read_again(self) -> None:
        """Note that every entry named by the first resume point was read."""
        self._sources.read_again()

    def take(self, limit: int, due: float = 0.0) -> Chunk | None:
        """Take at most `limit` samples of the present segment to send, and move `sent` past them."""
        start, end = self.sent, min(self.sent + limit, self.segment_end())
        if end <= start:
            return None
        self.sent = end
        return Chunk(start, end, self._between(start, end), due)

    def rewind(self) -> None:
        """Move `sent` back to `finalized`: the connection is gone, whatever it had been sent."""
        self.sent = self.finalized

    def finalize(self, sample: int, channel: int | None = None) -> ResumePoint:
        """Move the cursor of a channel, or those of all that are behind. Return the resume point.

        What lies below all cursors is dropped; `sent` moves along where it lags.

        Raises:
            ValueError: A cursor would move back, or beyond what was received; a bug of the caller.
        """
        begin = self.finalized if channel is None else self.cursors[channel]
        if not begin <= sample <= self.received:
            raise ValueError(f"cannot finalize {sample}: {begin}..{self.received}")
        cursors = self.cursors
        if channel is None:
            self.cursors = cursors = [max(cursor, sample) for cursor in cursors]
        else:
            cursors[channel] = sample
        self._all_finalized(min(cursors) if len(cursors) > 1 else cursors[0])
        point = self.resume_point(self.finalized)
        self._sources.settle(point, self._base)
        return point

    def _all_finalized(self, sample: int) -> None:
        """Move `finalized`, which no channel is behind, and drop the audio below."""
        before = self.finalized
        if sample == before:
            return
        self.finalized = sample
        self.sent = max(self.sent, sample)
        position = self.segments.position(sample)
        del self._audio[: position - self._base]
        self._base = position
        self._sources.finalized(position)
        if not self.uniform:
            if self.format_at(sample) != self.format_at(before):
                self._begin_cursors()
            self.segments.forget(sample)

    def _begin_cursors(self) -> None:
        """Have a cursor for each channel of the audio that begins here: no lead crosses a border."""
        self.cursors = [self.finalized] * self.format_at(self.finalized).channels

    def _between(self, start: int, end: int) -> bytes:
        """Return the audio between two samples of one segment."""
        segment, base = self.segments.at(start), self._base
        return bytes(self._audio[segment.position(start) - base : segment.position(end) - base])

    def _with_format(self, point: ResumePoint, fmt: Format) -> ResumePoint:
        lead = tuple(max(0, cursor - point.finalized) for cursor in self.cursors)
        return msgspec.structs.replace(
            point, encoding=fmt.encoding, channels=fmt.channels, lead=lead if any(lead) else msgspec.UNSET
        )

    def _change_format(self, fmt: Format) -> None:
        self.pad()
        self.segments.begin(fmt, self.received, self._base + len(self._audio))
        self._look_at_segments()
        if self.finalized == self.received:
            self._begin_cursors()

    def _look_at_segments(self) -> None:
        """Keep at hand what is asked for several times a flush."""
        self._start, self._at, self._format = self.segments.last[:3]
        self._width = self._format.width
        self.uniform = self.segments.one  # all audio is of one format, and nothing is left out: nearly always

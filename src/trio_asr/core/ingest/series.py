"""The media that one socket brings of a call, as entries: what is to be asked of the store, and when.

A series takes its call with its first audio, which tells it where the call was. Then it adds entries, a batch
at a time, each by compare-and-set. A batch without an answer is asked for again as it is. How much may wait
is bounded: beyond it the oldest entries are dropped, which leaves a hole between two positions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from trio_asr.core.ingest.backlog import Backlog
from trio_asr.core.ingest.legs import Legs
from trio_asr.core.ingest.numbers import Numbers
from trio_asr.core.ingest.origin import MOST_GAP_S, origin
from trio_asr.core.ingest.tally import Tally
from trio_asr.wire.audio_format import Format
from trio_asr.wire.call_entries import EntryWriter, Past, decode_past, end_entry

DISCONNECTED = "disconnected"  # the end of a call whose socket is gone
EARLY_BYTES = 256 * 1024  # of a client that resumes and does not wait for the answer


class Terms(NamedTuple):
    """What the configuration says of every series; names have their units."""

    entry_ms: int = 100
    align_ms: int = 300
    reconnect_grace_s: float = 3.0
    idle_s: float = 600.0
    max_buffered_s: float = 30.0


class Identity(NamedTuple):
    """Whose series it is: the call's id on the stream, its tenant, the socket's token; the legs' names."""

    call: str
    tenant: str
    owner: str
    legs: str = ""


class Batch(NamedTuple):
    """A step that adds entries and maybe the end.

    `before` and `after` are positions of the call, `about` is what its next socket has to know. `number` is
    that of the client's last message that is then stored; the oldest entry was complete at `oldest_at`.
    """

    before: int
    after: int
    about: bytes
    entries: tuple[bytes, ...]
    end: bytes
    number: int
    oldest_at: float


class Series:
    """One series. `now` is in seconds of a monotonic clock, and never goes back.

    With `counts` the client's messages are counted, so that it can be told which are stored.
    """

    def __init__(
        self,
        identity: Identity,
        fmt: Format,
        writer: EntryWriter,
        *,
        terms: Terms,
        tally: Tally,
        now: float,
        legs: int = 1,
        counts: bool = False,
        resume_from: int | None = None,
    ) -> None:
        self.identity = identity
        self.over = False  # nothing more is to be asked of the store
        self.end = ""  # the reason, once the call is to end
        self.ended = False  # that is stored
        self.stored = 0  # the number of the client's last message that is stored
        self.format, self._writer, self._terms, self._tally = fmt, writer, terms, tally
        self._legs = Legs(fmt, legs, entry_ms=terms.entry_ms, align_ms=terms.align_ms, tally=tally, now=now)
        self._heard_at = now
        self._first_at = math.inf  # when the first audio came
        self._leaves_at = math.inf  # when the call ends because its socket is gone
        self.backlog = Backlog(round(terms.max_buffered_s * fmt.rate))
        self._past: Past | None = None  # None: the call is not taken yet
        self._position = 0  # of the call: what is stored
        self._start = 0  # of the series, in the call
        self._batch: Batch | None = None  # that is asked for
        self._asked_at = now
        self._numbers = Numbers(resume_from or 0)
        self._resumes, self._counts = resume_from is not None, counts
        self._early: list[bytes] = []  # what came before it is known how much of it is stored
        self._early_size = 0

    @property
    def too_early(self) -> bool:
        """Whether a client that resumes has sent more, without an answer, than is kept for it."""
        return self._early_size > EARLY_BYTES

    # -- from the socket -------------------------------------------------------------------------------

    def hear(
        self,
        audio: bytes,
        now: float,
        leg: int = 0,
        at_ms: float | None = None,
        number: int | None = None,
    ) -> None:
        """Take a message of audio of a leg (see `Legs.hear`).

        What is complete with it is ready for the store after `gather`, which is called once for many
        messages.
        """
        self._heard_at = now
        if self.end:
            return
        if self._resumes and self._past is None:
            self._first_at = min(self._first_at, now)
            self._early_size += len(audio)
            self._early.append(audio)
            return
        if self._counts:
            audio = self._numbers.new(audio)
        if self._legs.hear(audio, now, leg, at_ms, number) and self._first_at == math.inf:
            self._first_at = now
        if self._counts:
            self._numbers.ends_at(self._legs.end_of(leg))

    def lose(self, ms: float) -> None:
        """Leave out audio of all legs that the platform says is missing here, of `MOST_GAP_S` at most."""
        self._legs.lose(min(max(0.0, ms / 1000), MOST_GAP_S))

    def alive(self, now: float) -> None:
        """Note that the peer said something, which puts off the end for want of it."""
        self._heard_at = now

    def finish(self, reason: str, now: float) -> None:
        """End the call, unless it is ending already: what is there goes out, and nothing more is taken."""
        if self.end or self.over:
            return
        self.end = reason
        self.gather(now, flush=True)
        self.over = self._past is None and self._first_at == math.inf

    def leave(self, now: float) -> None:
        """Note that the socket is gone, without a word of the call's end: another one may come soon."""
        self.gather(now, flush=True)
        self._leaves_at = now + self._terms.reconnect_grace_s
        if self._first_at == math.inf and self._past is None:
            self.over = True

    def hasten(self, until: float) -> None:
        """Wait for another socket until then at the longest, if this one is gone."""
        if self._leaves_at < math.inf:
            self._leaves_at = min(self._leaves_at, until)

    def gather(self, now: float, *, flush: bool = False) -> None:
        """Make entries of what is complete; with `flush`, of all there is."""
        for piece in self._legs.take(now, flush=flush):
            self._dropped(self.backlog.append(piece, len(piece.audio) // self.format.width, now))

    # -- time ------------------------------------------------------------------------------------------

    def due_at(self) -> float:
        """Return when `tick` is to be called next."""
        if self.end:
            return math.inf
        return min(self._legs.due_at(), self._leaves_at, self._heard_at + self._terms.idle_s)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.gather(now)
        if now >= self._leaves_at:
            self.finish(DISCONNECTED, now)
        elif now >= self._heard_at + self._terms.idle_s:
            self.finish("idle", now)

    def lacking_s(self) -> float:
        """Return how much more audio completes the next entry, in seconds; 0 if there was none yet."""
        if self._first_at == math.inf:
            return 0.0  # when the first comes says where in the call the series lies
        return self._legs.lacking_s()

    # -- to the store ----------------------------------------------------------------------------------

    @property
    def wants_call(self) -> bool:
        """Whether the next step is to take the call."""
        return self._past is None and not self.over and (self._first_at < math.inf or self._resumes)

    def asks_for_call(self, now: float) -> None:
        """Note that the store is asked for the call now."""
        self._asked_at = now

    def take(self, now_ms: int, position: int, about: bytes, now: float) -> None:
        """Take the call, which is at `position`; `now_ms` is the store's time, `about` what it knows."""
        past = decode_past(about)
        if self._resumes and past is not None and past.format == self.format and self._resume(position, past):
            self._start, self._past = position, past
        else:
            since_ms = max(0.0, self._asked_at - self._first_at) * 1000
            self._start, self._past = origin(position, past, now_ms - since_ms, self.format)
        self._position, self.stored = position, self._numbers.reach(0)[0]
        early, self._early, self._early_size = self._early, [], 0
        end, self.end = self.end, ""
        for audio in early:
            self.hear(audio, now)
        self.end = end
        self.gather(now, flush=bool(end))

    def _resume(self, position: int, past: Past) -> bool:
        more = (position - past.number_end) * self.format.width
        return self._numbers.resume(past.number, past.number_end - position, more)

    @property
    def has_batch(self) -> bool:
        """Whether there is something to add."""
        return self._past is not None and bool(self._batch or self.backlog or self.end)

    @property
    def has_audio(self) -> bool:
        """Whether there are entries that are not stored."""
        return bool(self.backlog or (self._batch is not None and self._batch.entries))

    @property
    def only_disconnects(self) -> bool:
        """Whether all that is left to add is that the call is over, because its socket is gone."""
        return self.end == DISCONNECTED and self._batch is None and not self.backlog

    @property
    def waiting_s(self) -> float:
        """How much audio waits for the store, in seconds."""
        return self.backlog.samples / self.format.rate

    def batch(self) -> Batch | None:
        """Return what is to be added, if anything; the same again until it is `added`."""
        if self._batch is None and self._past is not None and self.has_batch and not self.over:
            self._batch = self._made(self._past)
        return self._batch

    def _made(self, past: Past) -> Batch:
        waiting = self.backlog.ask()
        before, after, seq = self._position, self._position, past.seq
        entries: list[bytes] = []
        for piece, samples, _ in waiting:
            position, seq = self._start + piece.position, seq + 1
            entries.append(self._writer.entry(position, seq, past.at_ms(position), piece.audio))
            after = position + samples
        number, end = self._numbers.reach(after - self._start)
        self._past = msgspec.structs.replace(past, seq=seq, number=number, number_end=self._start + end)
        # That a socket is gone is a step of its own: until it is due another socket may have come.
        last = self.end and not self.backlog and (self.end != DISCONNECTED or not waiting)
        said = end_entry(self.identity.call, self.identity.tenant, self.end) if last else b""
        oldest_at = waiting[0].at if waiting else math.inf
        return Batch(before, after, self._past.encode(), tuple(entries), said, number, oldest_at)

    def added(self) -> Batch:
        """Note that the batch is stored; return it."""
        batch = self._batch
        assert batch is not None
        self.backlog.stored()
        self._batch = None
        self._position, self.stored = batch.after, batch.number
        self.over = self.ended = bool(batch.end)
        return batch

    def give_up(self) -> None:
        """Give the call up: another socket has it, or it may not be had."""
        self._tally.superseded_s += self.backlog.samples / self.format.rate
        self.over = True

    def drop_oldest(self) -> None:
        """Drop the oldest entry that waits: all calls together have too much."""
        self._dropped(self.backlog.drop())

    def _dropped(self, samples: int) -> None:
        if samples and self.backlog:
            self._numbers.pass_over(self.backlog.begin)
        self._tally.dropped_s += samples / self.format.rate

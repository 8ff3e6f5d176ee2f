"""When does audio leave? The one answer, for one call.

Three things decide: the flush policy (enough audio, or its timer), the pacer (no faster than the provider
takes a backlog) and the connection (audio of its format, and whether more can follow). The chunker
holds no audio. `due` takes chunks off the timeline. `timer` says when to ask again if nothing else happens.
`hold_limit` says how much audio may stay off the timeline without making any of it late.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from trio_asr.core.flush import FlushPolicy, Intervals
from trio_asr.core.pacer import Pacer
from trio_asr.core.timeline import Chunk, Timeline
from trio_asr.wire.audio_format import NO_FORMAT, Format

FORBIDDEN_RETRY_S = 0.25


class Flush(NamedTuple):
    """A chunk that leaves: its audio, the age of the oldest sample, and the time since the last flush.

    The first flush of a call has none before it.
    """

    chunk: Chunk
    audio_s: float
    age_s: float
    since_last_s: float | None


class Chunker:
    """The cutter of one call's unsent audio into chunks. All times are seconds on the caller's clock."""

    __slots__ = (
        "_catchup_rate", "_format", "_hold_until", "_input_over", "_marked", "_pacer", "_policy", "_timeline",
        "_timer", "finished",
    )  # fmt: skip

    def __init__(self, timeline: Timeline, intervals: Intervals, catchup_rate: float) -> None:
        self.finished = False  # the connection got everything that it can ever be sent
        self._timeline = timeline
        self._policy = FlushPolicy(intervals)
        self._catchup_rate = catchup_rate
        self._pacer = Pacer(catchup_rate)
        self._format = NO_FORMAT  # of the connection; of rate 0: there is none
        self._input_over = False
        self._timer = math.inf
        self._hold_until = -math.inf  # the pacer's limit, which no amount of audio overrules
        self._marked: float | None = None  # when audio became due that is not on the timeline yet

    @property
    def flushes(self) -> int:
        """The number of chunks so far, on all connections."""
        return self._policy.flushes

    # -- events ----------------------------------------------------------------------------------------

    def connect(self, fmt: Format) -> None:
        """Feed a new connection for audio of this format."""
        self._format, self.finished = fmt, False
        self._pacer = Pacer(self._catchup_rate)
        self._hold_until = -math.inf

    def disconnect(self) -> None:
        """Feed no connection until there is another."""
        self._format = NO_FORMAT

    def reload(self, intervals: Intervals, catchup_rate: float) -> None:
        """Use other intervals and another pace from now on, on the present connection, too."""
        self._policy.intervals = intervals
        self._catchup_rate = self._pacer.rate = catchup_rate

    def input_over(self) -> None:
        """Treat whatever audio there is as due: no more will come."""
        self._input_over = True

    def arrived(self, now: float) -> None:
        """Note unsent audio for which there is no connection yet. Its age counts from now."""
        fmt = self._timeline.format()
        if fmt.rate and self._timeline.unsent(fmt):
            self._policy.arrived(now)

    def mark_due(self, now: float) -> None:
        """Note that audio on its way here makes a chunk due. The delay of that chunk counts from now."""
        if self._marked is None:
            self._marked = now

    # -- decisions -------------------------------------------------------------------------------------

    def due(self, now: float, *, allowed: bool = True) -> Iterator[Flush]:
        """Take off the timeline what is due now, a chunk at a time.

        A chunk counts as sent once it was yielded. Where sending is not `allowed` (another worker may be
        feeding this call), what is due becomes due a little later.
        """
        timeline, fmt = self._timeline, self._format
        rate = fmt.rate
        while rate and (unsent := timeline.unsent(fmt)):
            last = self._is_last(unsent)
            self._policy.arrived(now)
            limit = self._limit(unsent)
            self._hold_until = self._pacer.ready_at(min(unsent, limit) / rate, now)
            due = max(-math.inf if last else self._policy.deadline(unsent / rate), self._hold_until)
            if due <= now and not allowed:
                due = now + FORBIDDEN_RETRY_S
            if due > now:
                self._timer = due
                return
            chunk = timeline.take(limit, self._due_since(due, now))
            if chunk is None:
                return
            yield self._flush(chunk, unsent, now)
        self.finished = self._is_last(0)

    def timer(self) -> float:
        """Return when to call `due` again if nothing happens before (`inf`: never)."""
        return self._timer

    def timer_fired(self, now: float) -> bool:
        """Return whether that moment has come. If so, the timer is off until it is set again."""
        if now < self._timer:
            return False
        self._timer = math.inf
        return True

    def hold_limit(self, size: int, fmt: Format, now: float) -> int:
        """Return how many bytes of new audio may be held back before it must go on the timeline.

        0 means none. `size` bytes of this format are held already; the timer covers them.
        """
        if fmt != self._format or self._timeline.waiting:
            return 0  # while frames wait for a missing one, any frame may be that
        limit = fmt.width * (self._policy.threshold_samples(fmt.rate) - self._timeline.unsent(fmt))
        if size >= limit:
            return 0
        self._policy.arrived(now)
        due = max(self._policy.timer(), self._hold_until)
        if due <= now:
            return 0
        self._timer = due
        return limit

    def explain(self, now: float) -> dict[str, object]:
        """Return why a flush waits, for the log: ages, audio there and audio needed, all in milliseconds."""
        return self._policy.explain(now, self._timeline.unsent(self._format) / self._format.rate)

    # -- inside ----------------------------------------------------------------------------------------

    def _is_last(self, unsent: int) -> bool:
        """Return whether nothing can follow the unsent audio: no more comes, or only behind a border."""
        return self._input_over or self._timeline.sent + unsent < self._timeline.received

    def _limit(self, unsent: int) -> int:
        """Return the most samples to send at once."""
        intervals, rate = self._policy.intervals, self._format.rate
        small = min(intervals.min_chunk_ms, intervals.max_chunk_ms)
        self._pacer.waiting(unsent / rate, small / 1000)
        return (small if self._pacer.catching_up else intervals.max_chunk_ms) * rate // 1000

    def _due_since(self, due: float, now: float) -> float:
        """Return since when the chunk that leaves now was due: a deadline, or the arrival of its audio."""
        since = due if due > -math.inf else self._marked
        self._marked = None
        return now if since is None else since

    def _flush(self, chunk: Chunk, unsent: int, now: float) -> Flush:
        """Record that a chunk leaves, out of `unsent` samples."""
        policy, samples = self._policy, chunk.end - chunk.start
        since_last_s = None if policy.last_flush is None else now - policy.last_flush
        flush = Flush(chunk, samples / self._format.rate, policy.age(now), since_last_s)
        policy.flushed(now, remains=samples < unsent)
        self._pacer.sent(flush.audio_s, now)
        return flush

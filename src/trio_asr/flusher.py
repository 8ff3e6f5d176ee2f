"""The flush scheduler of one call: it takes chunks off the timeline when they are due.

It sleeps until the policy's deadline. Whoever changes what is due (the reader with a batch of frames, a new
connection) wakes it or moves the deadline; there is one wake-up per flush, none per frame.

Frames that make nothing due may be held back by whoever has them (`may_wait`), which spares the call a
wake-up for each batch. The deadline counts them, and when it comes `ask` gets them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import trio

from trio_asr import logs
from trio_asr.config import Config
from trio_asr.conversation import Feed
from trio_asr.core.call import Call
from trio_asr.core.flush import FlushPolicy, Pacer
from trio_asr.core.timeline import Chunk
from trio_asr.services import Services

LEASE_CHECK_S = 0.25
WAIT_LOG_S = 5.0
ROUNDING_S = 1e-6  # ten times 0.02 is less than 0.2
ASK_S = 0.05  # frames that were asked for come at once, unless they turn out to be none


class FlushScheduler:
    """Hands the audio of one call to the connection that the call has."""

    def __init__(self, call: Call, services: Services, log: logs.Logger) -> None:
        self.policy = FlushPolicy(services.config.flush)
        self._pacer = Pacer(services.config.deepgram.catchup_rate)  # of the present connection
        self._timeline = call.timeline
        self._services = services
        self._log = log
        self._wait_log = logs.Rate(WAIT_LOG_S)
        self._input_over = False
        self.ask: Callable[[], bool] = lambda: False  # lets frames come that were held back, if there are any
        self._serving = False
        self._wake = trio.Event()
        self._nap = trio.CancelScope()
        self._hold_until = -math.inf  # the pacer's word, which no amount of audio overrules
        self._enough_since: float | None = None  # when what is there became enough to leave at once

    async def run(self, feeds: trio.MemoryReceiveChannel[Feed]) -> None:
        """Serve one connection's feed after another; each ends by our closing it or with its connection."""
        async for feed in feeds:
            # Either way of its end says the same: that connection is over.
            with suppress(trio.BrokenResourceError), feed.scope, feed.chunks:
                await self._serve(feed)

    def arrived(self) -> None:
        """Unsent audio may be there: bring the moment of waking forward."""
        rate = self._timeline.rate()
        unsent = self._timeline.unsent(rate) if rate else 0
        if unsent:
            self._expect(unsent / rate, trio.current_time())

    def may_wait(self, seconds: float, now: float) -> float:
        """Return how much audio may be held back, given that it begins to be: less makes nothing due.

        It is asked for in time, whether or not more of it comes.
        """
        rate = self._timeline.rate()
        if not self._serving or not rate:
            return 0.0
        unsent_s = self._timeline.unsent(rate) / rate
        room_s = self.policy.enough_s() - unsent_s - ROUNDING_S
        return room_s if seconds < room_s and self._expect(unsent_s + seconds, now) else 0.0

    def _expect(self, unsent_s: float, now: float) -> bool:
        """Wake when so much audio is due; False if that is now."""
        self.policy.arrived(now)
        due = max(self.policy.deadline(unsent_s), self._hold_until)
        if due > now:
            if due < self._nap.deadline:  # noqa: PLR1730 (setting a deadline costs more than asking for it)
                self._nap.deadline = due
            return True
        if self._enough_since is None:
            self._enough_since = now
        self._wake.set()
        return False

    def reload(self, config: Config) -> None:
        """Go by other intervals from now on."""
        self.policy.intervals = config.flush
        self._pacer.rate = config.deepgram.catchup_rate
        self.arrived()

    def input_over(self) -> None:
        """No more frames will come: what is there is due."""
        self._input_over = True
        self._wake.set()

    async def _serve(self, feed: Feed) -> None:
        """Hand on chunks as they fall due, until there is nothing more for this connection."""
        pacer = self._pacer = Pacer(self._services.config.deepgram.catchup_rate)
        self._hold_until = -math.inf
        self.arrived()
        self._serving = True
        try:
            while True:
                waiting = None
                with trio.CancelScope() as self._nap:
                    waiting = await self._hand_on(feed, pacer)
                if waiting is not None:
                    await feed.chunks.send(waiting)
                elif not self._nap.cancelled_caught:
                    return
                elif self.ask():
                    with trio.move_on_after(ASK_S):
                        await self._wake.wait()
        finally:
            self._serving = False
            self.ask()

    async def _hand_on(self, feed: Feed, pacer: Pacer) -> Chunk | None:
        """Hand on what falls due, until there is no more or the feed is full: then return what has to wait.

        The one scope around it is cancelled when something may be due by time.
        """
        while not self._finished(feed.rate):
            now = trio.current_time()
            unsent = self._timeline.unsent(feed.rate)
            if not unsent:
                pacer.waiting(0.0, 0.0)
                await self._sleep_until(math.inf, now, 0.0)
                continue
            limit = self._chunk_limit(pacer, unsent, feed.rate)
            self._hold_until = pacer.ready_at(min(unsent, limit) / feed.rate, now)
            due = max(self._due(unsent, feed.rate), self._hold_until)
            if due <= now and not self._services.lease.valid(now):
                due = now + LEASE_CHECK_S  # another worker may be feeding this call already
            if due > now:
                await self._sleep_until(due, now, unsent / feed.rate)
                continue
            chunk = self._timeline.take(limit, self._due_since(due, now))
            if chunk is not None:
                self._flushed(chunk, feed.rate, now)
                pacer.sent((chunk.end - chunk.start) / feed.rate, now)
                try:
                    feed.chunks.send_nowait(chunk)
                except trio.WouldBlock:
                    return chunk
        return None

    def _due_since(self, due: float, now: float) -> float:
        """Return since when what leaves now was due: a deadline, or the coming of the audio."""
        since = due if due > -math.inf else self._enough_since
        self._enough_since = None
        return now if since is None else since

    def _finished(self, rate: int) -> bool:
        """Say whether all that a connection of `rate` can ever be sent was sent."""
        timeline = self._timeline
        if timeline.unsent(rate):
            return False
        return self._input_over or timeline.sent < timeline.received

    def _due(self, unsent: int, rate: int) -> float:
        closing = self._input_over or self._timeline.segment_end() < self._timeline.received
        if closing:
            return -math.inf  # nothing will be added to this
        return self.policy.deadline(unsent / rate)

    def _chunk_limit(self, pacer: Pacer, unsent: int, rate: int) -> int:
        """Return the most samples to send at once."""
        flush = self.policy.intervals
        small = min(flush.min_chunk_ms, flush.max_chunk_ms)
        pacer.waiting(unsent / rate, small / 1000)
        return (small if pacer.catching_up else flush.max_chunk_ms) * rate // 1000

    async def _sleep_until(self, due: float, now: float, unsent_s: float) -> None:
        if unsent_s and self._wait_log.allow(now):
            self._log.debug("Waiting to flush", **self.policy.explain(now, unsent_s))
        self._nap.deadline = due
        await self._wake.wait()
        self._wake = trio.Event()

    def _flushed(self, chunk: Chunk, rate: int, now: float) -> None:
        policy = self.policy
        first = policy.flushes == 0
        audio_s = (chunk.end - chunk.start) / rate
        since_last = None if policy.last_flush is None else now - policy.last_flush
        self._services.metrics.flushed(
            first=first, since_last_s=since_last, age_s=policy.age(now), audio_s=audio_s
        )
        say = self._log.info if first else self._log.debug
        say("Processing audio buffer", audio_ms=round(audio_s * 1000))
        policy.flushed(now, remains=self._timeline.unsent(rate) > 0)

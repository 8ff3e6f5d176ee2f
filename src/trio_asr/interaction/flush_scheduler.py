"""The flush scheduler of one call: it takes chunks off the timeline when they are due.

What is due is handed on by whoever makes it so: the reader with a batch of frames, or the scheduler's own
task, which sleeps until the policy's deadline. So there is no wake-up per frame, and none of this task while
audio flows.

Frames that make nothing due may be held back by whoever has them (`may_wait`), which spares the call a
wake-up for each batch. The deadline counts them, and when it comes `ask` gets them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import trio

from trio_asr.config import Config
from trio_asr.core.call import Call
from trio_asr.core.flush import FlushPolicy, Pacer
from trio_asr.core.timeline import Chunk
from trio_asr.interaction.connection import Feed
from trio_asr.interaction.deadlines import renew
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs

LEASE_CHECK_S = 0.25
WAIT_LOG_S = 5.0
SLACK_S = 0.25  # of the timer: half the default interval, so that two flushes of three need not set it


class FlushScheduler:
    """Hands the audio of one call to the connection that the call has."""

    def __init__(self, call: Call, services: Services, log: logs.Logger) -> None:
        self.policy = FlushPolicy(services.config.flush)
        self.ask: Callable[[], bool] = lambda: False  # lets frames come that were held back, if there are any
        self._timeline = call.timeline
        self._services = services
        self._log = log
        self._wait_log = logs.Rate(WAIT_LOG_S)
        self._input_over = False
        self._feed: Feed | None = None  # of the connection that is served
        self._pacer = Pacer(services.config.deepgram.catchup_rate)  # of that connection
        self._over = False  # it has got all that it can ever be sent, or is gone
        self._stuck: Chunk | None = None  # what the feed had no room for; the task waits with it
        self._wake = trio.Event()  # there is something to do that only the task can
        self._nap = trio.CancelScope()
        self._timer = math.inf  # when what is there is due, with what is held back
        self._hold_until = -math.inf  # the pacer's word, which no amount of audio overrules
        self._enough_since: float | None = None  # when what is there became enough to leave at once

    async def run(self, feeds: trio.MemoryReceiveChannel[Feed]) -> None:
        """Serve one connection's feed after another; each ends by our closing it or with its connection."""
        async for feed in feeds:
            # Either way of its end says the same: that connection is over.
            with suppress(trio.BrokenResourceError), feed.scope, feed.chunks:
                await self._serve(feed)

    # -- what others tell ------------------------------------------------------------------------------

    def arrived(self) -> None:
        """Unsent audio may be there: hand on what is due, or bring the moment of waking forward."""
        now = trio.current_time()
        if self._feed is not None:
            self._hand_on(self._feed, now)
        elif (rate := self._timeline.rate()) and self._timeline.unsent(rate):
            self.policy.arrived(now)

    def may_wait(self, size: int, rate: int, now: float) -> int:
        """Return how many bytes of audio may be held back, of which `size` are there: less makes nothing due.

        It is asked for in time, whether or not more of it comes.
        """
        if self._feed is None or rate != self._feed.rate or self._timeline.waiting:
            return 0  # to what waits already, each frame may be the one that is missing
        room = 2 * (self.policy.enough(rate) - self._timeline.unsent(rate))
        if size >= room:
            return 0
        self.policy.arrived(now)
        due = max(self.policy.timer(), self._hold_until)
        if due <= now:
            return 0
        self._wake_at(due)
        return room

    def enough(self, now: float) -> None:
        """Take note that what comes next, together with what is there, is to leave at once."""
        if self._enough_since is None:
            self._enough_since = now

    def reload(self, config: Config) -> None:
        """Go by other intervals from now on."""
        self.policy.intervals = config.flush
        self._pacer.rate = config.deepgram.catchup_rate
        self.arrived()

    def input_over(self) -> None:
        """No more frames will come: what is there is due."""
        self._input_over = True
        if self._feed is not None:
            self._hand_on(self._feed, trio.current_time())

    # -- the task --------------------------------------------------------------------------------------

    async def _serve(self, feed: Feed) -> None:
        """Do for one connection what waits: for the time of a chunk, or for room for one."""
        try:
            self._begin(feed)
            while not self._over:
                with trio.CancelScope(deadline=self._timer) as self._nap:
                    await self._wake.wait()
                self._wake = trio.Event()
                if self._stuck is not None:
                    await feed.chunks.send(self._stuck)
                    self._stuck = None
                if (now := trio.current_time()) >= self._timer:
                    self._timer = math.inf
                    if self.ask():
                        continue  # the reader hands on what is due, and these with it
                self._hand_on(feed, now)
        finally:
            self._feed = None
            self.ask()

    def _begin(self, feed: Feed) -> None:
        self._feed, self._over, self._stuck = feed, False, None
        self._pacer = Pacer(self._services.config.deepgram.catchup_rate)
        self._hold_until = -math.inf
        self.arrived()

    # -- what is due -----------------------------------------------------------------------------------

    def _hand_on(self, feed: Feed, now: float) -> None:
        """Hand on what is due, and see to it that what is not will be; leave to the task what has to wait."""
        timeline, rate, pacer = self._timeline, feed.rate, self._pacer
        while self._stuck is None:
            unsent = timeline.unsent(rate)
            # Nothing will be added to what there is: no more comes, or only of another rate.
            last = self._input_over or timeline.sent + unsent < timeline.received
            if not unsent:
                if last:
                    self._finish()
                return
            self.policy.arrived(now)
            limit = self._chunk_limit(pacer, unsent, rate)
            self._hold_until = pacer.ready_at(min(unsent, limit) / rate, now)
            due = max(-math.inf if last else self.policy.deadline(unsent / rate), self._hold_until)
            if due <= now and not self._services.lease.valid(now):
                due = now + LEASE_CHECK_S  # another worker may be feeding this call already
            if due > now:
                self._say_why(now, unsent / rate)
                self._wake_at(due)
                return
            chunk = timeline.take(limit, self._due_since(due, now))
            if chunk is None:
                return
            try:
                feed.chunks.send_nowait(chunk)
            except trio.WouldBlock:
                self._stuck = chunk
                self._wake.set()
            except trio.BrokenResourceError:
                self._finish()  # the connection is over: the next one is sent it again
                return
            audio_s = (chunk.end - chunk.start) / rate
            self._flushed(audio_s, now, remains=chunk.end - chunk.start < unsent)
            pacer.sent(audio_s, now)
            if chunk.end == timeline.received and not last:
                return

    def _finish(self) -> None:
        """Let the task close this feed."""
        self._over = True
        self._wake.set()

    def _wake_at(self, due: float) -> None:
        self._timer = due
        renew(self._nap, due, SLACK_S)

    def _due_since(self, due: float, now: float) -> float:
        """Return since when what leaves now was due: a deadline, or the coming of the audio."""
        since = due if due > -math.inf else self._enough_since
        self._enough_since = None
        return now if since is None else since

    def _chunk_limit(self, pacer: Pacer, unsent: int, rate: int) -> int:
        """Return the most samples to send at once."""
        flush = self.policy.intervals
        small = min(flush.min_chunk_ms, flush.max_chunk_ms)
        pacer.waiting(unsent / rate, small / 1000)
        return (small if pacer.catching_up else flush.max_chunk_ms) * rate // 1000

    def _say_why(self, now: float, unsent_s: float) -> None:
        if self._wait_log.allow(now):
            self._log.debug("Waiting to flush", **self.policy.explain(now, unsent_s))

    def _flushed(self, audio_s: float, now: float, *, remains: bool) -> None:
        policy = self.policy
        since_last_s = None if policy.last_flush is None else now - policy.last_flush
        self._services.metrics.flushed(since_last_s=since_last_s, age_s=policy.age(now), audio_s=audio_s)
        if not policy.flushes or logs.debugging():
            say = self._log.debug if policy.flushes else self._log.info
            say("Processing audio buffer", audio_ms=round(audio_s * 1000))
        policy.flushed(now, remains=remains)

"""The flush scheduler of one call: a task that sleeps until audio is due, and hands it to the connection.

The chunker (`core/chunker.py`) decides what is due, and when. This task only waits: for the timer, and for
capacity in the connection's feed (backpressure). A chunk that a batch of frames makes due is handed on by
the reader, in a plain call: the batch has just woken the reader, and waking this task, too, would cost every
chunk a turn of the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from trio_asr.config import Config
from trio_asr.core.call import Call
from trio_asr.core.chunker import Chunker, Flush
from trio_asr.core.timeline import Chunk
from trio_asr.interaction.deadlines import renew
from trio_asr.interaction.feed import Feed
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire.audio_format import Format

WAIT_LOG_S = 5.0
SLACK_S = 0.25  # of the timer: half the default interval, so that two of three flushes need not set it


class FlushScheduler:
    """The part of a call that hands its audio to its connection.

    `release` hands the frames of the inbox to the reader. It returns whether there were any.
    """

    def __init__(self, call: Call, services: Services, log: logs.Logger, release: Callable[[], bool]) -> None:
        config = services.config
        self._chunker = Chunker(call.timeline, config.flush, config.deepgram.catchup_rate)
        self._services = services
        self._log, self._wait_log = log, logs.Rate(WAIT_LOG_S)
        self._release = release
        self._feed: Feed | None = None  # of the present connection
        self._stuck: Chunk | None = None  # the feed was full; the task waits until it takes this chunk
        self._wake = trio.Event()
        self._nap = trio.CancelScope()

    async def run(self, feeds: trio.MemoryReceiveChannel[Feed]) -> None:
        """Feed one connection after another, until the sender closes the channel of feeds.

        A feed ends with its last chunk, or with its connection.

        Raises:
            Exception: A bug in how audio is cut into chunks.
        """
        async for feed in feeds:
            # The cancelled scope and the broken channel mean the same: that connection is over.
            with suppress(trio.BrokenResourceError), feed.scope, feed.chunks:
                await self._serve(feed)

    async def _serve(self, feed: Feed) -> None:
        """Wait, for one connection, until the timer is due or the feed has capacity."""
        chunker = self._chunker
        try:
            self._begin(feed)
            while self._stuck is not None or not chunker.finished:
                with trio.CancelScope(deadline=chunker.timer()) as self._nap:
                    await self._wake.wait()
                self._wake = trio.Event()
                if self._stuck is not None:
                    await feed.chunks.send(self._stuck)
                    self._stuck = None
                if chunker.timer_fired(trio.current_time()) and self._release():
                    continue  # the reader hands on what is due, the frames of the inbox with it
                self._hand_on(feed)
        finally:
            self._feed = None
            chunker.disconnect()
            self._release()

    def _begin(self, feed: Feed) -> None:
        self._feed, self._stuck = feed, None
        self._chunker.connect(feed.format)
        self._hand_on(feed)

    # -- called by the other tasks ---------------------------------------------------------------------

    def arrived(self) -> None:
        """Hand on what new audio makes due, if there is a connection to take it."""
        if self._feed is not None:
            self._hand_on(self._feed)
        else:
            self._chunker.arrived(trio.current_time())

    def hold_limit(self, size: int, fmt: Format, now: float) -> int:
        """Return how many bytes of frames the inbox may hold, given the `size` bytes in it (0: none).

        The frames are of the format `fmt`.
        """
        limit = self._chunker.hold_limit(size, fmt, now)
        if limit:
            renew(self._nap, self._chunker.timer(), SLACK_S)
        return limit

    def mark_due(self, now: float) -> None:
        """Note that frames on their way here make a chunk due."""
        self._chunker.mark_due(now)

    def input_over(self) -> None:
        """Hand on the rest: no more frames will come."""
        self._chunker.input_over()
        self.arrived()

    def reload(self, config: Config) -> None:
        """Use other intervals from now on."""
        self._chunker.reload(config.flush, config.deepgram.catchup_rate)
        self.arrived()

    # -- handing on ------------------------------------------------------------------------------------

    def _hand_on(self, feed: Feed) -> None:
        """Hand the connection what is due. A chunk that the feed has no capacity for is left to the task."""
        if self._stuck is not None:
            return
        now, chunker = trio.current_time(), self._chunker
        for flush in chunker.due(now, allowed=self._services.lease.valid(now)):
            try:
                feed.chunks.send_nowait(flush.chunk)
            except trio.WouldBlock:
                self._stuck = flush.chunk
            except trio.BrokenResourceError:
                feed.scope.cancel()  # that connection is over; this audio is replayed on the next one
                return
            self._report(flush)
            if self._stuck is not None:
                break
        else:
            renew(self._nap, chunker.timer(), SLACK_S)
            if logs.debugging() and not chunker.finished and self._wait_log.allow(now):
                self._log.debug("Waiting to flush", **chunker.explain(now))
        if self._stuck is not None or chunker.finished:
            self._wake.set()

    def _report(self, flush: Flush) -> None:
        self._services.metrics.flushed(
            since_last_s=flush.since_last_s, age_s=flush.age_s, audio_s=flush.audio_s
        )
        first = self._chunker.flushes == 1
        if first or logs.debugging():
            say = self._log.info if first else self._log.debug
            say("Processing audio buffer", audio_ms=round(flush.audio_s * 1000))

"""One call: a nursery, opened exactly once, in which a reader, a flush scheduler and a sender run.

::

    dispatcher --frames--> reader -> timeline -> flush scheduler --chunks--> sender -> socket
                                                                   receiver <-

The reader appends frames to the timeline. The sender makes connections, one at a time, while there is
un-finalized audio, and offers the flush scheduler a feed for each; the scheduler fills it with chunks as they
fall due and closes it when there is nothing more for that connection. The end of the call is the closing of
the frames' channel: the reader ends, the scheduler hands on what is left and closes the feed, the sender
closes the connection and reads its last results.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from trio_asr.config import Config
from trio_asr.core.call import Call
from trio_asr.core.tally import Tally
from trio_asr.interaction.connection import Feed
from trio_asr.interaction.flush_scheduler import FlushScheduler
from trio_asr.interaction.sender import Sender
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire.codes import GapReason
from trio_asr.wire.frames import Frame

Frames = list[Frame]


class Interaction:
    """The tasks of one call."""

    def __init__(self, call: Call, services: Services) -> None:
        self.call = call
        self._services = services
        self._named = False
        # One logger for all tasks of the call: the trace id joins when the first frame brings it.
        self._log = logs.get("interaction").bind(**call.names)
        self.scheduler = FlushScheduler(call, services, self._log)
        self.sender = Sender(call, services, self._log)

    def reload(self, config: Config) -> None:
        """Go by other intervals and limits from now on."""
        limits = config.interaction
        self.call.bounds = self.call.bounds._replace(max_unfinalized_s=limits.max_unfinalized_s)
        self.call.order.wait(limits.reorder_ms)
        self.scheduler.reload(config)
        self.sender.reload(config.deepgram)

    async def run(self, frames: trio.MemoryReceiveChannel[Frames]) -> None:
        """Transcribe the call until its frames end and all of them are finalized."""
        # Capacity 0: a connection is offered when the scheduler is free for it, and not before.
        feeds_in, feeds_out = trio.open_memory_channel[Feed](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, frames)
            nursery.start_soon(self.scheduler.run, feeds_out)
            nursery.start_soon(self.sender.run, feeds_in)

    async def _read(self, frames: trio.MemoryReceiveChannel[Frames]) -> None:
        """Append what the dispatcher hands over, a batch at a time."""
        call = self.call
        with frames, suppress(trio.EndOfChannel):
            while True:
                batch = await (self._in_time(frames) if call.order else frames.receive())
                now = trio.current_time()
                self._took(call.receive(batch, now) if batch else call.expire(now))
        if call.order:
            self._took(call.close())
        self.scheduler.input_over()
        self.sender.input_over()

    async def _in_time(self, frames: trio.MemoryReceiveChannel[Frames]) -> Frames:
        """Return the next batch; none if it does not come while the call waits for what is missing."""
        with trio.move_on_at(self.call.order.due):
            return await frames.receive()
        self.scheduler.ask()  # what was held back has come in time
        try:
            return frames.receive_nowait()
        except trio.WouldBlock:
            return []

    def _took(self, tally: Tally) -> None:
        """See to what has come of a batch."""
        metrics = self._services.metrics
        metrics.frames_accepted.inc(tally.accepted)
        if tally.unusual:
            self._say(tally)
        if not self._named:
            self._log.add(**self.call.names)
            self._named = True
        if self.sender.connecting:
            # What would have opened a second connection in the old worker waits on the timeline.
            metrics.duplicate_connection_attempts.inc()
        self._services.committer.submit(self.call.outbox)
        if self.call.timeline.unfinalized:
            self.sender.arrived()
            self.scheduler.arrived()

    def _say(self, tally: Tally) -> None:
        metrics = self._services.metrics
        metrics.duplicates_dropped.inc(tally.repeats)
        metrics.holes_filled_seconds.inc(tally.filled_s)
        metrics.audio_late_seconds.inc(tally.late_s)
        if tally.header:
            self._log.info("The header of a WAVE file was left out", bytes=tally.header)
        if tally.given_up_s:
            self._log.warning(
                "Audio given up", reason=GapReason.RETENTION, seconds=round(tally.given_up_s, 3)
            )

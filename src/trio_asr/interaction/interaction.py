"""One call: a nursery, opened exactly once, in which a reader, a flush scheduler and a sender run.

::

    dispatcher                              flush scheduler --- chunks ---.
        |                                          ^                      v
      inbox --- batches ---> reader ---> timeline -'                   sender === the call's one socket
                                            ^                             |
                                            '---- results <--- receiver <-'

The reader appends frames to the timeline. The sender makes connections, one at a time and only here
(`_connect`), while there is un-finalized audio, and offers the flush scheduler a feed for each; the scheduler
fills it with chunks as they fall due and closes it when there is nothing more for that connection. The end of
the call is the closing of the batches' channel: the reader ends, the scheduler hands on the rest and closes
the feed, the sender closes the connection and reads its last results. What is queued for Redis by then is
committed, and the call's end with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from trio_asr.config import Config
from trio_asr.core.call import Call
from trio_asr.core.states import Dial, Life
from trio_asr.core.tally import Tally
from trio_asr.deepgram.provider import Link
from trio_asr.interaction.feed import Feed, Flow
from trio_asr.interaction.flush_scheduler import FlushScheduler
from trio_asr.interaction.inbox import Frames
from trio_asr.interaction.intake import Intake
from trio_asr.interaction.report import Report
from trio_asr.interaction.sender import Sender
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire import ids
from trio_asr.wire.codes import EndReason
from trio_asr.wire.ids import EntryId

BATCHES = 256  # that a call may be behind; its reader never waits, so one or two is what happens


class Interaction(Intake):
    """A call in progress: its intake, the tasks, and how it ends."""

    def __init__(
        self, call: Call, services: Services, tenant: str = "", after: EntryId = "", batches: int = 0
    ) -> None:
        super().__init__(call, tenant, after)
        self.end: tuple[EntryId, str] | None = None  # where and why it ends, once that is known
        self._services = services
        self._scope = trio.CancelScope()
        self._batches_in, self._batches = trio.open_memory_channel[Frames](batches or BATCHES)
        # One logger for all tasks of the call: the trace id joins when the first frame brings it.
        self._log = logs.get("interaction").bind(**call.names)
        self._named = False
        self.flow = Flow()
        self.report = Report(call, services, self._log)
        self.scheduler = FlushScheduler(call, services, self._log, self.release)
        self.sender = Sender(call, services, self.report, self.flow, self._connect)

    # -- the tasks -------------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Transcribe the call until its frames end and all that came of them is committed.

        Return False if `fail` cut it short: then it restarts from its checkpoint.

        Raises:
            ExceptionGroup: a task of the call failed, which says the same.
        """
        # Capacity 0: a connection is offered when the scheduler is free for it, and not before.
        feeds_in, feeds_out = trio.open_memory_channel[Feed](0)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(self.scheduler.run, feeds_out)
                nursery.start_soon(self.sender.run, feeds_in)
            if self.call.begun:
                self.call.end(*(self.end or (self.call.last_entry, EndReason.CLOSED)))
            await self._services.committer.drained(self.call.outbox)
        return not self._scope.cancelled_caught

    async def _read(self) -> None:
        """Append what is handed over, a batch at a time, until the channel is closed."""
        call = self.call
        with self._batches, suppress(trio.EndOfChannel):
            while True:
                batch = await (self._receive_in_time() if call.order else self._batches.receive())
                now = trio.current_time()
                self._took(call.receive(batch, now) if batch else call.expire(now), now)
        if call.order:
            self._took(call.close(), trio.current_time())
        self.flow.over = True
        self.scheduler.input_over()
        self.sender.look()

    async def _receive_in_time(self) -> Frames:
        """Return the next batch; none if it does not come while the call waits for what is missing."""
        with trio.move_on_at(self.call.order.due):
            return await self._batches.receive()
        self.release()  # what was held back has come in time
        try:
            return self._batches.receive_nowait()
        except trio.WouldBlock:
            return []

    def _took(self, tally: Tally, now: float) -> None:
        """Let the other tasks see to what is new on the timeline."""
        if not self._named:
            self._log.add(**self.call.names)
            self._named = True
        self.report.took(tally, dialling=self.sender.state is Dial.DIALLING)
        self._services.committer.submit(self.call.outbox)
        if self.call.timeline.unfinalized:
            self.flow.arrived(now)
            self.sender.look()
            self.scheduler.arrived()

    @asynccontextmanager
    async def _connect(self, rate: int) -> AsyncIterator[Link]:
        """Make the call's connection. The sender alone asks for one, and leaves the last one first.

        Raises:
            ConnectFailed: there is none.
        """
        async with self._services.admission.provider.connect(rate) as link:
            yield link

    def reload(self, config: Config) -> None:
        """Go by other intervals and limits from now on."""
        limits = config.interaction
        self.call.bounds = self.call.bounds._replace(max_unfinalized_s=limits.max_unfinalized_s)
        self.call.order.wait(limits.reorder_ms)
        self.scheduler.reload(config)
        self.sender.reload(config.deepgram)

    # -- its frames ------------------------------------------------------------------------------------

    def hand_over(self, now: float) -> bool:
        """Hand over the inbox, or decide to wait for more; return False if the call cannot take it."""
        inbox, first = self.inbox, self.inbox.frames[0]
        self.progress.begin(first.entry)
        if not inbox.hold_limit:
            inbox.hold_limit = self.scheduler.hold_limit(inbox.size, first.sample_rate, now)
        if inbox.size < inbox.hold_limit:
            return True
        self.scheduler.mark_due(now)
        return self.release()

    def release(self) -> bool:
        """Hand over the inbox; return False if it is empty or the call cannot take it."""
        inbox = self.inbox
        if not inbox.frames or self.life.now is Life.CLOSING:
            return False
        try:
            self._batches_in.send_nowait(inbox.frames)
        except (trio.WouldBlock, trio.BrokenResourceError):  # it is behind, or about to fail
            return False
        self.call.coming.append(inbox.size)
        self.progress.handed = inbox.frames[-1].entry
        self.active_at = self.handed_at = trio.current_time()
        inbox.take()
        inbox.limit = self.limit - self.size
        return True

    # -- its end ---------------------------------------------------------------------------------------

    def ends(self, at: EntryId, reason: str) -> None:
        """Note where and why the call ends: frames still count, until `close`."""
        self.end = at, reason
        self.life.to(Life.ENDING)

    def close(self) -> bool:
        """Take no more frames, but finish what is there; return False if the call cannot take its inbox."""
        self.release()
        if not self.failed:
            self.life.to(Life.CLOSING)
        self.fall_behind(missed=False)
        self._batches_in.close()
        return not self.inbox.frames

    def fail(self) -> None:
        """Hold nothing for the call any more and stop its tasks: it is read again."""
        self.life.to(Life.FAILED)
        self.fall_behind(missed=False)
        self.inbox.take()
        self._scope.cancel()

    def forget_above(self, last: EntryId) -> None:
        """Hold no entry id above `last` any more: the stream has begun again from there."""
        self.release()
        super().forget_above(last)
        if self.end is not None:
            self.end = min(self.end[0], last, key=ids.key), self.end[1]

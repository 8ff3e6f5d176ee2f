"""One call in progress: a nursery that is opened once, and the three tasks in it.

::

    dispatcher                              flush scheduler --- chunks ---.
        |                                          ^                      v
      inbox --- batches ---> reader ---> timeline -'                   sender === the call's one socket
                                            ^                             |
                                            '---- results <--- receiver <-'

Tasks. The *reader* (`_read`) appends frames to the timeline. The *flush scheduler* (`flush_scheduler.py`)
takes chunks off the timeline as they fall due. The *sender* (`sender.py`) keeps the call connected while
there is audio that is not finalized. Beside each connection the sender runs a *receiver* (`connection.py`),
which applies results to the timeline.

Channels. `batches` leads from the dispatcher to the reader. `feeds` leads from the sender to the flush
scheduler: one feed for each connection. A feed is itself a channel of chunks, from the flush scheduler back
to the sender.

The connection. Connections are made one at a time, and in one place: `_connect`, which only the sender
calls.

Cancel scopes. One scope encloses all tasks; `fail` cancels it, and the call then restarts from its
checkpoint. Each feed has a scope of its own, so that a lost connection ends the feed and nothing else.

The end. Closing `batches` drains the call from left to right. The reader ends, the flush scheduler hands on
the rest and closes the feed, and the sender closes the connection after its last results. Then `run` queues
the end of the call, waits until Redis has everything, and returns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from trio_asr.config import Config
from trio_asr.core.call import Call
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.core.states import Dial, Life
from trio_asr.deepgram.provider import Link
from trio_asr.interaction.feed import Feed, Flow
from trio_asr.interaction.flush_scheduler import FlushScheduler
from trio_asr.interaction.inbox import Frames
from trio_asr.interaction.intake import Intake
from trio_asr.interaction.report import Report
from trio_asr.interaction.sender import Sender
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.audio_format import Format
from trio_asr.wire.codes import EndReason
from trio_asr.wire.ids import EntryId

BATCHES = 256  # that the reader may lag behind; it never waits for others, so one or two is what happens


class Interaction(Intake):
    """A call in progress: its intake, its tasks, and how it ends."""

    def __init__(self, call: Call, services: Services, tenant: str = "", after: EntryId = "") -> None:
        super().__init__(call, tenant, after)
        self.end: tuple[EntryId, EndReason] | None = None  # where and why the call ends, once known
        self._services = services
        self._scope = trio.CancelScope()
        self._batches_in, self._batches = trio.open_memory_channel[Frames](BATCHES)
        # One logger for all tasks of the call. The trace id is added when the first frame brings it.
        self._log = services.problems.logger("interaction").bind(**call.names)
        self._named = False
        self.flow = Flow()
        self.report = Report(call, services, self._log)
        self.scheduler = FlushScheduler(call, services, self._log, self.release)
        self.sender = Sender(call, services, self.report, self.flow, self._connect)

    # -- the tasks -------------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Transcribe the call until its frames end and everything that came of them is committed.

        Return False if `fail` cut it short: the call then restarts from its checkpoint.

        Raises:
            ExceptionGroup: A task of the call failed. The call restarts from its checkpoint, too.
        """
        # Capacity 0: the sender offers a connection when the scheduler is free for it, and not before.
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
        """Append what is handed over, a batch at a time, until the channel is closed.

        Raises:
            Exception: A bug in how a frame is applied to the call.
        """
        call = self.call
        with self._batches, suppress(trio.EndOfChannel):
            while True:
                batch = await (self._receive_in_time() if call.order else self._batches.receive())
                now = trio.current_time()
                self._took(call.receive(batch, now) if batch else call.expire(now), now)
        if call.order or call.beginning:
            self._took(call.close(), trio.current_time())
        self.flow.over = True
        self.scheduler.input_over()
        self.sender.wake()

    async def _receive_in_time(self) -> Frames:
        """Return the next batch, or an empty one if none comes while frames wait for missing ones."""
        with trio.move_on_at(self.call.order.due):
            return await self._batches.receive()
        self.release()  # frames that the inbox held back have come in time
        try:
            return self._batches.receive_nowait()
        except trio.WouldBlock:
            return []

    def _took(self, result: ReceiveResult, now: float) -> None:
        """Tell the other tasks what is new on the timeline."""
        if not self._named:
            self._log.add(**self.call.names)
            self._named = True
        self.report.took(result, dialling=self.sender.state is Dial.DIALLING)
        self._services.committer.submit(self.call.outbox)
        if self.call.timeline.unfinalized:
            self.flow.arrived(now)
            self.sender.wake()
            self.scheduler.arrived()

    @asynccontextmanager
    async def _connect(self, fmt: Format) -> AsyncIterator[Link]:
        """Open a connection for audio of this format. Only the sender calls this, once at a time.

        Raises:
            ConnectFailed: No connection came about.
        """
        async with self._services.admission.provider.connect(fmt) as link:
            yield link

    def reload(self, config: Config) -> None:
        """Use other intervals and limits from now on."""
        limits = config.interaction
        self.call.bounds = self.call.bounds._replace(max_unfinalized_s=limits.max_unfinalized_s)
        self.call.order.wait(limits.reorder_ms)
        self.scheduler.reload(config)
        self.sender.reload(config.deepgram)

    # -- frames ----------------------------------------------------------------------------------------

    def hand_over(self, now: float) -> bool:
        """Hand over the inbox, or decide to wait for more. Return False if the call cannot take it."""
        inbox, first = self.inbox, self.inbox.frames[0]
        self.progress.begin(first.entry)
        if not inbox.hold_limit:
            inbox.hold_limit = self.scheduler.hold_limit(inbox.size, first.format, now)
        if inbox.size < inbox.hold_limit:
            return True
        self.scheduler.mark_due(now)
        return self.release()

    def release(self) -> bool:
        """Hand over the inbox. Return False if it is empty or the call cannot take it."""
        inbox = self.inbox
        if not inbox.frames or self.closing:
            return False
        try:
            self._batches_in.send_nowait(inbox.frames)
        except (trio.WouldBlock, trio.BrokenResourceError):  # the reader lags behind, or has failed
            return False
        self.call.coming.append(inbox.size)
        self.progress.handed = inbox.frames[-1].entry
        self.active_at = self.handed_at = trio.current_time()
        inbox.take()
        inbox.limit = self.limit - self.size
        return True

    # -- the end ---------------------------------------------------------------------------------------

    @property
    def call_end(self) -> EntryId:
        """The entry id of the producer's `call_end` that ends this call ("" if there is none)."""
        return self.end[0] if self.end is not None and self.end[1] is EndReason.CALL_END else ""

    def end_at(self, at: EntryId, reason: EndReason) -> None:
        """Record where and why the call ends. Frames still count until `close`.

        For a call that takes none any more it is only a record: what others do to a call is no illegal move.
        """
        self.end = at, reason
        if not self.over:
            self.life.to(Life.ENDING)

    def close(self) -> bool:
        """Take no more frames, but finish those that came. Return False if the call cannot take its inbox."""
        self.release()
        if not self.failed:
            self.life.to(Life.CLOSING)
        self.fall_behind(missed=False)
        self._batches_in.close()
        return not self.inbox.frames

    def fail(self) -> None:
        """Drop what is held for the call and stop its tasks: it will be read again."""
        self.life.to(Life.FAILED)
        self.fall_behind(missed=False)
        self.inbox.take()
        self._scope.cancel()

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        self.release()
        super().forget_above(last)
        if self.end is not None:
            self.end = min(self.end[0], last, key=ids.key), self.end[1]

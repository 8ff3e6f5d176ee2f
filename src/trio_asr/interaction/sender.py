"""The sender of one call: it keeps the call connected as long as needed, over one connection at a time.

A connection is needed while there is audio that is not finalized. However a connection ends, the audio that
it did not finalize is replayed on the next one: there is no other recovery. The first connection is logged
as `Creating new connection`, later ones as `Reconnecting`. Operators alarm on the former coming twice for a
call.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

import trio

from trio_asr.config import DeepgramConfig
from trio_asr.core.backoff import Backoff
from trio_asr.core.call import Call
from trio_asr.core.channel_results import Publishing
from trio_asr.core.results import ResultHandler
from trio_asr.core.states import DIAL, Dial, Moves
from trio_asr.core.timeline import Chunk
from trio_asr.core.verdict import TAIL_S, ChannelEnd, End, Judge
from trio_asr.deepgram.provider import ConnectFailed, Link
from trio_asr.interaction.connection import LiveConnection
from trio_asr.interaction.ending import Ending, Why
from trio_asr.interaction.feed import Feed, Flow
from trio_asr.interaction.report import Report
from trio_asr.interaction.services import Services
from trio_asr.wire.audio_format import Format
from trio_asr.wire.codes import EventName

BACKOFF_BASE_S, BACKOFF_CAP_S = 1.0, 10.0
CHUNKS = 1  # one may wait while the one before it is written to the socket; more would only get older


class Retry(enum.Enum):
    """When to make the next connection."""

    NOW = "now"
    BACKOFF = "backoff"  # after a backoff, with the same permit
    ADMITTED = "admitted"  # once a refusal no longer concerns this call


class Sender:
    """The task that keeps one call connected. `connect` opens a connection for a sample rate in Hz."""

    def __init__(
        self,
        call: Call,
        services: Services,
        report: Report,
        flow: Flow,
        connect: Callable[[Format], AbstractAsyncContextManager[Link]],
    ) -> None:
        self.request_id = ""  # of the last connection
        self._call, self._services = call, services
        self._report, self._flow, self._connect = report, flow, connect
        self._dial = Moves[Dial](DIAL, Dial.IDLE)
        self._backoff = Backoff(BACKOFF_BASE_S, BACKOFF_CAP_S)
        self._resume_at = -math.inf  # when the pause before the next attempt ends
        self._attempts = 0  # failed attempts since the last connection
        self._judge = Judge()
        self._speech_reported: list[int] = []  # the last start of speech that was reported, by channel
        self._wake = trio.Event()
        self._live: LiveConnection | None = None

    @property
    def state(self) -> Dial:
        """The state of the call's connection."""
        return self._dial.now

    @property
    def connected(self) -> bool:
        """Whether a connection is open."""
        return self._dial.now is Dial.OPEN

    def wake(self) -> None:
        """Make the sender check whether a connection is needed: audio may have come, or its end."""
        self._wake.set()

    def reload(self, config: DeepgramConfig) -> None:
        """Use other time limits on the present connection, if there is one."""
        if self._live is not None:
            self._live.reload(config)

    # -- as the holder of a permit ---------------------------------------------------------------------

    def flowing(self) -> bool:
        """Return whether audio is coming in. Such a call goes first, and keeps its permit to reconnect."""
        return self._flow.flowing(trio.current_time())

    def permit_wanted(self) -> None:
        """Make the connection check whether its permit is still of use: another call is waiting for one."""
        if self._live is not None:
            self._live.watch()

    # -- connections -----------------------------------------------------------------------------------

    async def run(self, feeds: trio.MemorySendChannel[Feed]) -> None:
        """Keep the call connected as long as needed. End with its last result.

        Raises:
            Exception: A bug, alone or in a group. The call then restarts from its checkpoint.
        """
        admission = self._services.admission
        with feeds:
            while await self._audio_wanted():
                with self._wanting():
                    await trio.sleep_until(max(self._resume_at, trio.current_time()))
                    self._dial.to(Dial.ADMISSION)
                    await admission.wait_for_gate(self._call.next_format, self._wants)
                    self._dial.to(Dial.PERMIT)
                    async with admission.permit(self):
                        self._dial.to(Dial.PERMITTED)
                        await self._while_wanted(feeds)
                    self._dial.to(Dial.IDLE)

    def _wants(self) -> bool:
        return self._call.timeline.unfinalized > 0

    async def _audio_wanted(self) -> bool:
        """Wait until there is audio that is not finalized. Return False once there never will be any."""
        while not self._wants():
            if self._flow.over:
                return False
            self._wake = trio.Event()
            await self._wake.wait()
        return True

    @contextmanager
    def _wanting(self) -> Iterator[None]:
        self._services.admission.wanted += 1
        try:
            yield
        finally:
            self._services.admission.wanted -= 1

    async def _while_wanted(self, feeds: trio.MemorySendChannel[Feed]) -> None:
        """Connect and reconnect with the same permit, for as long as that is needed and makes sense.

        A call without new audio queues for a permit again before each connection.
        """
        flow = self._flow
        while self._wants():
            await self._services.lease.wait_valid()  # a worker that may have been replaced dials nothing
            retry = await self._one_connection(feeds)
            if retry is Retry.ADMITTED:
                return
            if retry is Retry.BACKOFF:
                self._resume_at = trio.current_time() + self._backoff.next()
            while self.flowing() and trio.current_time() < self._resume_at:  # noqa: ASYNC110 (see below)
                # Until the pause ends or the audio stops, which more audio puts off.
                await trio.sleep_until(min(self._resume_at, flow.until))
            if not self.flowing():
                return

    async def _one_connection(self, feeds: trio.MemorySendChannel[Feed]) -> Retry:
        """Make one connection and use it until it ends. Return when to make the next."""
        self._report.dialling(self._attempts)
        fmt = self._call.next_format
        wanted = trio.current_time()
        self._dial.to(Dial.DIALLING)
        try:
            async with self._connect(fmt) as link:
                if self._call.next_format != fmt:
                    return Retry.NOW  # the audio that it was for was given up meanwhile
                self._dial.to(Dial.OPEN)
                self._services.metrics.connection_opened(trio.current_time() - wanted)
                return await self._use(link, feeds)
        except ConnectFailed as failure:
            self._attempts += 1
            self._report.failed(failure)
            return Retry.BACKOFF if self._services.admission.failed(failure, fmt) else Retry.ADMITTED
        finally:
            self._dial.to(Dial.PERMITTED)

    async def _use(self, link: Link, feeds: trio.MemorySendChannel[Feed]) -> Retry:
        """Offer the flush scheduler a feed for this connection, and send what comes through it."""
        call, services = self._call, self._services
        number = call.connected(link.request_id)
        self._attempts, self.request_id = 0, link.request_id
        services.committer.submit(call.outbox)
        self._report.opened(number, link.request_id)
        publish = services.config.publish
        publishing = Publishing(number, link.request_id, publish.partials, publish.words)
        handler = ResultHandler(call.timeline, call.outbox, publishing, self._speech_reported)
        opened = trio.current_time()
        self._live = LiveConnection(
            link, handler, services, report=self._report, flow=self._flow, judge=self._judge
        )
        chunks_in, chunks_out = trio.open_memory_channel[Chunk](CHUNKS)
        feed = Feed(chunks_in, handler.format, trio.CancelScope())
        services.admission.opened(handler.format, call.id)
        try:
            await feeds.send(feed)
            ending = await self._live.run(chunks_out)
        finally:
            self._live = None
            feed.scope.cancel()  # so that the scheduler is free before the next connection is dialled
            services.admission.closed(call.id)
        return self._ended(handler, number, ending, trio.current_time() - opened)

    def _ended(self, handler: ResultHandler, number: int, ending: Ending, lived_s: float) -> Retry:
        """Draw the conclusions from the end of a connection. Return when to make the next."""
        call, timeline = self._call, self._call.timeline
        done = ending.why is Why.DONE
        if done:
            handler.finish()
        self._speech_reported = handler.speech_reported
        tail = self._flow.over and call.next_format == handler.format and timeline.unfinalized_s < TAIL_S
        until = timeline.received if tail else min(handler.clock.end, timeline.received)
        channels = [
            ChannelEnd(channel.finals > 0, timeline.seconds(channel.cursor, until))
            for channel in handler.channels
        ]
        end = End(ending.code, ending.asked, done, channels, lived_s, tail)
        patience_s = self._services.config.interaction.max_unfinalized_s
        verdict = self._judge.ended(end, trio.current_time(), patience_s)
        for channel, reason in enumerate(verdict.give_up):
            if reason is not None:
                seconds = call.give_up_until(until, reason, channel)
                self._report.gave_up(seconds, reason)
        if handler.progressed and not self._judge.restless:
            self._backoff.reset()
        call.event(EventName.CONNECTION_CLOSED, connection=number, code=ending.code, reason=ending.reason)
        if verdict.brief and (fmt := call.next_format) != handler.format:
            call.event(EventName.RATE_CHANGING, connection=number, **fmt.fields)
            self._report.format_changes(fmt)
        self._services.committer.submit(call.outbox)
        self._report.closed(number, ending)
        return Retry.BACKOFF if verdict.pause else Retry.NOW

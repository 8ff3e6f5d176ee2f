"""The sender of one call: it keeps the call connected while it needs to be, over one connection at a time.

A connection is wanted while there is un-finalized audio. However one ends, what it did not finalize is sent
again on the next: there is no other recovery. The first is logged as `Creating new connection`, later ones as
`Reconnecting`; operators alarm on the former coming twice for a call.
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
from trio_asr.core.results import Hearing
from trio_asr.core.states import DIAL, Dial, Moves
from trio_asr.core.timeline import Chunk
from trio_asr.core.verdict import End, Judge
from trio_asr.deepgram.provider import ConnectFailed, Link
from trio_asr.interaction.connection import LiveConnection
from trio_asr.interaction.ending import Ending, Why
from trio_asr.interaction.feed import Feed, Flow
from trio_asr.interaction.report import Report
from trio_asr.interaction.services import Services
from trio_asr.wire.codes import EventName

BACKOFF_BASE_S, BACKOFF_CAP_S = 1.0, 10.0
CHUNKS = 1  # a chunk may wait while the one before it is on its way to the socket; more would only be older


class Again(enum.Enum):
    """When to connect again."""

    NOW = "now"
    LATER = "later"  # after a backoff, with the same permit
    ADMITTED = "admitted"  # when a refusal does not concern this call any more


class Sender:
    """Keeps one call connected. `connect` makes a connection for audio of a sample rate."""

    def __init__(
        self,
        call: Call,
        services: Services,
        report: Report,
        flow: Flow,
        connect: Callable[[int], AbstractAsyncContextManager[Link]],
    ) -> None:
        self.request_id = ""  # of the last connection
        self._call, self._services = call, services
        self._report, self._flow, self._connect = report, flow, connect
        self._dial = Moves[Dial](DIAL, Dial.IDLE)
        self._backoff = Backoff(BACKOFF_BASE_S, BACKOFF_CAP_S)
        self._resume_at = -math.inf  # when the pause before the next attempt is over
        self._attempts = 0  # that failed since the last connection
        self._judge = Judge()
        self._speech_told = -1  # the timeline sample of the last start of speech that was told of
        self._wake = trio.Event()
        self._live: LiveConnection | None = None

    @property
    def state(self) -> Dial:
        """Where the call's connection stands."""
        return self._dial.now

    @property
    def connected(self) -> bool:
        """Whether a connection is open."""
        return self._dial.now is Dial.OPEN

    def look(self) -> None:
        """Look whether a connection is wanted: audio may have come, or its end."""
        self._wake.set()

    def reload(self, config: DeepgramConfig) -> None:
        """Let the present connection, if there is one, go by other time limits."""
        if self._live is not None:
            self._live.reload(config)

    # -- as the holder of a permit ---------------------------------------------------------------------

    def flowing(self) -> bool:
        """Say whether audio comes in: such a call goes before others, and keeps its permit to reconnect."""
        return self._flow.flowing(trio.current_time())

    def permit_wanted(self) -> None:
        """Ask the connection whether it still has a use for its permit: another call waits for one."""
        if self._live is not None:
            self._live.watch()

    # -- connections -----------------------------------------------------------------------------------

    async def run(self, feeds: trio.MemorySendChannel[Feed]) -> None:
        """Keep the call connected while it needs to be; end with its last result.

        Raises:
            Exception: a bug, in what a message does to the call; it restarts from its checkpoint.
        """
        admission, timeline = self._services.admission, self._call.timeline
        with feeds:
            while await self._audio_wanted():
                with self._wanting():
                    await trio.sleep_until(max(self._resume_at, trio.current_time()))
                    self._dial.to(Dial.ADMISSION)
                    await admission.wait_for_gate(timeline.rate_at(timeline.finalized), self._wants)
                    self._dial.to(Dial.PERMIT)
                    async with admission.permit(self):
                        self._dial.to(Dial.PERMITTED)
                        await self._while_wanted(feeds)
                    self._dial.to(Dial.IDLE)

    def _wants(self) -> bool:
        return self._call.timeline.unfinalized > 0

    async def _audio_wanted(self) -> bool:
        """Wait until there is un-finalized audio; return False when there never will be any."""
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
        """Connect, and reconnect with the same permit, until there is no reason to, or no sense in it.

        A call that stands still queues for a permit again each time.
        """
        flow = self._flow
        while self._wants():
            await self._services.lease.wait_valid()  # who might have been replaced dials nothing
            again = await self._one_connection(feeds)
            if again is Again.ADMITTED:
                return
            if again is Again.LATER:
                self._resume_at = trio.current_time() + self._backoff.next()
            while self.flowing() and trio.current_time() < self._resume_at:  # noqa: ASYNC110 (see below)
                # Until it is time, or the audio stands still, which more of it puts off.
                await trio.sleep_until(min(self._resume_at, flow.until))
            if not self.flowing():
                return

    async def _one_connection(self, feeds: trio.MemorySendChannel[Feed]) -> Again:
        """Make one connection and use it to its end; return when to make the next."""
        self._report.dialling(self._attempts)
        timeline = self._call.timeline
        rate = timeline.rate_at(timeline.finalized)
        wanted = trio.current_time()
        self._dial.to(Dial.DIALLING)
        try:
            async with self._connect(rate) as link:
                if timeline.rate_at(timeline.finalized) != rate:
                    return Again.NOW  # what it was for was given up meanwhile
                self._dial.to(Dial.OPEN)
                self._services.metrics.connection_opened(trio.current_time() - wanted)
                return await self._use(link, feeds)
        except ConnectFailed as failure:
            self._attempts += 1
            self._report.failed(failure)
            return Again.LATER if self._services.admission.failed(failure, rate) else Again.ADMITTED
        finally:
            self._dial.to(Dial.PERMITTED)

    async def _use(self, link: Link, feeds: trio.MemorySendChannel[Feed]) -> Again:
        """Offer the scheduler a feed for this connection, and send what it hands on."""
        call, services = self._call, self._services
        number = call.connected(link.request_id)
        self._attempts, self.request_id = 0, link.request_id
        services.committer.submit(call.outbox)
        self._report.opened(number, link.request_id)
        hearing = Hearing(
            call.timeline,
            call.outbox,
            connection=number,
            request_id=link.request_id,
            partials=services.config.publish.partials,
            words=services.config.publish.words,
            speech_told=self._speech_told,
        )
        opened = trio.current_time()
        self._live = LiveConnection(link, hearing, services, self._report, self._flow)
        chunks_in, chunks_out = trio.open_memory_channel[Chunk](CHUNKS)
        feed = Feed(chunks_in, hearing.clock.rate, trio.CancelScope())
        services.admission.opened(hearing.clock.rate, call.id)
        try:
            await feeds.send(feed)
            ending = await self._live.run(chunks_out)
        finally:
            self._live = None
            feed.scope.cancel()  # the scheduler is ready for the next one before the next one is dialled
            services.admission.closed(call.id)
        return self._ended(hearing, number, ending, trio.current_time() - opened)

    def _ended(self, hearing: Hearing, number: int, ending: Ending, lived_s: float) -> Again:
        """Draw the conclusions from a connection's end."""
        call, timeline = self._call, self._call.timeline
        done = ending.why is Why.DONE
        if done:
            hearing.finish()
        self._speech_told = hearing.speech_told
        left_s = timeline.seconds(timeline.finalized, min(hearing.clock.end, timeline.received))
        end = End(ending.code, ending.asked, done, hearing.progressed, left_s, lived_s)
        patience_s = self._services.config.interaction.max_unfinalized_s
        verdict = self._judge.ended(end, trio.current_time(), patience_s)
        if verdict.give_up:
            seconds = call.give_up_until(hearing.clock.end, verdict.give_up)
            self._report.gave_up(seconds, verdict.give_up)
        if hearing.progressed and not self._judge.restless:
            self._backoff.reset()
        call.event(EventName.CONNECTION_CLOSED, connection=number, code=ending.code, reason=ending.reason)
        if verdict.brief and (rate := timeline.rate_at(timeline.finalized)) != hearing.clock.rate:
            call.event(EventName.RATE_CHANGING, connection=number, sample_rate=rate)
            self._report.rate_changes(rate)
        self._services.committer.submit(call.outbox)
        self._report.closed(number, ending)
        return Again.LATER if verdict.pause else Again.NOW

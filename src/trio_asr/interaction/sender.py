"""The sender of one call: it makes the call's connections, one at a time, and lets each converse.

A connection is wanted while there is un-finalized audio. However one ends, what it did not finalize is sent
again on the next: there is no other recovery. The first is logged as `Creating new connection`, later ones as
`Reconnecting`; operators alarm on the former coming twice for a call.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio

from trio_asr.config import DeepgramConfig
from trio_asr.core.backoff import Backoff
from trio_asr.core.call import Call
from trio_asr.core.results import Heard, Hearing
from trio_asr.core.timeline import Chunk
from trio_asr.core.verdict import End, Judge
from trio_asr.deepgram.provider import ConnectFailed, Link
from trio_asr.interaction.connection import Conversation, Ending, Feed, Why
from trio_asr.interaction.report import Account
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire.messages import Message

BACKOFF_BASE_S, BACKOFF_CAP_S = 1.0, 10.0
FLOWING_S = 1.5  # audio that came so lately is flowing: frames may hold a second of it
STILL_S = 2.0  # a call that stood still for so long gives its permit to who waits for one
FEED = 1  # a chunk may wait while the one before it is on its way to the socket; more would only be older


class Again(enum.Enum):
    """When to connect again."""

    NOW = "now"
    LATER = "later"  # after a backoff, with the same permit
    ADMITTED = "admitted"  # when a refusal does not concern this call any more


class Sender:
    """Owns the connections of one call."""

    def __init__(self, call: Call, services: Services, log: logs.Logger) -> None:
        self.connecting = False
        self.connected = False
        self.waits_for = ""  # the "gate" or a "permit"
        self.request_id = ""  # of the last connection
        self._call = call
        self._services = services
        self._account = Account(call, services, log)
        self._backoff = Backoff(BACKOFF_BASE_S, BACKOFF_CAP_S)
        self._resume_at = -math.inf  # when the pause before the next attempt is over
        self._attempts = 0  # that failed since the last connection
        self._judge = Judge()
        self._speech_told = -1  # the timeline sample of the last start of speech that was told of
        self._audio = trio.Event()
        self._input_over = False
        self._heard_at = -math.inf  # when the last one came
        self._conversation: Conversation | None = None

    @property
    def chunks(self) -> int:
        """Messages of audio sent, on all connections."""
        return self._account.chunks

    @property
    def began(self) -> float | None:
        """When the first audio of the call came to this worker, on trio's clock."""
        return self._account.began

    @property
    def last_error(self) -> str:
        """What last went wrong with a connection, "" if nothing has."""
        return self._account.last_error

    # -- what the reader tells -------------------------------------------------------------------------

    def arrived(self) -> None:
        """Audio may be there to connect for."""
        self._heard_at = trio.current_time()
        if self._account.began is None:
            self._account.began = self._heard_at
        self._audio.set()

    def input_over(self) -> None:
        """No more frames will come."""
        self._input_over = True
        self._audio.set()

    def reload(self, config: DeepgramConfig) -> None:
        """Let the present connection, if there is one, go by other time limits."""
        if self._conversation is not None:
            self._conversation.reload(config)

    # -- its permit ------------------------------------------------------------------------------------

    def flowing(self) -> bool:
        """Whether audio comes in: such a call goes before others, and keeps its permit to reconnect."""
        return not self._input_over and trio.current_time() - self._heard_at < FLOWING_S

    def permit_wanted(self) -> None:
        """Somebody has begun to wait for a permit."""
        if self._conversation is not None:
            self._conversation.look()

    def _leave_at(self, hearing: Hearing) -> float:
        """Return when this connection is to be closed for want of audio: never while nobody waits."""
        if not self._services.admission.waiting or self._call.timeline.received > hearing.clock.end:
            return math.inf
        return self._heard_at + STILL_S

    # -- connections -----------------------------------------------------------------------------------

    async def run(self, feeds: trio.MemorySendChannel[Feed]) -> None:
        """Keep the call connected while it needs to be."""
        admission, timeline = self._services.admission, self._call.timeline
        with feeds:
            while await self._audio_wanted():
                with self._wanting():
                    await trio.sleep_until(max(self._resume_at, trio.current_time()))
                    self.waits_for = "gate"
                    await admission.wait_for_gate(timeline.rate_at(timeline.finalized), self._wants)
                    self.waits_for = "permit"
                    async with admission.permit(self):
                        self.waits_for = ""
                        await self._while_wanted(feeds)

    def _wants(self) -> bool:
        return self._call.timeline.unfinalized > 0

    async def _while_wanted(self, feeds: trio.MemorySendChannel[Feed]) -> None:
        """Connect, and reconnect with the same permit, until there is no reason to, or no sense in it.

        A call that stands still takes its turn again each time.
        """
        while self._wants():
            await self._services.lease.wait_valid()  # who might have been replaced dials nothing
            again = await self._connection(feeds)
            if again is Again.ADMITTED:
                return
            if again is Again.LATER:
                self._resume_at = trio.current_time() + self._backoff.next()
            while self.flowing() and trio.current_time() < self._resume_at:  # noqa: ASYNC110 (see below)
                # Until it is time, or the audio stands still, which more of it puts off.
                await trio.sleep_until(min(self._resume_at, self._heard_at + FLOWING_S))
            if not self.flowing():
                return

    @contextmanager
    def _wanting(self) -> Iterator[None]:
        self._services.admission.wanted += 1
        try:
            yield
        finally:
            self._services.admission.wanted -= 1

    async def _audio_wanted(self) -> bool:
        """Wait until there is un-finalized audio; False when there never will be any."""
        while not self._wants():
            if self._input_over:
                return False
            self._audio = trio.Event()
            await self._audio.wait()
        return True

    async def _connection(self, feeds: trio.MemorySendChannel[Feed]) -> Again:
        """Make one connection and converse; return when to make the next."""
        self._account.announce(self._attempts)
        timeline = self._call.timeline
        rate = timeline.rate_at(timeline.finalized)
        wanted = trio.current_time()
        self.connecting = True
        try:
            async with self._services.admission.provider.connect(rate) as link:
                self.connecting = False
                if timeline.rate_at(timeline.finalized) != rate:
                    return Again.NOW  # what it was for was given up meanwhile
                self._services.metrics.connection_opened(trio.current_time() - wanted)
                return await self._converse(link, feeds)
        except ConnectFailed as failure:
            self._attempts += 1
            self._account.failed(failure)
            return Again.LATER if self._services.admission.failed(failure, rate) else Again.ADMITTED
        finally:
            self.connecting = False

    async def _converse(self, link: Link, feeds: trio.MemorySendChannel[Feed]) -> Again:
        call, config = self._call, self._services.config
        number = call.connected(link.request_id)
        self._attempts = 0
        self.request_id = link.request_id
        self._services.committer.submit(call.outbox)
        self._account.opened(number, link.request_id)
        hearing = Hearing(
            call.timeline,
            call.outbox,
            connection=number,
            request_id=link.request_id,
            partials=config.publish.partials,
            words=config.publish.words,
            speech_told=self._speech_told,
        )
        conversation = Conversation(
            link,
            hearing,
            config.deepgram,
            on_heard=partial(self._heard, hearing),
            on_sent=self._account.sent,
            on_bug=self._account.bug,
            leave_at=partial(self._leave_at, hearing),
            watched=self._services.admission.waiting > 0,
        )
        self._conversation, opened = conversation, trio.current_time()
        chunks_in, chunks_out = trio.open_memory_channel[Chunk](FEED)
        self.connected = True
        self._services.admission.opened(hearing.clock.rate, self._call.id)
        feed = Feed(chunks_in, hearing.clock.rate, trio.CancelScope())
        try:
            await feeds.send(feed)
            ending = await conversation.run(chunks_out)
        finally:
            self._conversation = None
            feed.scope.cancel()  # the scheduler is ready for the next one before the next one is dialled
            self.connected = False
            self._services.admission.closed(self._call.id)
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
            self._account.gave_up(seconds, verdict.give_up)
        if hearing.progressed and not self._judge.restless:
            self._backoff.reset()
        call.event("connection_closed", connection=number, code=ending.code, reason=ending.reason)
        if verdict.brief and (rate := timeline.rate_at(timeline.finalized)) != hearing.clock.rate:
            call.event("rate_changing", connection=number, sample_rate=rate)
            self._account.rate_changes(rate)
        self._services.committer.submit(call.outbox)
        self._account.closed(number, ending)
        return Again.LATER if verdict.pause else Again.NOW

    def _heard(self, hearing: Hearing, message: Message, heard: Heard) -> None:
        self._account.heard(message, heard, hearing.answered)
        self._services.committer.submit(self._call.outbox)

"""The sender of one call: it makes the call's connections, one at a time, and lets each converse.

A connection is wanted while there is un-finalized audio. However one ends, what it did not finalize is sent
again on the next: there is no other recovery. The first is logged as `Creating new connection`, later ones as
`Reconnecting`; operators alarm on the former coming twice for a call.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from trio_asr import logs
from trio_asr.config import DeepgramConfig
from trio_asr.conversation import Conversation, Ending, Feed, Why
from trio_asr.core.backoff import Backoff
from trio_asr.core.call import Call
from trio_asr.core.hearing import Heard, Hearing
from trio_asr.core.messages import Error, Message, Results, Unknown
from trio_asr.core.timeline import Chunk
from trio_asr.provider import ConnectFailed, Link
from trio_asr.services import Services

BACKOFF_BASE_S, BACKOFF_CAP_S = 1.0, 10.0
# Two connections that call the same audio undecodable, or three that close in good order without a word on
# it, and it is committed as a gap. Other ends say nothing of the audio.
REJECTING = (1002, 1003, 1007, 1008)
REJECTED, UNANSWERED, HOPELESS = 3, 2, 6
FEED = 1  # a chunk may wait while the one before it is on its way to the socket; more would only be older
TIMEOUT = 1011


class Again(enum.Enum):
    """When to connect again."""

    NOW = "now"
    LATER = "later"  # after a backoff, in the same place
    ADMITTED = "admitted"  # when a refusal does not concern this call any more


class Sender:
    """Owns the connections of one call."""

    def __init__(self, call: Call, services: Services, log: logs.Logger) -> None:
        self.connecting = False
        self.connected = False
        self.waits_for = ""  # "leave" to connect, or a "place"
        self.request_id = self.last_error = ""  # what people may want to know
        self._call = call
        self._services = services
        self._log = log
        self._backoff = Backoff(BACKOFF_BASE_S, BACKOFF_CAP_S)
        self._attempts = 0  # that failed since the last connection
        self._fruitless = 0  # what connections that finalized nothing say against the audio at hand
        self._audio = trio.Event()
        self._input_over = False
        self._began: float | None = None  # when the first frame came
        self._chunks_on_link = self._chunks = 0
        self._answered = False
        self._conversation: Conversation | None = None

    @property
    def chunks(self) -> int:
        """Messages of audio sent, on all connections."""
        return self._chunks

    @property
    def began(self) -> float | None:
        """When the first audio of the call came to this worker, on trio's clock."""
        return self._began

    # -- what the reader tells -------------------------------------------------------------------------

    def arrived(self) -> None:
        """Audio may be there to connect for."""
        if self._began is None:
            self._began = trio.current_time()
        self._audio.set()

    def input_over(self) -> None:
        """No more frames will come."""
        self._input_over = True
        self._audio.set()

    def reload(self, config: DeepgramConfig) -> None:
        """Let the present connection, if there is one, go by other time limits."""
        if self._conversation is not None:
            self._conversation.reload(config)

    # -- connections -----------------------------------------------------------------------------------

    async def run(self, feeds: trio.MemorySendChannel[Feed]) -> None:
        """Keep the call connected while it needs to be."""
        connections, timeline = self._services.connections, self._call.timeline
        with feeds:
            while await self._audio_wanted():
                with self._wanting():
                    self.waits_for = "leave"
                    await connections.admitted(timeline.rate_at(timeline.finalized), self._wants)
                    self.waits_for = "place"
                    async with connections.place(self):
                        self.waits_for = ""
                        await self._while_wanted(feeds)

    def _wants(self) -> bool:
        return self._call.timeline.unfinalized > 0

    async def _while_wanted(self, feeds: trio.MemorySendChannel[Feed]) -> None:
        """Connect, and reconnect in the same place, until there is no reason to, or no sense in it."""
        while self._wants():
            await self._services.connections.may_dial()
            again = await self._connection(feeds)
            if again is Again.ADMITTED:
                return
            if again is Again.LATER:
                await trio.sleep(self._backoff.next())

    @contextmanager
    def _wanting(self) -> Iterator[None]:
        self._services.connections.wanted += 1
        try:
            yield
        finally:
            self._services.connections.wanted -= 1

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
        self._announce()
        timeline = self._call.timeline
        rate = timeline.rate_at(timeline.finalized)
        wanted = trio.current_time()
        self.connecting = True
        try:
            async with self._services.connections.provider.connect(rate) as link:
                self.connecting = False
                if timeline.rate_at(timeline.finalized) != rate:
                    return Again.NOW  # what it was for was given up meanwhile
                self._services.metrics.connection_opened(trio.current_time() - wanted)
                return await self._converse(link, feeds)
        except ConnectFailed as failure:
            self._attempts += 1
            self.last_error = f"{failure.status or 'no answer'}: {failure.reason}"
            self._log.warning(
                "Connection refused" if failure.status else "Connection failed",
                status=failure.status,
                reason=failure.reason,
                request_id=failure.request_id,
            )
            return Again.LATER if self._services.connections.failed(failure, rate) else Again.ADMITTED
        finally:
            self.connecting = False

    async def _converse(self, link: Link, feeds: trio.MemorySendChannel[Feed]) -> Again:
        call, config = self._call, self._services.config
        number = call.connected(link.request_id)
        self._attempts = 0
        self.request_id = link.request_id
        self._services.committer.submit(call.outbox)
        self._log.info("Connection opened", connection=number, request_id=link.request_id)
        hearing = Hearing(
            call.timeline,
            call.outbox,
            connection=number,
            request_id=link.request_id,
            partials=config.publish.partials,
            words=config.publish.words,
        )
        conversation = Conversation(link, hearing, config.deepgram, on_heard=self._heard, on_sent=self._sent)
        self._conversation = conversation
        chunks_in, chunks_out = trio.open_memory_channel[Chunk](FEED)
        self._chunks_on_link = 0
        self.connected = True
        self._services.connections.opened(hearing.clock.rate, self._call.id)
        feed = Feed(chunks_in, hearing.clock.rate, trio.CancelScope())
        try:
            await feeds.send(feed)
            ending = await conversation.run(chunks_out)
        finally:
            self._conversation = None
            feed.scope.cancel()  # the scheduler is ready for the next one before the next one is dialled
            self.connected = False
            self._services.connections.closed(self._call.id)
        return self._ended(hearing, number, ending)

    def _ended(self, hearing: Hearing, number: int, ending: Ending) -> Again:
        """Draw the conclusions from a connection's end."""
        call = self._call
        if ending.why is Why.DONE:
            hearing.finish()
        if hearing.progressed:
            self._backoff.reset()
            self._fruitless = 0
        elif ending.why is Why.DONE or ending.code in REJECTING:
            self._fruitless += UNANSWERED if ending.why is Why.DONE else REJECTED
            if self._fruitless >= HOPELESS:
                self._give_up(hearing.clock.end, "unanswered" if ending.why is Why.DONE else "rejected")
                self._fruitless = 0
        call.event("connection_closed", connection=number, code=ending.code, reason=ending.reason)
        self._services.committer.submit(call.outbox)
        self._report(number, ending)
        return Again.NOW if ending.why is Why.DONE else Again.LATER

    def _give_up(self, end: int, reason: str) -> None:
        seconds = self._call.give_up_until(end, reason)
        self._log.error("Audio given up", reason=reason, seconds=round(seconds, 3))

    # -- telling people --------------------------------------------------------------------------------

    def _announce(self) -> None:
        if self._call.connection == 0 and self._attempts == 0:
            self._log.info(f"Creating new connection for {self._call.id}")
        else:
            self._log.info(
                f"Reconnecting {self._call.id}",
                connection=self._call.connection + 1,
                attempt=self._attempts,
                unfinalized_ms=round(self._call.unfinalized_s() * 1000),
            )

    def _report(self, number: int, ending: Ending) -> None:
        metrics = self._services.metrics
        metrics.connections_closed(ending.code).inc()
        fields = {"connection": number, "code": ending.code, "reason": ending.reason, "why": ending.why.value}
        if ending.why is Why.DONE:
            self._log.info("Connection closed", **fields)
            return
        metrics.failed("connection", time.time())
        self.last_error = f"{ending.code}: {ending.reason or ending.why.value}"
        if ending.code == TIMEOUT:
            metrics.connection_timeouts.inc()
            self._log.warning("Connection closed due to timeout (1011)", **fields)
        elif ending.why is Why.DROPPED:
            self._log.warning("Connection dropped", **fields)
        else:
            self._log.warning("Timeout waiting for transcript", **fields)

    def _sent(self, chunk: Chunk, now: float) -> None:
        metrics = self._services.metrics
        rate = self._call.timeline.rate_at(chunk.start)
        metrics.sent((chunk.end - chunk.start) / rate, now - chunk.due)
        self._chunks += 1
        self._chunks_on_link += 1
        if self._chunks_on_link > 1:
            metrics.connections_reused.inc()
        if self._chunks <= 2 or logs.debugging():
            self._say_sent(chunk)

    def _say_sent(self, chunk: Chunk) -> None:
        """Say it at INFO the first time in a call, at DEBUG after."""
        say = self._log.info if self._chunks == 1 else self._log.debug
        say("Sending audio chunk", bytes=len(chunk.pcm))
        if self._chunks_on_link > 1:
            say = self._log.info if self._chunks == 2 else self._log.debug
            say(f"Reusing existing connection for {self._call.id}")

    def _heard(self, message: Message, heard: Heard) -> None:
        metrics = self._services.metrics
        if isinstance(message, Results):
            metrics.transcripts_received.inc()
            if heard is Heard.REPEAT:
                metrics.duplicates_dropped.inc()
            if heard is not Heard.REPEAT and not self._answered:  # also without words: callers may be silent
                self._answered = True
                if self._began is not None:
                    metrics.first_partial_latency.observe(trio.current_time() - self._began)
        elif isinstance(message, Error):
            metrics.failed("provider", time.time())
            self._log.warning("Deepgram complains", variant=message.variant, description=message.description)
        elif isinstance(message, Unknown):
            self._log.debug("Message not understood", type=message.type, problem=message.problem)
        self._services.committer.submit(self._call.outbox)

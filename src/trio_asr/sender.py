"""The sender of one call: it makes the call's connections, one at a time, and lets each converse.

A connection is wanted while there is un-finalized audio. However one ends, what it did not finalize is sent
again on the next: there is no other recovery. The first is logged as `Creating new connection`, later ones as
`Reconnecting`; operators alarm on the former coming twice for a call.
"""

from __future__ import annotations

import time

import trio

from trio_asr import logs
from trio_asr.conversation import Conversation, Ending, Feed, Why
from trio_asr.core.backoff import Backoff
from trio_asr.core.call import Call
from trio_asr.core.hearing import Heard, Hearing
from trio_asr.core.messages import Error, Message, Results, Unknown
from trio_asr.core.timeline import Chunk
from trio_asr.provider import ConnectFailed, Link
from trio_asr.services import Services

BACKOFF_BASE_S, BACKOFF_CAP_S = 1.0, 10.0
FRUITLESS_ENDS = 3  # connections closed in good order without a word on the same audio: then it is a gap
FEED = 1  # a chunk may wait while the one before it is on its way to the socket; more would only be older
TIMEOUT = 1011


class Sender:
    """Owns the connections of one call."""

    def __init__(self, call: Call, services: Services, log: logs.Logger) -> None:
        self.connecting = False
        self.connected = False
        self._call = call
        self._services = services
        self._log = log
        self._backoff = Backoff(BACKOFF_BASE_S, BACKOFF_CAP_S)
        self._fruitless = 0
        self._audio = trio.Event()
        self._input_over = False
        self._began: float | None = None  # when the first frame came
        self._chunks_on_link = self._chunks = 0
        self._heard_words = False

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

    # -- connections -----------------------------------------------------------------------------------

    async def run(self, feeds: trio.MemorySendChannel[Feed]) -> None:
        """Keep the call connected while it needs to be."""
        with feeds:
            while await self._audio_wanted():
                async with self._services.connections.place(self):
                    while self._call.timeline.unfinalized:
                        await self._services.connections.may_dial()
                        if not await self._connection(feeds):
                            await trio.sleep(self._backoff.next())

    async def _audio_wanted(self) -> bool:
        """Wait until there is un-finalized audio; False when there never will be any."""
        while not self._call.timeline.unfinalized:
            if self._input_over:
                return False
            self._audio = trio.Event()
            await self._audio.wait()
        return True

    async def _connection(self, feeds: trio.MemorySendChannel[Feed]) -> bool:
        """Make one connection and converse; return whether to go on at once."""
        self._announce()
        timeline = self._call.timeline
        wanted = trio.current_time()
        self.connecting = True
        try:
            rate = timeline.rate_at(timeline.finalized)
            async with self._services.connections.provider.connect(rate) as link:
                self.connecting = False
                self._services.metrics.connection_opened(trio.current_time() - wanted)
                return await self._converse(link, feeds)
        except ConnectFailed as failed:
            self._refused(failed)
            return False
        finally:
            self.connecting = False

    async def _converse(self, link: Link, feeds: trio.MemorySendChannel[Feed]) -> bool:
        call, config = self._call, self._services.config
        number = call.connected(link.request_id)
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
        chunks_in, chunks_out = trio.open_memory_channel[Chunk](FEED)
        self._chunks_on_link = 0
        self.connected = True
        self._services.connections.opened()
        feed = Feed(chunks_in, hearing.clock.rate, trio.CancelScope())
        try:
            await feeds.send(feed)
            ending = await conversation.run(chunks_out)
        finally:
            feed.scope.cancel()  # the scheduler is ready for the next one before the next one is dialled
            self.connected = False
            self._services.connections.closed()
        return self._ended(hearing, number, ending)

    def _ended(self, hearing: Hearing, number: int, ending: Ending) -> bool:
        """Draw the conclusions from a connection's end; return whether to go on at once."""
        call = self._call
        if ending.why is Why.DONE:
            hearing.finish()
        if hearing.progressed:
            self._backoff.reset()
            self._fruitless = 0
        elif ending.why is Why.DONE:
            self._fruitless += 1
            if self._fruitless >= FRUITLESS_ENDS:
                self._give_up(call.timeline.sent, "unanswered")
                self._fruitless = 0
        call.event("connection_closed", connection=number, code=ending.code, reason=ending.reason)
        self._services.committer.submit(call.outbox)
        self._report(number, ending)
        return ending.why is Why.DONE

    def _give_up(self, end: int, reason: str) -> None:
        seconds = self._call.give_up_until(end, reason)
        self._services.metrics.gaps(reason).seconds.inc(seconds)
        self._log.error("Audio given up", reason=reason, seconds=round(seconds, 3))

    # -- telling people --------------------------------------------------------------------------------

    def _announce(self) -> None:
        if self._call.connection == 0 and self._backoff.attempt == 0:
            self._log.info(f"Creating new connection for {self._call.id}")
        else:
            self._log.info(
                f"Reconnecting {self._call.id}",
                connection=self._call.connection + 1,
                attempt=self._backoff.attempt,
                unfinalized_ms=round(self._call.unfinalized_s() * 1000),
            )

    def _refused(self, failed: ConnectFailed) -> None:
        self._services.metrics.failed("connect", time.time())
        self._log.warning(
            "Connection refused" if failed.status else "Connection failed",
            status=failed.status,
            reason=failed.reason,
            request_id=failed.request_id,
        )

    def _report(self, number: int, ending: Ending) -> None:
        metrics = self._services.metrics
        metrics.connections_closed(ending.code).inc()
        fields = {"connection": number, "code": ending.code, "reason": ending.reason, "why": ending.why.value}
        if ending.why is Why.DONE:
            self._log.info("Connection closed", **fields)
            return
        metrics.failed("connection", time.time())
        if ending.code == TIMEOUT:
            metrics.connection_timeouts.inc()
            self._log.warning("Connection closed due to timeout (1011)", **fields)
        elif ending.why is Why.DROPPED:
            self._log.warning("Connection dropped", **fields)
        else:
            self._log.warning("Timeout waiting for transcript", **fields)

    def _sent(self, chunk: Chunk) -> None:
        metrics = self._services.metrics
        metrics.sent((chunk.end - chunk.start) / self._call.timeline.rate_at(chunk.start))
        self._chunks += 1
        self._chunks_on_link += 1
        self._say(self._chunks == 1, "Sending audio chunk", bytes=len(chunk.pcm))
        if self._chunks_on_link > 1:
            metrics.connections_reused.inc()
            self._say(self._chunks == 2, f"Reusing existing connection for {self._call.id}")

    def _say(self, aloud: bool, event: str, **fields: object) -> None:
        """Say it at INFO the first time in a call, at DEBUG after."""
        (self._log.info if aloud else self._log.debug)(event, **fields)

    def _heard(self, message: Message, heard: Heard) -> None:
        metrics = self._services.metrics
        if isinstance(message, Results):
            metrics.transcripts_received.inc()
            if heard is Heard.REPEAT:
                metrics.duplicates_dropped.inc()
            if heard in (Heard.PARTIAL, Heard.FINAL) and not self._heard_words:
                self._heard_words = True
                if self._began is not None:
                    metrics.first_partial_latency.observe(trio.current_time() - self._began)
        elif isinstance(message, Error):
            metrics.failed("provider", time.time())
            self._log.warning("Deepgram complains", variant=message.variant, description=message.description)
        elif isinstance(message, Unknown):
            self._log.debug("Message not understood", type=message.type, problem=message.problem)
        self._services.committer.submit(self._call.outbox)

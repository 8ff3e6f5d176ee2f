"""One connection, from its handshake to its close: the sender's side and the receiver's.

Audio goes down: chunks -> clock (which audio this connection was sent) -> link. Results come up, in `_take`:
link -> results (what a message does to the timeline) -> outbox -> committer.

Only the sender writes to the socket. Chunks reach it through a feed, which the flush scheduler closes when
there is nothing more for this connection. The sender then sends CloseStream, and the receiver reads until
Metadata and the close, for a limited time. When the receiver ends, so does the connection.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable

import trio

from trio_asr.config import DeepgramConfig
from trio_asr.core.channel_results import MessageKind
from trio_asr.core.giving_up import give_up
from trio_asr.core.open_segments import FINALIZE_S, OpenSegments
from trio_asr.core.results import ResultHandler
from trio_asr.core.timeline import Chunk
from trio_asr.core.verdict import Judge
from trio_asr.deepgram.provider import Link, LinkClosed
from trio_asr.interaction.deadlines import renew
from trio_asr.interaction.ending import Ending, Why
from trio_asr.interaction.feed import STILL_S, Flow
from trio_asr.interaction.report import Report
from trio_asr.interaction.services import Services
from trio_asr.wire import messages
from trio_asr.wire.codes import GapReason
from trio_asr.wire.messages import Message, Unknown

STALL_AUDIO_S = 3.0  # unanswered audio below this is no stall: interims come about once a second
STALL_AUDIO_WITHOUT_INTERIMS_S = 20.0  # then only finals answer; an open segment is finalized before this
SLACK_S = 1.0  # the wait for a chunk may end this much too soon, and is then started again
PAUSE_S = 2.0  # after this much silence of the source its open segment is finalized


class LiveConnection:
    """The two tasks of one open link: one sends audio and control messages, the other receives results."""

    def __init__(
        self,
        link: Link,
        handler: ResultHandler,
        services: Services,
        *,
        report: Report,
        flow: Flow,
        judge: Judge,
    ) -> None:
        self._link, self._handler, self._timeline = link, handler, handler.timeline
        self._services, self._report, self._flow, self._judge = services, report, flow, judge
        self._segments = OpenSegments(handler, math.inf)
        self.reload(services.config.deepgram)
        self._watched = services.admission.waiting > 0  # another call may be waiting for the permit
        self._ending: Ending | None = None
        self._closing = False
        self._pending_write: tuple[Awaitable[None], Chunk] | None = None  # what did not leave at once
        self._last_sent = trio.current_time()
        self._last_audio = -math.inf
        self._limit = trio.CancelScope()  # of the wait for a chunk
        self._stall = trio.CancelScope()
        self._waiting_since: float | None = None  # when audio was first sent after the last message

    async def run(self, feed: trio.MemoryReceiveChannel[Chunk]) -> Ending:
        """Send the feed's chunks and receive results until the link is over. Return how it ended.

        Raises:
            ExceptionGroup: A bug in what a message does to the call.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, nursery.cancel_scope)
            try:
                with feed:
                    await self._pump(feed)
                await self._close()
            except LinkClosed as closed:
                self._over(Why.DROPPED, closed.code, closed.reason)
            except trio.TooSlowError:
                self._over(Why.STALLED, 1006, f"no audio taken for {self._config.send_timeout_ms} ms")
            nursery.cancel_scope.cancel()
        return self._ending or Ending(Why.CLOSE_TIMEOUT, 1006, "no answer to CloseStream", asked=True)

    def reload(self, config: DeepgramConfig) -> None:
        """Use other time limits from the next wait on."""
        self._config = config
        # In samples: how much unanswered audio may be a stall, and how much may wait for its final.
        stall_s = STALL_AUDIO_S if config.interim_results else STALL_AUDIO_WITHOUT_INTERIMS_S
        self._stall_samples = stall_s * self._handler.clock.rate
        self._segments.most_open = config.max_open_segment_s * self._handler.clock.rate
        # For this long after audio there is no control message to send.
        self._soonest_s = min(PAUSE_S, config.keepalive_ms / 1000)

    def watch(self) -> None:
        """Check from now on whether the permit is still of use: another call is waiting for one."""
        self._watched = True
        self._limit.deadline = -math.inf

    def _use_until(self) -> float:
        """Return when to close this connection for lack of audio: only if another call needs its permit."""
        if not self._services.admission.waiting or self._timeline.received > self._handler.clock.end:
            return math.inf
        return self._flow.last_at + STILL_S

    def _over(self, why: Why, code: int, reason: str) -> None:
        if self._ending is None:
            self._ending = Ending(why, code, reason, self._closing)

    # -- sending ---------------------------------------------------------------------------------------

    async def _pump(self, feed: trio.MemoryReceiveChannel[Chunk]) -> None:
        """Send chunks until the feed ends or the permit is to be given up, and KeepAlive in between.

        Raises:
            LinkClosed: The link is over.
            trio.TooSlowError: The peer did not take audio or a control message in time.
        """
        while True:
            with trio.CancelScope(deadline=self._next_control()) as limit:
                self._limit = limit
                if not await self._send_chunks(feed, limit):
                    return
            if self._pending_write is not None:
                await self._await_pending(*self._pending_write)
            if self._watched and trio.current_time() >= self._use_until():
                return
            if long := self._segments.long():
                await self._finalize(long)
            elif limit.cancelled_caught and (now := trio.current_time()) >= self._next_control():
                await self._control(now)

    async def _send_chunks(self, feed: trio.MemoryReceiveChannel[Chunk], limit: trio.CancelScope) -> bool:
        """Send chunks until something else needs doing. Return False at the end of the feed.

        One scope serves for all of them. Its deadline is renewed, sometimes too early. Whatever cannot leave
        at once, or is not audio, has a time limit of its own.
        """
        while True:
            try:
                chunk = await feed.receive()
            except trio.EndOfChannel:
                return False
            self._handler.clock.sending(chunk.start, chunk.end)
            self._handler.chunk_ends.append(chunk.end)
            lost = self._services.lease.expired(trio.current_time())
            rest = self._send_once_held(chunk.pcm) if lost else self._link.send_audio(chunk.pcm)
            if rest is not None:
                self._pending_write = rest, chunk
                return True
            self._note_sent(chunk)
            if self._segments.long():
                return True
            soonest = self._last_sent + self._soonest_s
            renew(limit, min(soonest, self._use_until()) if self._watched else soonest, SLACK_S)

    async def _send_once_held(self, pcm: bytes) -> None:
        """Send audio that was due before this process stood still, if the call is still this worker's."""
        await self._services.lease.wait_valid()
        if (rest := self._link.send_audio(pcm)) is not None:
            await rest

    async def _await_pending(self, rest: Awaitable[None], chunk: Chunk) -> None:
        with trio.fail_after(self._config.send_timeout_ms / 1000):
            await rest
        self._pending_write = None
        self._note_sent(chunk)

    def _next_control(self) -> float:
        """Return when to send a control message if no audio comes."""
        soonest = self._last_sent + self._config.keepalive_ms / 1000
        if self._watched:
            soonest = min(soonest, self._use_until())
        return min(soonest, self._last_audio + PAUSE_S) if self._segments.unasked() else soonest

    async def _control(self, now: float) -> None:
        """Send Finalize if the source paused with an open segment, else KeepAlive."""
        if now >= self._last_audio + PAUSE_S and (unasked := self._segments.unasked()):
            await self._finalize(unasked)
        else:
            await self._send_text(messages.KEEP_ALIVE)

    def _note_sent(self, chunk: Chunk) -> None:
        """Record that the socket has taken a chunk."""
        now = self._last_sent = self._last_audio = trio.current_time()
        self._segments.sent_until = chunk.end
        if self._waiting_since is None:
            self._waiting_since = now
        self._put_stall(self._stall_deadline())
        self._report.sent(chunk, now)

    async def _finalize(self, channels: list[int]) -> None:
        """Send Finalize for channels. Only where there was much audio is an answer certain to come."""
        mono = len(self._handler.channels) == 1
        for channel in channels:
            much = self._segments.ask(channel)
            await self._send_text(messages.FINALIZE if mono else messages.FINALIZE_CHANNEL[channel])
            if much:
                self._segments.asked(channel, trio.current_time())
        self._put_stall(min(self._stall.deadline, self._segments.deadline))

    async def _send_text(self, text: str) -> None:
        with trio.fail_after(self._config.send_timeout_ms / 1000):
            await self._link.send_control(text)
        self._last_sent = trio.current_time()

    async def _close(self) -> None:
        """Send CloseStream and give the last results time to arrive."""
        self._closing = True
        self._segments.forget()
        self._stall.deadline = math.inf
        with trio.move_on_after(self._config.close_timeout_ms / 1000):
            await self._send_text(messages.CLOSE_STREAM)
            await trio.sleep_forever()  # the receiver ends this

    # -- receiving -------------------------------------------------------------------------------------

    async def _receive(self, connection: trio.CancelScope) -> None:
        """Take messages until the link is over, or has been silent for too long while it owes answers.

        Raises:
            Exception: A bug in what a message does to the call.
        """
        stalled = ""
        try:
            while not stalled:
                with self._stall:
                    await self._take_messages()
                if not (stalled := self._stalled()):
                    self._stall = trio.CancelScope(deadline=self._stall_deadline())
            self._over(Why.STALLED, 1006, stalled)
        except LinkClosed as closed:
            done = self._closing and closed.code == 1000 and self._handler.metadata is not None
            self._over(Why.DONE if done else Why.DROPPED, closed.code, closed.reason)
        connection.cancel()

    async def _take_messages(self) -> None:
        """Take messages for ever.

        Raises:
            LinkClosed: The link is over.
        """
        while True:
            message = await self._link.receive()
            self._waiting_since = None
            self._take(message)
            self._put_stall(self._segments.deadline)

    def _take(self, message: Message) -> None:
        """Apply one message to the timeline and the outbox, submit that to the committer, then report it."""
        handler = self._handler
        finals = [channel.finals for channel in handler.channels]
        try:
            kind = MessageKind.OTHER if isinstance(message, Unknown) else handler.handle(message)
            self._services.committer.submit(handler.outbox)
            self._report.handled(message, kind, handler.answered)
        except Exception as error:
            # How much of the message took effect is unknown: the call restarts from its checkpoint.
            self._report.bug(error)
            raise
        for number, channel in enumerate(handler.channels):
            if channel.finals != finals[number]:
                self._judge.heard(number)
                self._segments.settle()

    def _stalled(self) -> str:
        """Return what was waited for in vain, as the reason of the close ("": the connection can go on).

        A channel that is mute alone is replayed once, and given up the next time: others must not suffer.
        """
        now = trio.current_time()
        if not (mute := self._segments.mute(now)):
            late = now >= self._stall_deadline()  # not if a message came at this very moment
            return f"no message for {self._config.stall_timeout_ms} ms" if late else ""
        alone = self._segments.alone(mute[0])
        if alone and self._judge.mute(mute[0]):
            self._give_up(mute[0])
            return ""
        of = f" of channel {mute[0]}" if alone else ""
        return f"no final{of} for {FINALIZE_S * 1000:.0f} ms after Finalize"

    def _give_up(self, channel: int) -> None:
        """Give up the audio of a mute channel, as far as it was sent when a final was asked for."""
        outbox, until = self._handler.outbox, self._segments.asked_until(channel)
        seconds = give_up(self._timeline, outbox, until, GapReason.NO_RESULT, channel)
        self._segments.settle()
        self._report.gave_up(seconds, GapReason.NO_RESULT)
        self._services.committer.submit(outbox)

    def _put_stall(self, deadline: float) -> None:
        if deadline != self._stall.deadline:  # setting it costs more than reading it
            self._stall.deadline = deadline

    def _stall_deadline(self) -> float:
        if self._segments.sent_until - self._handler.answered < self._stall_samples:
            return self._segments.deadline
        since = self._waiting_since or self._last_sent
        return min(since + self._config.stall_timeout_ms / 1000, self._segments.deadline)

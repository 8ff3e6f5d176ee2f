"""One connection of one call, from the first byte to the close: the sender's side and the receiver's.

The sender is the only writer of the socket. Chunks reach it through a feed that the flush scheduler closes
when there is nothing more for this connection; then it says CloseStream and lets the receiver read until
Metadata and the close, bounded. The receiver's end, for whatever reason, ends the conversation.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import NamedTuple

import trio

from trio_asr.config import DeepgramConfig
from trio_asr.core import messages
from trio_asr.core.hearing import Heard, Hearing
from trio_asr.core.messages import Message, Unknown
from trio_asr.core.timeline import Chunk
from trio_asr.provider import Link, LinkClosed

STALL_AUDIO_S = 3.0  # less unanswered audio than this is no stall: interims come about once a second
STALL_AUDIO_WITHOUT_INTERIMS_S = 20.0  # only finals answer then; an open segment is finalized before this
PAUSE_S = 2.0  # a source silent for this long gets its open segment finalized


class Why(enum.Enum):
    """Why a conversation ended."""

    DONE = "done"  # we closed it: Metadata and 1000
    UNANSWERED = "unanswered"  # we closed it, and the answer did not come in time
    DROPPED = "dropped"  # closed by the other side, or broken
    STALLED = "stalled"  # open but silent, or not taking audio


class Ending(NamedTuple):
    """How a conversation ended: why, the close code (1006 where there was none) and reason."""

    why: Why
    code: int
    reason: str


class Feed(NamedTuple):
    """The scheduler's end of one connection: where its chunks go, while `scope` is not cancelled."""

    chunks: trio.MemorySendChannel[Chunk]
    rate: int
    scope: trio.CancelScope


class Conversation:
    """The tasks around one open link."""

    def __init__(
        self,
        link: Link,
        hearing: Hearing,
        config: DeepgramConfig,
        *,
        on_heard: Callable[[Message, Heard], None],
        on_sent: Callable[[Chunk], None],
    ) -> None:
        self._link, self._hearing, self._config = link, hearing, config
        self._on_heard, self._on_sent = on_heard, on_sent
        self._ending: Ending | None = None
        self._closing = self._sending = False
        self._chunk: Chunk | None = None  # taken from the feed and not sent yet
        self._last_sent = trio.current_time()
        self._last_audio = -math.inf
        self._sent_until = hearing.answered  # the timeline sample up to which this link was sent audio
        self._finalize_asked = -1  # the cursor at which Finalize was sent: once is enough
        self._stall = trio.CancelScope()
        self._waiting_since: float | None = None  # since when sent audio has had no message after it

    async def run(self, feed: trio.MemoryReceiveChannel[Chunk]) -> Ending:
        """Converse until the link is over."""
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
        return self._ending or Ending(Why.UNANSWERED, 1006, "no answer to CloseStream")

    def reload(self, config: DeepgramConfig) -> None:
        """Go by other time limits, from the next wait on."""
        self._config = config

    def _over(self, why: Why, code: int, reason: str) -> None:
        if self._ending is None:
            self._ending = Ending(why, code, reason)

    # -- sending ---------------------------------------------------------------------------------------

    async def _pump(self, feed: trio.MemoryReceiveChannel[Chunk]) -> None:
        """Send chunks until the feed ends, KeepAlive while there are none."""
        over = False
        while not over:
            with trio.CancelScope() as limit:
                over = await self._send_chunks(feed, limit)
            if limit.cancelled_caught:
                if self._sending:
                    raise trio.TooSlowError
                await self._control(trio.current_time())

    async def _send_chunks(self, feed: trio.MemoryReceiveChannel[Chunk], limit: trio.CancelScope) -> bool:
        """Send until the feed ends. One scope for all of it: its deadline is the wait's or the sending's.

        It may expire in the very moment in which a chunk has come, or has left: then the next step is not
        late, but wants a scope of its own, and the answer is False.
        """
        while not limit.cancel_called:
            if self._chunk is None:
                limit.deadline = self._next_control()
                self._chunk = await _next(feed)
                if self._chunk is None:
                    return True
                continue
            limit.deadline = trio.current_time() + self._config.send_timeout_ms / 1000
            self._sending = True
            await self._send_audio(self._chunk)
            self._sending, self._chunk = False, None
            if self._wants_finalize():
                limit.deadline = math.inf  # that has a time limit of its own
                await self._finalize()
        return False

    def _next_control(self) -> float:
        """Return when something is to be said if no audio comes."""
        keepalive = self._last_sent + self._config.keepalive_ms / 1000
        if self._open_segment() and self._finalize_asked != self._cursor:
            return min(keepalive, self._last_audio + PAUSE_S)
        return keepalive

    async def _control(self, now: float) -> None:
        """Finalize the open segment of a source that paused, else keep the link alive."""
        paused = now >= self._last_audio + PAUSE_S and self._open_segment()
        if paused and self._finalize_asked != self._cursor:
            await self._finalize()
        else:
            await self._send_text(messages.KEEP_ALIVE)

    async def _send_audio(self, chunk: Chunk) -> None:
        self._hearing.clock.sending(chunk.start, chunk.end)
        self._hearing.chunk_ends.append(chunk.end)
        await self._link.send_audio(chunk.pcm)
        now = self._last_sent = self._last_audio = trio.current_time()
        self._sent_until = chunk.end
        if self._waiting_since is None:
            self._waiting_since = now
        self._put_stall(self._stall_deadline())
        self._on_sent(chunk)

    def _wants_finalize(self) -> bool:
        """Say whether too much audio waits for its final, and was not asked for yet."""
        open_s = self._open_segment() / self._hearing.clock.rate
        return open_s >= self._config.max_open_segment_s and self._finalize_asked != self._cursor

    async def _finalize(self) -> None:
        """Ask for what there is, once per cursor."""
        self._finalize_asked = self._cursor
        await self._send_text(messages.FINALIZE)

    async def _send_text(self, text: str) -> None:
        with trio.fail_after(self._config.send_timeout_ms / 1000):
            await self._link.send_control(text)
        self._last_sent = trio.current_time()

    async def _close(self) -> None:
        """Say that no more comes, and give the last results time to arrive."""
        self._closing = True
        self._stall.deadline = math.inf
        with trio.move_on_after(self._config.close_timeout_ms / 1000):
            await self._send_text(messages.CLOSE_STREAM)
            await trio.sleep_forever()  # the receiver ends this

    @property
    def _cursor(self) -> int:
        return self._hearing.finalized

    def _open_segment(self) -> int:
        """Samples sent on this link and not finalized."""
        return max(0, self._sent_until - self._cursor)

    # -- receiving -------------------------------------------------------------------------------------

    async def _receive(self, conversation: trio.CancelScope) -> None:
        """Take messages until the link is over, or silent for too long while it owes answers."""
        with self._stall as stall:
            try:
                while True:
                    message = await self._link.receive()
                    self._waiting_since = None
                    self._put_stall(math.inf)
                    self._heard(message)
            except LinkClosed as closed:
                done = self._closing and closed.code == 1000 and self._hearing.metadata is not None
                self._over(Why.DONE if done else Why.DROPPED, closed.code, closed.reason)
        if stall.cancelled_caught:
            self._over(Why.STALLED, 1006, f"no message for {self._config.stall_timeout_ms} ms")
        conversation.cancel()

    def _heard(self, message: Message) -> None:
        heard = Heard.OTHER if isinstance(message, Unknown) else self._hearing.hear(message)
        self._on_heard(message, heard)

    def _put_stall(self, deadline: float) -> None:
        if deadline != self._stall.deadline:  # setting it costs more than asking for it
            self._stall.deadline = deadline

    def _stall_deadline(self) -> float:
        interims = self._config.interim_results
        unanswered = (self._sent_until - self._hearing.answered) / self._hearing.clock.rate
        if unanswered < (STALL_AUDIO_S if interims else STALL_AUDIO_WITHOUT_INTERIMS_S):
            return math.inf
        return (self._waiting_since or self._last_sent) + self._config.stall_timeout_ms / 1000


async def _next(feed: trio.MemoryReceiveChannel[Chunk]) -> Chunk | None:
    """Return the next chunk, None at the end of the feed."""
    try:
        return await feed.receive()
    except trio.EndOfChannel:
        return None

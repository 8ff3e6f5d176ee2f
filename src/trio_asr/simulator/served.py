"""An open connection: a WebSocket on one side, a `Peer` on the other. It decides nothing.

The reader hands messages to the peer, the timer its timeouts, helper tasks the words that jobs found. The
peer's actions go through one bounded channel, and so in order, to the writer. If the client does not read,
the writer waits, the channel fills, and nothing is read from the client either.
"""

from __future__ import annotations

import logging
import math
import socket
import struct
from typing import Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from trio_asr.simulator.actions import Abort, Action, Close, Peer, Recognise, Send, StopReading
from trio_asr.simulator.engines import Job, RecognitionError, Words
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.faulty import FaultyPeer
from trio_asr.simulator.ledger import ConnectionRecord
from trio_asr.simulator.wire import Message, Raw, encode

_LOG: Final = logging.getLogger(__name__)

#: Seconds for the client to answer a close frame.
_CLOSE_S: Final = 5.0
#: A connection that is no longer read (a fault) cannot notice its end; it is dropped after this many seconds.
_STOPPED_S: Final = 600.0
#: Batches of actions queued for the writer: about a minute's worth for a client that does not read.
_OUTGOING: Final = 64


class Jobs:
    """The threads that run recognition jobs, limited in number over all connections."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._limiter: trio.CapacityLimiter | None = None

    async def run(self, job: Job) -> Words | None:
        """Return the words, or None if the engine failed; a cancelled job's thread finishes alone."""
        if self._limiter is None:  # only now is there a running event loop
            self._limiter = trio.CapacityLimiter(self._threads)
        try:
            words = await trio.to_thread.run_sync(job, limiter=self._limiter, abandon_on_cancel=True)
        except RecognitionError as error:
            _LOG.error("recognition failed: %s", error)
            await trio.lowlevel.checkpoint()
            return None
        return words


class ServedConnection:
    """One open connection."""

    def __init__(
        self,
        websocket: WebSocketConnection,
        stream: trio.abc.Stream,
        peer: Peer,
        jobs: Jobs,
        record: ConnectionRecord,
    ) -> None:
        self._websocket = websocket
        self._stream = stream
        self._peer = peer
        self._jobs = jobs
        self._record = record
        self._outgoing, self._to_write = trio.open_memory_channel[list[Action]](_OUTGOING)
        self._timer = trio.CancelScope()
        self._progress = trio.Event()  # set, and replaced, whenever a job is done
        self._stopped = False  # no longer read

    async def run(self) -> None:
        """Run until the stream is closed by either side."""
        with self._outgoing, self._to_write:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery)
                nursery.start_soon(self._tick, nursery)
                await self._read(nursery)
                nursery.cancel_scope.cancel()
        if self._record.close_code is None and self._websocket.closed is not None:
            self._record.close_code = self._websocket.closed.code

    def strike(self, faults: Faults) -> None:
        """Start these faults now, around those that the connection already has."""
        self._peer = FaultyPeer(self._peer, faults, now=trio.current_time())
        self._set_timer()

    async def _read(self, nursery: trio.Nursery) -> None:
        try:
            while not self._stopped:
                message = await self._websocket.get_message()
                actions = self._hear(message, trio.current_time())
                self._prepare(actions, nursery)
                if actions:
                    await self._outgoing.send(actions)
                while self._peer.backlogged:
                    await self._progress.wait()
            await trio.sleep(_STOPPED_S)
        except ConnectionClosed:
            await trio.lowlevel.checkpoint()

    def _hear(self, message: str | bytes, now: float) -> list[Action]:
        if isinstance(message, str):
            self._record.note_text(now, message)
            return self._peer.text(message, now)
        self._record.note_audio(now, message)
        return self._peer.audio(message, now)

    async def _tick(self, nursery: trio.Nursery) -> None:
        """Run the peer's only timer: it is moved forward at once, and put off when it fires."""
        while True:
            due = self._peer.next_timeout()
            with trio.CancelScope(deadline=math.inf if due is None else due) as self._timer:
                await trio.sleep_forever()
            actions = self._peer.on_timeout(trio.current_time())
            self._prepare(actions, nursery)
            await self._outgoing.send(actions)

    async def _recognise(self, wanted: Recognise, nursery: trio.Nursery) -> None:
        words = await self._jobs.run(wanted.job)
        actions = self._peer.recognised(wanted.ticket, words, trio.current_time())
        self._prepare(actions, nursery)
        await self._outgoing.send(actions)
        self._progress.set()
        self._progress = trio.Event()

    def _prepare(self, actions: list[Action], nursery: trio.Nursery) -> None:
        """Carry out all but the writer's actions; no other task runs in between."""
        self._set_timer()
        for action in actions:
            if isinstance(action, Recognise):
                nursery.start_soon(self._recognise, action, nursery)
            elif isinstance(action, StopReading):
                self._stopped = True
                self._record.stopped_at = trio.current_time()

    def _set_timer(self) -> None:
        due = self._peer.next_timeout()
        if due is not None and due < self._timer.deadline:
            self._timer.deadline = due

    async def _write(self, nursery: trio.Nursery) -> None:
        """Send the actions; no other task sends. The end of the stream ends all the others."""
        try:
            async for actions in self._to_write:
                for action in actions:
                    if isinstance(action, Send):
                        await self._send(action.message)
                    elif isinstance(action, Close | Abort):
                        await self._end(action)
                        nursery.cancel_scope.cancel()
        except ConnectionClosed:  # the reader notices too, and first takes what had arrived before
            await trio.lowlevel.checkpoint()

    async def _send(self, message: Message) -> None:
        payload = encode(message)
        await self._websocket.send_message(payload)
        self._record.sent.append((trio.current_time(), _kind(message), len(payload)))

    async def _end(self, how: Close | Abort) -> None:
        if isinstance(how, Close):
            self._record.close_code = how.code
            with trio.move_on_after(_CLOSE_S):
                await self._websocket.aclose(how.code, how.reason or None)
        else:
            self._record.close_code = 1006
            _reset_on_close(self._stream)
            await trio.aclose_forcefully(self._stream)


def _kind(message: Message) -> str:
    return "raw" if isinstance(message, Raw) else type(message).__name__


def _reset_on_close(stream: trio.abc.Stream) -> None:
    """Make the closing of a TCP stream a reset instead of an orderly end."""
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(transport, trio.SocketStream):
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

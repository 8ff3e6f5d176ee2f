"""The server for Asterisk's AudioSocket: TCP, on a port of the route's own. Sessions are as with WebSockets.

What is shown there is a UUID and nothing else. It stands for the path of a request: so doors, places and
limits are those of all platforms.

Asterisk waits for audio in return: where none comes, its application may stand still before it sends any
(asterisk/asterisk, issue 2089). So silence goes back, 20 ms at a time, from one task for all connections. It
is written only as far as the kernel takes it: a peer that does not read holds up nobody.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import NoReturn

import trio

from trio_asr.config import Route
from trio_asr.config.ingest import TOKEN
from trio_asr.ingest.dialect import Request
from trio_asr.ingest.dialects.audiosocket import HANGUP, RATES, UUID, AudioSocket
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES
from trio_asr.ingest.doors import Doors, Turned
from trio_asr.ingest.server import SEND_S, Server
from trio_asr.ingest.session import Session
from trio_asr.wire.client_frames import Received
from trio_asr.wire.tlv import HEAD_BYTES, Tlv, TlvReader, write_tlv

READ_BYTES, FIRST_BYTES = 64 * 1024, 4 * 1024  # the latter from who has not said who it is
MOST_AT_ONCE = 500  # frames that one connection has its turn for
SILENCE_S = 0.02
_SILENCE = {kind: write_tlv(kind, bytes(round(rate * SILENCE_S) * 2)) for kind, rate in RATES.items()}
_USUAL = 0x10  # linear16 at 8 kHz


class AudioSockets:
    """The connections of one route. A peer has `start_s` seconds to say who it is."""

    def __init__(self, server: Server, doors: Doors, route: Route, *, start_s: float, idle_s: float) -> None:
        self.route = route
        self._server, self._doors = server, doors
        self._start_s, self._idle_s = start_s, idle_s
        self.lines: set[_Line] = set()
        self._some = trio.Event()

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection, from its first byte to its end. Only cancellation gets out."""
        await self._server.guard(stream, self._serve)

    async def keep_silent(self) -> NoReturn:
        """Send silence on all connections, for ever."""
        due = trio.current_time()
        while True:
            if not self.lines:
                self._some = trio.Event()
                await self._some.wait()
            due = max(due + SILENCE_S, trio.current_time())
            await trio.sleep_until(due)
            for line in self.lines:
                line.send_silence()

    async def _serve(self, stream: trio.abc.Stream, address: str, nursery: trio.Nursery) -> None:
        line = _Line(stream)
        uuid: bytes | None = None
        with self._server.shaking(self._start_s):
            uuid = await line.uuid()
        if uuid is None:
            if not line.left:  # else it looked whether somebody listens, as balancers do
                self._server.turned(Turned(401, "no_credentials", "no UUID came", self.route.platform))
            return
        admitted = self._server.admit(self._request(uuid, address), self._doors)
        if isinstance(admitted, Turned):
            await line.hang_up()
            return
        dialect = AudioSocket(keyed=self.route.method == "path")
        with self._server.seated(admitted), self._server.session(admitted, dialect) as session:
            # Audio begins the call. Who has said a call's UUID may be silent as long as a call may.
            session.patience = trio.current_time() + (self._idle_s if any(uuid) else self._start_s)
            self.lines.add(line)
            self._some.set()
            try:
                nursery.start_soon(self._listen, line, session)
                await _watch(session)
            finally:
                self.lines.discard(line)
        if session.close is not None:
            await line.hang_up()

    def _request(self, uuid: bytes, address: str) -> Request:
        """Return the request that this connection would be, if it had one."""
        path = self.route.path.replace(TOKEN, uuid.hex()[:16])
        return Request(path, path, {}, {}, address=address)

    async def _listen(self, line: _Line, session: Session) -> None:
        frames: Sequence[Tlv] | None = line.early
        while frames is not None:
            # There are twenty thousand empty ones in a read: nobody else waits for all of them.
            for at in range(0, max(1, len(frames)), MOST_AT_ONCE):
                some = frames[at : at + MOST_AT_ONCE]
                session.hear([Received(bytes([kind]) + payload, text=False) for kind, payload in some])
                if (pause_s := session.pause_s(len(some))) > 0:
                    await self._server.ticks.until(trio.current_time() + pause_s)
                else:
                    await trio.lowlevel.checkpoint()
            frames = await line.receive()
        session.ended()


class _Line:
    """A connection: frames come, and silence goes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.early: Sequence[Tlv] = ()  # the frames up to the UUID, and those that came with it
        self.left = False
        self._stream, self._reader = stream, TlvReader()
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._silence = _SILENCE[_USUAL]
        self._unsent = b""  # what the kernel did not take of a frame

    async def uuid(self) -> bytes | None:
        """Return the UUID that the peer says; None if it leaves, or says too much else."""
        early: list[Tlv] = []
        size = 0
        while size <= MOST_EARLY_BYTES:
            frames = await self.receive(FIRST_BYTES)
            if frames is None:
                return None
            early += frames
            size += sum(HEAD_BYTES + len(frame.payload) for frame in frames)
            for kind, payload in frames:
                if kind == UUID:
                    self.early = early
                    return payload
        return None

    async def receive(self, most: int = READ_BYTES) -> Sequence[Tlv] | None:
        """Return the frames that the next bytes complete, maybe none; None at the end."""
        data = await self._stream.receive_some(most)
        if not data:
            self.left = True
            return None
        frames = self._reader.take(data)
        if frames:
            self._silence = _SILENCE.get(frames[-1].type, self._silence)
        return frames

    def send_silence(self) -> None:
        """Send 20 ms of silence, of the kind that the peer sends, if the kernel takes it."""
        if self._socket is None or self._socket.fileno() < 0:
            return
        data = self._unsent or self._silence
        try:
            sent = os.write(self._socket.fileno(), data)
        except OSError:
            return  # it is full; or gone, which the reader will learn
        self._unsent = data[sent:]

    async def hang_up(self) -> None:
        """Tell the peer that it is over."""
        with trio.move_on_after(SEND_S):
            await self._stream.send_all(self._unsent + write_tlv(HANGUP))


async def _watch(session: Session) -> None:
    """Wait until a session is over. Nothing that it says can be said here."""
    while not session.over.is_set():
        woken = session.woken
        with trio.move_on_at(session.patience):
            await woken.wait()
        if math.isfinite(session.patience) and trio.current_time() >= session.patience:
            session.late()
        session.woken = trio.Event()
        session.sayings.clear()

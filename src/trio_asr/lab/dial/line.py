"""One socket of a call: opened, spoken on at the pace of the audio, and ended."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import trio
from websockets.uri import WebSocketURI

from trio_asr.lab.dial.frames import Disorder, Frame, frames
from trio_asr.lab.dial.platform import Message, Platform
from trio_asr.lab.dial.report import Outcome, SocketReport
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.dial.socket import ABNORMAL, ClientSocket, Refused
from trio_asr.lab.dial.tcp import TcpSocket

CONNECT_S = 10.0  # Exotel's page "Voicebot applet" allows that much for the handshake
STUCK_S = 1.0  # TCP is cut so much later if the server does not read, or does not let us begin
EARLY_MS = 100  # of audio before the start of its stream, where that is asked for
NO_FAILURE = frozenset({1000, 1001, 1005})  # close codes (RFC 6455, 7.4.1); 1005 is a close without a code

Socket = ClientSocket | TcpSocket
Reach = Callable[[WebSocketURI], Awaitable[trio.abc.Stream]]


class CallClock(NamedTuple):
    """A call's time, in seconds from its first sample. `zero` is when trio's clock showed that."""

    zero: float
    pace: float

    @property
    def now(self) -> float:
        """The call's time now."""
        return (trio.current_time() - self.zero) * self.pace

    def when(self, call_s: float) -> float:
        """Return what trio's clock shows at a time of the call."""
        return self.zero + call_s / self.pace


class Line:
    """A socket that says what `platform` says. What became of it is written into `said`.

    Its audio is what is spoken from `begins_s` of the call on. With `drop_at_s` TCP is cut at that time of
    the call, and what is due later is not sent.
    """

    def __init__(
        self,
        dial: Dial,
        clock: CallClock,
        platform: Platform,
        said: SocketReport,
        *,
        begins_s: float,
        drop_at_s: float | None,
    ) -> None:
        self._dial, self._clock, self._platform, self._said = dial, clock, platform, said
        self._drop_at_s = drop_at_s
        self._begins_s = begins_s
        self._disorder: Disorder[Message] = Disorder(dial.faults, platform.chance)
        self._news = trio.Event()  # set, and made anew, when the platform may have changed
        self._playing = trio.CancelScope()
        self._telling = 0  # tasks that send what the platform says
        self._all_said = False

    async def run(self, url: WebSocketURI, reach: Reach, wall: float) -> None:
        """Open the socket, and speak until the end."""
        stream: trio.abc.Stream | None = None
        try:
            with trio.fail_after(CONNECT_S):
                stream = await reach(url)
                traits = self._platform.TRAITS
                headers = self._platform.headers(wall, secrets.token_urlsafe(24))
                socket: Socket = TcpSocket(stream)
                if not traits.tcp:
                    socket = await ClientSocket.open(stream, url, headers, traits.subprotocols)
            await self._speak(socket)
        except Refused as refused:
            self._said.fail(Outcome.REFUSED, refused.reason, status=refused.status)
        except trio.TooSlowError:
            where = Outcome.UNREACHABLE if stream is None else Outcome.REFUSED
            self._said.fail(where, f"no answer within {CONNECT_S:.0f} s")
        except OSError as error:
            self._said.fail(Outcome.UNREACHABLE, str(error))
        finally:
            if stream is not None:
                await trio.aclose_forcefully(stream)

    async def _speak(self, socket: Socket) -> None:
        cut = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, socket, nursery.cancel_scope)
            nursery.start_soon(self._keep_time, socket)
            if self._drop_at_s is not None:
                self._playing.deadline = self._clock.when(self._drop_at_s) + STUCK_S
            with self._playing:
                await self._play(socket)
            cut = self._drop_at_s is not None and trio.current_time() >= self._clock.when(self._drop_at_s)
            if not cut:
                await socket.close()
            nursery.cancel_scope.cancel()
        said, platform = self._said, self._platform
        said.status, said.acked = 101, platform.acked
        if cut:
            said.outcome = Outcome.CUT
            return
        said.code, said.reason = socket.code, platform.complaint or socket.reason
        if self._all_said and socket.code in NO_FAILURE and not platform.complaint:
            said.outcome = Outcome.FINISHED
        else:
            said.outcome = Outcome.LOST if socket.code == ABNORMAL else Outcome.CLOSED

    async def _listen(self, socket: Socket, all_tasks: trio.CancelScope) -> None:
        while (message := await socket.receive()) is not None:
            self._said.heard += 1
            await self._tell(socket, self._platform.hear(message, trio.current_time()))
        all_tasks.cancel()

    async def _keep_time(self, socket: Socket) -> None:
        """Do what the platform does by its own clock, such as pings."""
        while True:
            with trio.move_on_at(self._platform.alarm):
                await self._news.wait()
            if trio.current_time() >= self._platform.alarm:
                await self._tell(socket, self._platform.tick(trio.current_time()))

    async def _play(self, socket: Socket) -> None:
        platform, faults = self._platform, self._dial.faults
        queue = self._queue()
        hello = platform.hello(trio.current_time())
        if faults.media_before_start and queue:
            edge = queue[0].first + EARLY_MS * self._dial.recording.format.rate // 1000
            early = [frame for frame in queue if frame.first < edge]
            await self._send(socket, hello[:-1])
            await self._send_frames(socket, early)
            hello, queue = hello[-1:], [frame for frame in queue if frame.first >= edge]
        await self._tell(socket, hello)
        while not platform.ready:
            await self._news.wait()
        await self._send_frames(socket, queue)
        await self._send(socket, self._disorder.rest())
        if self._drop_at_s is not None:
            await trio.sleep_until(self._clock.when(self._drop_at_s))
            return
        self._all_said = True
        if not faults.no_stop:
            await self._tell(socket, platform.stop(trio.current_time()))
            await trio.sleep_forever()  # until the platform is over

    def _queue(self) -> list[Frame]:
        """Return the frames of this socket, in the order of sending."""
        dial, traits = self._dial, self._platform.TRAITS
        form = dial.recording.format
        at = round(self._begins_s * 1000 / traits.chunk_ms) * (form.rate * traits.chunk_ms // 1000)
        first = self._platform.first_sample(at)
        cut = frames(dial.recording, traits.chunk_ms, dial.faults, first, separate=bool(traits.legs))
        return [frame for frame in cut if self._drop_at_s is None or frame.due <= self._drop_at_s]

    async def _send_frames(self, socket: Socket, queue: Sequence[Frame]) -> None:
        on_time_s = self._clock.now  # what is due later should go out when it is due
        for due, together in groupby(queue, lambda frame: frame.due):
            await trio.sleep_until(self._clock.when(due))
            behind_s = (self._clock.now - max(due, on_time_s)) / self._clock.pace
            self._said.behind_s = max(self._said.behind_s, behind_s)
            delivered: list[Message] = []
            for frame in together:
                messages = self._platform.media(frame)
                if messages and not self._said.sent:
                    self._said.age_s = self._clock.now - frame.first / self._dial.recording.format.rate
                if messages:
                    self._said.send(frame.leg, frame.first, frame.first + frame.samples)
                for message in messages:
                    delivered += self._disorder.deliver(message)
            await self._send(socket, delivered)

    async def _tell(self, socket: Socket, messages: Sequence[Message]) -> None:
        """Send what the platform says when its state may have changed, and look at that."""
        self._telling += 1
        await self._send(socket, messages)
        self._telling -= 1
        self._news.set()
        self._news = trio.Event()
        if self._platform.over and not self._telling:  # else its last words are not out yet
            self._playing.cancel()

    async def _send(self, socket: Socket, messages: Sequence[Message]) -> None:
        self._said.messages += len(messages)
        await socket.send(messages)

"""Places one call: dials, dials again where a socket broke, and opens a second socket where asked to.

The call's own clock starts with its first sample, and runs `pace` times as fast as trio's. A stream of it
begins some time before its socket is opened: that is the burst. What is due goes out, late or not: so does
the burst, and what was spoken during a handshake.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

import trio
from websockets.uri import WebSocketURI

from trio_asr.lab.dial.line import CallClock, Line, Reach
from trio_asr.lab.dial.platform import Platform
from trio_asr.lab.dial.platforms import PLATFORMS, fitted
from trio_asr.lab.dial.report import Outcome, Report, SocketReport
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.dial.socket import parsed

BROKEN = frozenset({Outcome.CUT, Outcome.LOST, Outcome.UNREACHABLE})
AGAIN = frozenset({1001, 1012})  # codes of a server that goes away, or restarts


def over_network(context: ssl.SSLContext | None = None) -> Reach:
    """Return what reaches a URL's host: by TCP, and for wss by TLS as `context` has it, or the system's."""

    async def reach(url: WebSocketURI) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(url.host, url.port)
        if not url.secure:
            return stream
        tls = trio.SSLStream(stream, context or ssl.create_default_context(), server_hostname=url.host)
        trusted = False
        try:
            await tls.do_handshake()
            trusted = True
        except trio.BrokenResourceError as error:
            raise OSError(f"TLS failed: {error.__cause__ or error}") from None
        finally:
            if not trusted:
                await trio.aclose_forcefully(stream)
        return tls

    return reach


async def place(wanted: Dial, reach: Reach | None = None, wall: Callable[[], float] = time.time) -> Report:
    """Place a call, and return what became of it when it is over.

    `reach` opens a byte stream to the host of a URL; by default over the network. `wall` shows the Unix time
    that requests are signed with.

    Raises:
        Unfit: The platform cannot place such a call.
        ValueError: The URL is none of a WebSocket.
    """
    caller = _Caller(fitted(wanted), reach or over_network(), wall)
    await caller.run()
    return caller.report


class _Caller:
    """A call and its sockets."""

    def __init__(self, dial: Dial, reach: Reach, wall: Callable[[], float]) -> None:
        self._dial, self._reach, self._wall = dial, reach, wall
        self._url = parsed(dial.url)
        self._kind = PLATFORMS[dial.platform]
        burst_ms = self._kind.TRAITS.burst_ms if dial.burst_ms is None else dial.burst_ms
        self._burst_s = burst_ms / 1000
        self._clock = CallClock(trio.current_time(), dial.pace)
        self.report = Report(dial.call, dial.expect)

    async def run(self) -> None:
        """Place the call, until the last of its sockets is over."""
        faults = self._dial.faults
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_open, 0.0, faults.drop_at_s)
            if faults.second_socket_s is not None:
                await trio.sleep_until(self._clock.when(faults.second_socket_s))
                nursery.start_soon(self._keep_open, faults.second_socket_s, None)

    async def _keep_open(self, begins_s: float, drop_at_s: float | None) -> None:
        """Open a socket, and others after it where the platform or the settings say so."""
        retries, last = self._kind.TRAITS.retries, False
        said, platform = await self._open(None, begins_s, drop_at_s)
        while True:
            if said.outcome is Outcome.REFUSED and retries:
                retries -= 1
            elif self._dial.reconnect_after_s is not None and _broken(said):
                await trio.sleep(self._dial.reconnect_after_s / self._dial.pace)
                over = self._clock.now >= self._dial.recording.seconds
                if over and (last or not platform.unconfirmed):
                    return
                last = over
            else:
                return
            said, platform = await self._open(platform, self._clock.now, None)

    async def _open(
        self, before: Platform | None, begins_s: float, drop_at_s: float | None
    ) -> tuple[SocketReport, Platform]:
        said = SocketReport(len(self.report.sockets) + 1)
        self.report.sockets.append(said)
        platform = self._kind(self._dial, said.number, before)
        line = Line(self._dial, self._clock, platform, said, begins_s=begins_s, drop_at_s=drop_at_s)
        await trio.sleep_until(self._clock.when(begins_s + self._burst_s))
        await line.run(self._url, self._reach, self._wall())
        return said, platform


def _broken(said: SocketReport) -> bool:
    if said.outcome is Outcome.REFUSED:
        return said.status >= 500
    return said.outcome in BROKEN or said.code in AGAIN

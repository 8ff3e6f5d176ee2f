"""Fuzz targets with an event loop: what a provider answers, and what clients ask of the pages.

Each input is a run of its own; where only memory is involved, it has a clock that jumps.
"""

from __future__ import annotations

import socket

import trio
from trio.testing import MockClock, memory_stream_pair

from trio_asr.config import DeepgramConfig, Secret
from trio_asr.deepgram.provider import ConnectFailed, LinkClosed
from trio_asr.deepgram.websocket import DeepgramProvider
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.web.base import App
from trio_asr.web.server import answer_one
from trio_asr.wire.audio_format import audio_format

MAX_REASON = 1000  # longest reason, in characters, that a refusal may put into events and pages


def handshake_target(data: bytes) -> None:
    """Fuzz everything a peer sends, from its answer to the handshake on."""

    async def main() -> None:
        ours, theirs = memory_stream_pair()

        async def dial(_host: str, _port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return ours

        async def peer() -> None:
            try:
                await theirs.receive_some()
                await theirs.send_all(data)
                await theirs.send_eof()
            except trio.BrokenResourceError:
                pass

        provider = DeepgramProvider(DeepgramConfig(url="ws://deepgram.test/v1/listen"), Secret("key"), dial)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer)
            reason = ""
            try:
                async with provider.connect(audio_format(8000)) as link:
                    while True:
                        await link.receive()
            except (ConnectFailed, LinkClosed) as ended:
                reason = ended.reason
            assert len(reason) <= MAX_REASON, len(reason)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def http_target(data: bytes) -> None:
    """Fuzz everything a client sends to the pages: no internal error, and it ends by itself."""
    metrics = Metrics()

    async def main() -> None:
        app = App(metrics.http_turned_away, InternalErrors(metrics))
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            theirs.send(data[:60_000])
            theirs.shutdown(socket.SHUT_WR)
            with trio.fail_after(5):
                await answer_one(app, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))

    trio.run(main)
    bugs = metrics.registry.get_sample_value("asr_internal_errors_total", {"place": "page"})
    assert not bugs, bugs

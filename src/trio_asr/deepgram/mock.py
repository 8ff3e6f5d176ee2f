"""The mock provider: no socket, deterministic results, the same timeline and flush path as the real one.

It answers every chunk with a partial for the open second of audio, and every full second with a final.
Setting `ASR_PROVIDER=mock` was the way to roll the old worker back without a deployment; it still works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trio_asr.deepgram.provider import Link, LinkClosed
from trio_asr.wire import messages
from trio_asr.wire.audio_format import Format
from trio_asr.wire.messages import Alternative, Channel, Message, Metadata, Results, Word

SEGMENT_S = 1.0
QUEUE = 64  # messages; a chunk of the largest size makes a handful
_FLUSHES = (messages.FINALIZE, messages.CLOSE_STREAM, *messages.FINALIZE_CHANNEL)
# The confidences of the old worker's mock.
PARTIAL_CONFIDENCE, FINAL_CONFIDENCE = 0.85, 0.95


class MockProvider:
    """A provider whose links lead nowhere."""

    name = "mock"
    has_sockets = False

    def __init__(self) -> None:
        self._opened = 0

    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        """Open a link for audio of this format. It never fails."""
        await trio.lowlevel.checkpoint()
        self._opened += 1
        send, receive = trio.open_memory_channel[Message](QUEUE)
        async with send, receive:
            yield _MockLink(f"mock-{self._opened}", fmt, send, receive)


class _MockLink:
    """One link, and the segment of audio that is open on it."""

    def __init__(
        self,
        request_id: str,
        fmt: Format,
        send: trio.MemorySendChannel[Message],
        receive: trio.MemoryReceiveChannel[Message],
    ) -> None:
        self.request_id = request_id
        self._format = fmt
        self._send, self._receive = send, receive
        self._begin = self._end = 0  # the open segment, in samples of this connection

    async def send_audio(self, pcm: bytes) -> None:
        """Take audio; say a final for each second that is full, and a partial for the rest."""
        self._end += len(pcm) // self._format.width
        segment = round(SEGMENT_S * self._format.rate)
        while self._end - self._begin >= segment:
            await self._say(self._begin + segment, final=True)
        if self._end > self._begin:
            await self._say(self._end, final=False)

    async def send_control(self, text: str) -> None:
        """Obey Finalize and CloseStream: say a final for the open segment, and on the latter end the link."""
        if text in _FLUSHES and self._end > self._begin:
            await self._say(self._end, final=True)
        if text == messages.CLOSE_STREAM:
            await self._send.send(Metadata(duration=self._end / self._format.rate, sha256="mock"))
            self._send.close()
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Message:
        """Wait for the next message.

        Raises:
            LinkClosed: All messages up to CloseStream were received.
        """
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise LinkClosed(1000, "") from None

    async def _say(self, end: int, *, final: bool) -> None:
        """Queue a result for the open segment up to the sample `end`; a final one closes the segment."""
        rate, channels = self._format.rate, self._format.channels
        start_s, end_s = self._begin / rate, end / rate
        text = f"mock audio from {start_s:.2f} to {end_s:.2f} seconds"
        confidence = FINAL_CONFIDENCE if final else PARTIAL_CONFIDENCE
        spoken = text.split()
        step = (end_s - start_s) / len(spoken)
        words = [
            Word(word, start_s + i * step, start_s + (i + 1) * step, confidence)
            for i, word in enumerate(spoken)
        ]
        said = Channel([Alternative(text, confidence, words)])
        for channel in range(channels):  # all say the same
            result = Results(start_s, end_s - start_s, said, is_final=final, speech_final=final)
            result.channel_index = [channel, channels]
            await self._send.send(result)
        if final:
            self._begin = end

"""For tests of memory bounds: a provider and a producer that keep next to nothing, a gauge of memory use."""

from __future__ import annotations

import base64
import gc
import struct
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import trio
from tests.worker_harness import AUDIO, ENDS, RATE, ChannelLink, EchoProvider, WorkerHarness, read

from trio_asr.bus.memory import MemoryStore
from trio_asr.deepgram.provider import ConnectFailed, Link, LinkClosed
from trio_asr.wire import messages
from trio_asr.wire.audio_format import Format
from trio_asr.wire.messages import Alternative, Channel, Metadata, Results, Word

TIMEOUT_S = 10.0


def float32(seconds: float) -> float:
    """Round to 32 bits, as Deepgram's times are."""
    (rounded,) = struct.unpack("f", struct.pack("f", seconds))
    return float(rounded)


class MemoryUse(NamedTuple):
    """Memory in use: Python's small blocks, each (part of) an object, and the bytes requested.

    It is not what the process holds: how much of that is free again is the allocator's business.
    """

    blocks: int
    held: int

    def grew(self, before: MemoryUse) -> bool:
        """Return whether this is more than noise above `before`: a cache, a dict that doubles."""
        return self.blocks - before.blocks > 1500 or self.held - before.held > 1_000_000


def memory_use() -> MemoryUse:
    """Measure memory use; `tracemalloc` counts bytes from its start on."""
    gc.collect()
    return MemoryUse(sys.getallocatedblocks(), tracemalloc.get_traced_memory()[0])


# -- the provider --------------------------------------------------------------------------------------------


class LeanProvider(EchoProvider):
    """A provider that answers each segment with one word that fills it, in float32 times, and keeps nothing.

    `status` refuses every handshake, or those of the rate `only` if that is given; 0 never answers them.
    `abort_s` resets a connection after that much audio. A `mute` one takes audio and says nothing, a `vague`
    one sends only interims.
    """

    def __init__(
        self,
        segment_s: float = 1.0,
        *,
        status: int | None = None,
        only: int = 0,
        abort_s: float = 0.0,
        mute: bool = False,
        vague: bool = False,
    ) -> None:
        super().__init__()
        self.segment_s, self.abort_s = segment_s, abort_s
        self.status, self.only = status, only
        self.mute, self.vague = mute, vague
        self.made = 0

    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        if self.status is not None and self.only in (0, fmt.rate):
            await trio.sleep(0 if self.status else TIMEOUT_S)
            raise ConnectFailed("so the test says", status=self.status or None)
        await trio.lowlevel.checkpoint()
        self.made += 1
        link = LeanLink(self, fmt.rate)
        try:
            yield link
        finally:
            link.close()


class LeanLink(ChannelLink):
    """A connection of `LeanProvider`."""

    request_id = "lean"

    def __init__(self, provider: LeanProvider, rate: int) -> None:
        self._provider, self._rate = provider, rate
        self._segment = round(provider.segment_s * rate)
        self._begin = self._end = 0
        super().__init__()

    async def send_audio(self, pcm: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._end += len(pcm) // 2
        if self._provider.abort_s and self._end > self._provider.abort_s * self._rate:
            self._send.close()
            raise LinkClosed(1006, "")
        while self._end - self._begin >= self._segment:
            self._say(self._begin + self._segment)

    async def send_control(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        if text in (messages.FINALIZE, messages.CLOSE_STREAM) and self._end > self._begin:
            self._say(self._end)
        if text == messages.CLOSE_STREAM and not self._provider.mute:
            self._send.send_nowait(Metadata(duration=self._end / self._rate))
            self._send.close()

    def _say(self, end: int) -> None:
        begin, self._begin = self._begin, end
        if self._provider.mute:
            return
        start_s, end_s = float32(begin / self._rate), float32(end / self._rate)
        best = Alternative("word", 0.9, [Word("word", start_s, end_s, 0.9)])
        final = not self._provider.vague
        duration_s = float32((end - begin) / self._rate)
        self._send.send_nowait(Results(start_s, duration_s, Channel([best]), final, final))


# -- producers and consumers ---------------------------------------------------------------------------------


class LeanCall:
    """A producer of frames of silence that keeps only a counter."""

    def __init__(
        self, store: MemoryStore, interaction_id: str, *, frame_s: float = 1.0, rate: int = RATE
    ) -> None:
        self.id = interaction_id
        self.frame_s, self.rate = frame_s, rate
        self.samples = 0
        self._store = store
        self._seq = 0
        self._pcm = base64.b64encode(bytes(2 * round(frame_s * rate))).decode()

    def speak(self, frames: int = 1) -> None:
        for _ in range(frames):
            self._seq += 1
            document = {
                "interaction_id": self.id,
                "seq": self._seq,
                "timestamp_ms": self.samples * 1000 // self.rate,
                "sample_rate": self.rate,
                "audio": self._pcm,
            }
            self._store.add(AUDIO, msgspec.json.encode(document))
            self.samples += round(self.frame_s * self.rate)

    async def talk(self, seconds: float) -> None:
        for _ in range(round(seconds / self.frame_s)):
            self.speak()
            await trio.sleep(self.frame_s)

    def end(self) -> None:
        self._store.add(ENDS, msgspec.json.encode({"interaction_id": self.id}))


async def consume(on: WorkerHarness) -> list[dict[str, Any]]:
    """Take the transcripts out of the store, and expired state; the audio is trimmed by the setting.

    It also renews the lease, since the harness has no task for it.
    """
    store = on.store
    await on.lease.renew()
    on.bus.batches.clear()
    taken: list[dict[str, Any]] = []
    for stream in [stream for stream in store.streams if stream.startswith("transcript.")]:
        taken += read(store, stream)
        del store.streams[stream]
    for owner in [owner for owner in store.states if owner and owner not in store.live]:
        del store.states[owner]
    del store.streams.get(ENDS, [])[:-100]
    return taken

"""The worker that one would write today: redis.asyncio and Deepgram's own client, one message per frame.

It keeps none of trio-asr's promises: what is in flight is lost with the socket or the process.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from contextlib import suppress
from typing import Any

import redis.asyncio
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment

GROUP = "worker"
DONE_S = 10.0


class Call:
    """A call: a queue of frames, and a task that sends them."""

    def __init__(self, worker: Worker, interaction_id: str, rate: int) -> None:
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._worker, self._id, self._rate = worker, interaction_id, rate
        self._seq = 0
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        connect = self._worker.deepgram.listen.v1.connect
        async with connect(
            model="nova-2",
            language="en-US",
            smart_format="true",
            interim_results="true",
            encoding="linear16",
            sample_rate=str(self._rate),
        ) as socket:
            receiver = asyncio.create_task(self._receive(socket))
            while (pcm := await self.frames.get()) is not None:
                await socket.send_media(pcm)
            await socket.send_close_stream()
            with suppress(TimeoutError):
                await asyncio.wait_for(receiver, DONE_S)

    async def _receive(self, socket: Any) -> None:
        async for message in socket:
            if message.type == "Results":
                best = message.channel.alternatives[0]
                if best.transcript:
                    await self._publish(message, best)

    async def _publish(self, message: Any, best: Any) -> None:
        self._seq += 1
        transcript = {
            "interaction_id": self._id,
            "seq": self._seq,
            "type": "final" if message.is_final else "partial",
            "text": best.transcript,
            "confidence": best.confidence,
            "timestamp_ms": int(time.time() * 1000),
        }
        await self._worker.redis.xadd(self._worker.transcripts + self._id, {"data": json.dumps(transcript)})


class Worker:
    """A worker that reads both streams and hands frames to calls."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.transcripts = settings["transcripts"]
        self.redis = redis.asyncio.Redis.from_url(settings["redis_url"])
        base = settings["deepgram_url"].removesuffix("/v1/listen")
        urls = DeepgramClientEnvironment(base=base, production=base, agent=base, agent_rest=base)
        self.deepgram = AsyncDeepgramClient(api_key="bench", environment=urls)
        self._audio, self._ends = settings["audio_stream"], settings["end_stream"]
        self._reader = redis.asyncio.Redis.from_url(settings["redis_url"])
        self._calls: dict[str, Call] = {}

    async def run(self) -> None:
        for stream in (self._audio, self._ends):
            await self._reader.xgroup_create(stream, GROUP, id="0", mkstream=True)
        print("ready", flush=True)
        streams = {self._audio: ">", self._ends: ">"}
        while True:
            found = await self._reader.xreadgroup(GROUP, "one", streams, count=500, block=1000)
            for stream, entries in found:
                for _, fields in entries:
                    document = json.loads(fields[b"data"])
                    if stream.decode() == self._audio:
                        self._frame(document)
                    elif call := self._calls.pop(document["interaction_id"], None):
                        call.frames.put_nowait(None)
                await self._reader.xack(stream, GROUP, *(entry for entry, _ in entries))

    def _frame(self, document: dict[str, Any]) -> None:
        interaction_id = document["interaction_id"]
        call = self._calls.get(interaction_id)
        if call is None:
            call = self._calls[interaction_id] = Call(self, interaction_id, document["sample_rate"])
        call.frames.put_nowait(base64.b64decode(document["audio"]))


if __name__ == "__main__":
    asyncio.run(Worker(json.loads(sys.argv[1])).run())

"""A lower bound: the same entries and chunks, moved by the fastest libraries there are.

uvloop, hiredis and picows; no task per call, no timer, no checkpoint, no retry, and no promise at all.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

import hiredis
import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

CHUNK_S = 0.2


class Frame(msgspec.Struct, gc=False):
    """The fields of an entry that are used."""

    interaction_id: str
    audio: bytes = b""
    sample_rate: int = 8000


class Alternative(msgspec.Struct, gc=False):
    """The fields of an alternative that are used."""

    transcript: str
    confidence: float


class Channel(msgspec.Struct, gc=False):
    """The alternatives of a channel."""

    alternatives: list[Alternative]


class Results(msgspec.Struct, gc=False):
    """A result, or any other message without a channel."""

    type: str
    is_final: bool = False
    channel: Channel | list[int] | None = None


class Transcript(msgspec.Struct, gc=False):
    """The transcript that is published."""

    interaction_id: str
    seq: int
    type: str
    text: str
    confidence: float
    timestamp_ms: int


decode_frame = msgspec.json.Decoder(Frame).decode
decode_results = msgspec.json.Decoder(Results).decode
encode = msgspec.json.Encoder().encode


class Call(WSListener):
    """A call, and the listener on its connection."""

    def __init__(self, worker: Worker, interaction_id: str, rate: int) -> None:
        super().__init__()
        self._worker, self.id = worker, interaction_id
        self.size = int(2 * rate * CHUNK_S)
        self.audio = bytearray()
        self._transport: WSTransport | None = None
        self._seq = 0
        self._over = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        del transport
        if frame.msg_type != WSMsgType.TEXT:
            return
        message = decode_results(frame.get_payload_as_memoryview())
        if message.type == "Results" and isinstance(message.channel, Channel):
            best = message.channel.alternatives[0]
            if best.transcript:
                self._seq += 1
                kind = "final" if message.is_final else "partial"
                now_ms = time.time_ns() // 1_000_000
                said = Transcript(self.id, self._seq, kind, best.transcript, best.confidence, now_ms)
                self._worker.publish(self.id, encode(said))

    def add(self, pcm: bytes) -> None:
        self.audio += pcm
        if len(self.audio) >= self.size:
            self.flush()

    def flush(self) -> None:
        if self._transport is not None and self.audio:
            self._transport.send(WSMsgType.BINARY, self.audio)
            self.audio = bytearray()

    def end(self) -> None:
        self.flush()
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, b'{"type":"CloseStream"}')


class Worker:
    """A worker that reads both streams over one connection and publishes over another."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._calls: dict[str, Call] = {}
        self._dialling: set[asyncio.Task[None]] = set()
        self._outgoing: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        address = urlsplit(self._settings["redis_url"])
        host, port = address.hostname or "127.0.0.1", address.port or 6379
        reader, writer = await asyncio.open_connection(host, port)
        answers, self._writer = await asyncio.open_connection(host, port)
        swallow = asyncio.create_task(_swallow(answers))
        audio, ends = self._settings["audio_stream"], self._settings["end_stream"]
        positions = {audio.encode(): b"0-0", ends.encode(): b"0-0"}
        print("ready", flush=True)
        parser = hiredis.Reader()
        while not swallow.done():
            command = ("XREAD", "COUNT", 1000, "BLOCK", 1000, "STREAMS", *positions, *positions.values())
            writer.write(hiredis.pack_command(command))
            while (reply := parser.gets()) is False:
                parser.feed(await reader.read(1 << 20))
            for stream, entries in reply or ():
                positions[stream] = entries[-1][0]
                if stream == audio.encode():
                    self._take(entries)
                else:
                    for _, fields in entries:
                        self._calls[decode_frame(fields[1]).interaction_id].end()
            await asyncio.sleep(0.02)

    def _take(self, entries: list[tuple[bytes, list[bytes]]]) -> None:
        for _, fields in entries:
            frame = decode_frame(fields[1])
            call = self._calls.get(frame.interaction_id)
            if call is None:
                call = Call(self, frame.interaction_id, frame.sample_rate)
                self._calls[frame.interaction_id] = call
                dialling = asyncio.create_task(self._dial(call, frame.sample_rate))
                self._dialling.add(dialling)
                dialling.add_done_callback(self._dialling.discard)
            call.add(frame.audio)

    async def _dial(self, call: Call, rate: int) -> None:
        query = f"model=nova-2&encoding=linear16&sample_rate={rate}&interim_results=true"
        url = f"{self._settings['deepgram_url']}?{query}"
        await ws_connect(lambda: call, url, extra_headers={"Authorization": "Token bench"})

    def publish(self, interaction_id: str, data: bytes) -> None:
        """Queue an entry; all entries of one turn of the event loop go out together."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        stream = self._settings["transcripts"] + interaction_id
        self._outgoing.append(hiredis.pack_command(("XADD", stream, "*", "data", data)))

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.write(b"".join(self._outgoing))
        self._outgoing.clear()


async def _swallow(answers: asyncio.StreamReader) -> None:
    while await answers.read(1 << 16):
        pass


if __name__ == "__main__":
    uvloop.run(Worker(json.loads(sys.argv[1])).run())

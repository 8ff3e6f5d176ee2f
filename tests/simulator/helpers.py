"""Helpers of the simulator's tests: sessions without I/O, and a real WebSocket client over memory."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import msgspec
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from trio_asr.simulator.actions import Action, Close, Recognise, Send
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.engines import Ear, Engine, Job, Mark, SegmentEnds, Word, Words
from trio_asr.simulator.query import ListenQuery, check, parse
from trio_asr.simulator.render import About
from trio_asr.simulator.server import SimulatorSettings, handle
from trio_asr.simulator.session import Session
from trio_asr.simulator.wire import ModelInfo, encode
from trio_asr.telemetry.groups import leaves

RAW = "model=nova-3&encoding=linear16&sample_rate=8000"
INTERIMS = RAW + "&interim_results=true"
FULL = INTERIMS + "&vad_events=true&utterance_end_ms=1000"
TOKEN = [(b"Authorization", b"Token key")]
KEEP_ALIVE, FINALIZE, CLOSE = '{"type":"KeepAlive"}', '{"type":"Finalize"}', '{"type":"CloseStream"}'
ABOUT = About("the-id", "2026-01-20T07:53:03.141Z", ModelInfo("nova-3", "1", "nova-3"))
VOICE = b"\1\2" * 800  # 100 ms of audio that is not silent


class Client:
    """One stream. `messages` are all received, as `(time, decoded message)`; `code` is the close code."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self.websocket = websocket
        self.messages: list[tuple[float, Any]] = []
        self.code: int | None = None
        self.reason: str | None = None
        self._ended = trio.Event()
        self._heard = trio.Event()

    async def collect(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                message = await self.websocket.get_message()
                decoded = msgspec.json.decode(message) if isinstance(message, str) else message
                self.messages.append((trio.current_time(), decoded))
                self._heard.set()
                self._heard = trio.Event()
        if reason := self.websocket.closed:
            self.code, self.reason = reason.code, reason.reason
        self._ended.set()
        await trio.lowlevel.checkpoint()

    async def ended(self) -> None:
        """Wait until the other side has closed the stream."""
        await self._ended.wait()

    async def heard(self, finals: int) -> None:
        """Wait until so many finals have come."""
        while len(self.finals) < finals:
            await self._heard.wait()

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.websocket.send_message(message)
        await trio.lowlevel.checkpoint()

    @property
    def kinds(self) -> list[str]:
        return [m["type"] if isinstance(m, dict) else "bytes" for _, m in self.messages]

    def of(self, kind: str) -> list[Any]:
        return [m for _, m in self.messages if isinstance(m, dict) and m["type"] == kind]

    @property
    def finals(self) -> list[Any]:
        return [m for m in self.of("Results") if m["is_final"]]


@asynccontextmanager
async def connected(settings: SimulatorSettings, query: str = RAW, **more: Any) -> AsyncIterator[Client]:
    """Open a stream; after the block it is closed, and the server has ended."""
    near, far = memory_stream_pair()
    async with trio.open_nursery() as server, trio.open_nursery() as nursery:
        server.start_soon(handle, far, settings)
        target = more.pop("target", f"/v1/listen?{query}")
        websocket = await wrap_client_stream(
            nursery, cast("trio.SocketStream", near), "test", target, **{"extra_headers": TOKEN, **more}
        )
        # The library keeps the opened connection to itself when it is given a stream.
        await websocket._open_handshake.wait()
        client = Client(websocket)
        nursery.start_soon(client.collect)
        yield client
        await websocket.aclose()


async def refused(settings: SimulatorSettings, **more: Any) -> ConnectionRejected:
    """Return the answer to a handshake that is refused."""
    answers: list[ConnectionRejected] = []
    try:
        async with connected(settings, **more):
            pass
    except* ConnectionRejected as group:
        answers += [leaf for leaf in leaves(group) if isinstance(leaf, ConnectionRejected)]
    await trio.lowlevel.checkpoint()
    (answer,) = answers
    return answer


def results(result: Any) -> tuple[float, float, str]:
    """Return `(start, duration, transcript)` of a Results message."""
    return result["start"], result["duration"], result["channel"]["alternatives"][0]["transcript"]


def session(query: str = RAW, engine: Engine | None = None) -> Session:
    asked = check(parse(query))
    ears = [(engine or EchoEngine()).open(asked.for_ear()) for _ in range(asked.transcripts)]
    return Session(asked, ears, about=ABOUT, now=0.0)


def told(actions: Iterable[Action]) -> list[Any]:
    """Return the messages as a client decodes them, and `(code, reason)` for a close."""
    out: list[Any] = []
    for action in actions:
        if isinstance(action, Send):
            payload = encode(action.message)
            out.append(payload if isinstance(payload, bytes) else msgspec.json.decode(payload))
        elif isinstance(action, Close):
            out.append((action.code, action.reason))
    return out


def brief(messages: list[Any]) -> list[Any]:
    """Return Results as `(start, duration, flags, text)`; flags: i or f, s speech_final, F from_finalize."""
    return [_brief(m) if isinstance(m, dict) else m for m in messages]


def _brief(m: dict[str, Any]) -> Any:
    if m["type"] != "Results":
        return m["type"], m.get("timestamp", m.get("last_word_end", m.get("duration")))
    flags = ("f" if m["is_final"] else "i") + "s" * m["speech_final"] + "F" * m["from_finalize"]
    return m["start"], m["duration"], flags, m["channel"]["alternatives"][0]["transcript"]


class Slow:
    """An engine whose words come later: a final each second, jobs that return a word for the range."""

    name, threads = "slow", 1

    def open(self, query: ListenQuery) -> Ear:
        return SlowEar()


class SlowEar:
    def __init__(self) -> None:
        self.heard = 0

    def hear(self, audio: bytes) -> list[Mark]:
        before, self.heard = self.heard, self.heard + len(audio) // 2
        ends = range(before - before % 8000 + 8000, self.heard + 1, 8000)
        return [SegmentEnds(at, speech_final=True) for at in ends]

    def words(self, start: int, end: int, *, final: bool) -> Words | Job:
        return lambda: (Word(f"{start}-{end}", start, end),)

    def cut(self, at: int) -> None: ...


def jobs(actions: list[Action]) -> list[Recognise]:
    return [action for action in actions if isinstance(action, Recognise)]

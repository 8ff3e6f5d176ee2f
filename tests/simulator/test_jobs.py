"""Engines whose words come from threads, through the whole server; on the real clock: threads need it."""

import threading

import trio
from tests.simulator.helpers import CLOSE, RAW, VOICE, connected, results

from trio_asr.simulator.engines import Ear, Job, Mark, RecognitionError, SegmentEnds, Word, Words
from trio_asr.simulator.query import ListenQuery
from trio_asr.simulator.server import SimulatorSettings
from trio_asr.simulator.session import NET_0000


class Threaded:
    """A final each second, whose word comes from a thread; `fails` makes the jobs fail."""

    name, threads = "threaded", 1

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.running = self.most = 0
        self.lock = threading.Lock()

    def open(self, query: ListenQuery) -> Ear:
        return ThreadedEar(self)

    def work(self, start: int, end: int) -> Words:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        if self.fails:
            raise RecognitionError("out of memory")
        with self.lock:
            self.running -= 1
        return (Word(f"{start}-{end}", start, end),)


class ThreadedEar:
    def __init__(self, engine: Threaded) -> None:
        self.engine = engine
        self.heard = 0

    def hear(self, audio: bytes) -> list[Mark]:
        before, self.heard = self.heard, self.heard + len(audio) // 2
        ends = range(before - before % 8000 + 8000, self.heard + 1, 8000)
        return [SegmentEnds(at, speech_final=True) for at in ends]

    def words(self, start: int, end: int, *, final: bool) -> Words | Job:
        return lambda: self.engine.work(start, end)

    def cut(self, at: int) -> None: ...


async def test_words_from_threads_keep_their_order_and_hold_the_close() -> None:
    engine = Threaded()
    settings = SimulatorSettings(engine=engine)
    with trio.fail_after(60):
        async with connected(settings, RAW) as client, connected(settings, RAW) as other:
            for _ in range(12):
                await client.send(VOICE * 10)
                await other.send(VOICE * 10)
            await client.send(VOICE * 5, CLOSE)
            await other.send(CLOSE)
            await client.ended()
            await other.ended()
    texts = [f"{start}-{start + 8000}" for start in range(0, 96_000, 8000)]
    assert [results(r)[2] for r in client.finals] == [*texts, "96000-100000", ""]
    assert [results(r)[2] for r in other.finals] == [*texts, ""]
    assert (client.kinds[-1], client.code, other.code) == ("Metadata", 1000, 1000)
    assert engine.most == 1


class Stuck(Threaded):
    """The first channel's words do not come before `go` is set."""

    threads = 4

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.opened = 0

    def open(self, query: ListenQuery) -> Ear:
        self.opened += 1
        return super().open(query) if self.opened > 1 else StuckEar(self)


class StuckEar(ThreadedEar):
    def __init__(self, engine: Stuck) -> None:
        super().__init__(engine)
        self.go = engine.go

    def words(self, start: int, end: int, *, final: bool) -> Words | Job:
        def job() -> Words:
            self.go.wait()
            return (Word("at last", start, end),)

        return job


async def test_a_channel_that_is_slow_to_recognise_holds_up_no_other() -> None:
    engine = Stuck()
    settings = SimulatorSettings(engine=engine)
    with trio.fail_after(60):
        async with connected(settings, RAW + "&channels=2&multichannel=true") as client:
            try:
                for _ in range(3):
                    await client.send(VOICE * 20)  # a second of two channels
                await client.heard(finals=3)
                assert [final["channel_index"] for final in client.finals] == [[1, 2]] * 3
                await client.send(CLOSE)
            finally:
                engine.go.set()
            await client.ended()
    of_first = [results(final)[2] for final in client.finals if final["channel_index"] == [0, 2]]
    assert of_first == ["at last"] * 3 + [""]
    assert (client.kinds[-1], client.code) == ("Metadata", 1000)


async def test_an_engine_that_fails_ends_the_stream_only() -> None:
    settings = SimulatorSettings(engine=Threaded(fails=True))
    with trio.fail_after(60):
        async with connected(settings, RAW) as client:
            await client.send(VOICE * 10)
            await client.ended()
    assert (client.kinds, client.code, client.reason) == (["Metadata"], 1011, NET_0000)

"""A bus server for tests, on Redis or in memory, behind one interface."""

from __future__ import annotations

from typing import Protocol, cast

import redis

from trio_asr.bus.base import Bus, RawEntry
from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.bus.nodes import Nodes
from trio_asr.bus.redis import RedisBus
from trio_asr.bus.server import SharedServer
from trio_asr.wire.records import Commit, Write

GROUP, AUDIO, ENDS = "the-group", "audio_stream", "call_end"
LONG_MS = 60_000
PREFIX = f"trio_asr:{{{GROUP}}}:"


class BusHarness(Protocol):
    """A server and its workers."""

    def worker(self, member: str = "") -> Bus:
        """Return the bus of one more worker, of a fleet if it has a name."""
        ...

    def add(self, stream: str, data: bytes, maxlen: int = 0) -> str:
        """Add an entry as a producer does; return its id."""
        ...

    def entries(self, stream: str) -> list[RawEntry]:
        """Return all entries of a stream."""
        ...

    def cut(self, stream: str, ids: list[str]) -> None:
        """Delete entries of a stream."""
        ...

    def drop(self, stream: str) -> None:
        """Delete a stream."""
        ...

    def lose_all(self) -> None:
        """Make the server forget everything."""
        ...


def data(harness: BusHarness, stream: str) -> list[bytes]:
    """Return the field `data` of every entry of a stream."""
    return [fields[fields.index(b"data") + 1] for _, fields in harness.entries(stream)]


def commit(
    rev: int, *texts: str, owner: str = "c1", stream: str = "out", live: bool = True, state: bytes = b""
) -> Commit:
    """Return a commit that writes `texts`; its state names its owner and revision."""
    writes = tuple(Write(stream, text.encode()) for text in texts)
    return Commit(owner, rev, state or f"state {rev} of {owner}".encode(), writes, live)


class MemoryBusHarness:
    def __init__(self) -> None:
        self._store = MemoryStore()

    def worker(self, member: str = "") -> Bus:
        return MemoryBus(self._store, audio_stream=AUDIO, end_stream=ENDS, member=member)

    def add(self, stream: str, data: bytes, maxlen: int = 0) -> str:
        return self._store.add(stream, data, maxlen)

    def entries(self, stream: str) -> list[RawEntry]:
        return self._store.streams.get(stream, [])

    def cut(self, stream: str, ids: list[str]) -> None:
        kept = self._store.streams[stream]
        kept[:] = [entry for entry in kept if entry[0].decode() not in ids]

    def drop(self, stream: str) -> None:
        del self._store.streams[stream]

    def lose_all(self) -> None:
        self._store.streams.clear()
        self._store.states.clear()
        self._store.live.clear()
        self._store.lease = self._store.fence = None


class RedisBusHarness:
    def __init__(self, url: str, workers_url: str = "", *, shared: bool = False) -> None:
        self.url = workers_url or url
        self.nodes = Nodes(self.url) if shared else None
        self.client = redis.Redis.from_url(url)
        self._workers: list[RedisBus] = []

    def worker(self, member: str = "") -> RedisBus:
        server = SharedServer(self.nodes, 0, AUDIO, ENDS) if self.nodes is not None else None
        bus = RedisBus(
            self.url, group=GROUP, audio_stream=AUDIO, end_stream=ENDS, member=member, server=server
        )
        self._workers.append(bus)
        return bus

    def add(self, stream: str, data: bytes, maxlen: int = 0) -> str:
        return cast(
            "bytes", self.client.xadd(stream, {"data": data}, maxlen=maxlen or None, approximate=False)
        ).decode()

    def entries(self, stream: str) -> list[RawEntry]:
        found = cast("list[tuple[bytes, dict[bytes, bytes]]]", self.client.xrange(stream))
        return [(name, [part for pair in fields.items() for part in pair]) for name, fields in found]

    def cut(self, stream: str, ids: list[str]) -> None:
        self.client.xdel(stream, *ids)

    def drop(self, stream: str) -> None:
        self.client.delete(stream)

    def lose_all(self) -> None:
        self.client.flushdb()

    async def aclose(self) -> None:
        for worker in self._workers:
            await worker.aclose()
        if self.nodes is not None:
            self.nodes.close()
        self.client.close()

"""The ways from a bus to its server: a single worker's own, or one that the shards of a node share.

A single worker has three lines of its own, and waits for audio on one of them. The shards of a fleet that lie
on one server share its lines: a thread and a connection for each shard would cost more than all that they do.
"""

from __future__ import annotations

import time
from typing import Protocol, TypeVar

from trio_asr.bus import streams
from trio_asr.bus.base import Batch, Page
from trio_asr.bus.connection import PipelinedConnection, options
from trio_asr.bus.line import Line, Steps
from trio_asr.bus.nodes import Nodes
from trio_asr.bus.streams import MOST_BYTES, AgainReader, Cadence, StreamReader
from trio_asr.wire.ids import EntryId

T = TypeVar("T")


class Server(Protocol):
    """The server of one worker, or of one shard.

    Raises:
        BusUnavailable: By each question, as `Bus` does.
    """

    async def ask(self, steps: Steps[T], *, urgent: bool = False) -> T:
        """Take the steps and return their result; `urgent` ones before all others."""
        ...

    def goes_on(self, floor: EntryId, added: int) -> None:
        """Begin with what an earlier reader knew, as `Bus.goes_on` does."""
        ...

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        """Read both streams, as `Bus.read` does."""
        ...

    async def read_again(self, after: EntryId) -> Page:
        """Read a page of the audio stream, as `Bus.read_again` does."""
        ...

    def close(self) -> None:
        """Close what is this worker's or shard's own."""
        ...


class OwnServer:
    """Lines of a worker's own. Reads have one to themselves: others would wait for their BLOCK."""

    def __init__(self, url: str, audio: str, ends: str) -> None:
        self._line = Line("redis", PipelinedConnection(url, options()))
        self._reading = Line(
            "redis-read", PipelinedConnection(url, options(streams.BLOCK_MS / 1000), MOST_BYTES)
        )
        self._behind = Line("redis-again", PipelinedConnection(url, options(), MOST_BYTES))
        self._reader, self._again = StreamReader(audio, ends), AgainReader(audio)
        self._cadence = Cadence()
        self._next_read = 0.0

    async def ask(self, steps: Steps[T], *, urgent: bool = False) -> T:
        return await self._line.ask(steps, urgent=urgent)

    def goes_on(self, floor: EntryId, added: int) -> None:
        self._reader.goes_on(floor, added)

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        batch = await self._reading.ask(self._read(audio_after, ends_after))
        self._next_read = time.monotonic() + self._cadence.after([batch])
        return batch

    def _read(self, audio_after: EntryId, ends_after: EntryId) -> Steps[Batch]:
        # Sleeping in the thread is cheap: in the event loop it would be one turn more for every read.
        time.sleep(max(0.0, self._next_read - time.monotonic()))
        return (yield from self._reader.read(audio_after, ends_after))

    async def read_again(self, after: EntryId) -> Page:
        return await self._behind.ask(self._again.read(after))

    def close(self) -> None:
        for line in (self._line, self._reading, self._behind):
            line.close()


class SharedServer:
    """A shard's way to the node that it lies on, with all others there; `slot` is its slot in a cluster."""

    def __init__(self, nodes: Nodes, slot: int, audio: str, ends: str) -> None:
        self._nodes, self._slot = nodes, slot
        self._reader, self._again = StreamReader(audio, ends, polled=True), AgainReader(audio)

    async def ask(self, steps: Steps[T], *, urgent: bool = False) -> T:
        return await self._nodes.ask(self._slot, lambda node: node.line.ask(steps, urgent=urgent))

    def goes_on(self, floor: EntryId, added: int) -> None:
        self._reader.goes_on(floor, added)

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        return await self._nodes.ask(
            self._slot, lambda node: node.poller.read(self._reader, audio_after, ends_after)
        )

    async def read_again(self, after: EntryId) -> Page:
        again = self._again
        return await self._nodes.ask(
            self._slot, lambda node: node.behind.ask(again.read(after), weight=again.weight)
        )

    def close(self) -> None:
        """Close nothing: the lines are not its own."""

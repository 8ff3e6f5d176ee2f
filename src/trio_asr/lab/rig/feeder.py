"""A producer of calls of stamped audio in real time, well-behaved or in one of many bad ways.

An entry counts as accepted once Redis has confirmed it. While Redis is away the feeder retries a batch, in
order, until it is answered; each shard has its own, so that one that is away stops no other. A batch that was
applied but not answered is then there twice, byte for byte, as with any producer that retries an XADD.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Any

import redis
import trio
from redis.exceptions import AskError, RedisClusterException

from trio_asr.client.audio import Recording
from trio_asr.client.producer import Call, Entries
from trio_asr.client.redis import RedisFailure, connect, connect_fleet
from trio_asr.core.fleet.places import SINGLE, Places
from trio_asr.lab.rig.legs import ROLES, hushed, stamped
from trio_asr.lab.rig.present import Present, fed
from trio_asr.lab.rig.producing import (
    FRAME_MS,
    Due,
    end_of,
    odd,
    scrambled,
    swapped,
    thinned,
    twice,
    whole,
    without,
)
from trio_asr.lab.rig.shape import PLAIN, Shape

RATE = 8000
MAX_BATCH_S = 2.0  # of a call's audio: a repeated batch has to stay within the window for repeats
RETRY_S = 0.1
SECOND_SERIES = 8000  # added to a call's number for the stamps of its second series


class Mode(StrEnum):
    """The behaviour of a call's producer."""

    PLAIN = "plain"
    TWICE = "twice"  # every entry is added twice
    DISORDER = "disorder"  # two of every five frames are swapped
    MISSING = "missing"  # 10 % of the frames never come
    INTERLEAVED = "interleaved"  # two series of seq under one id, as from two tracks
    END_EARLY = "end_early"  # the end is announced 2 s before the last frame
    END_TWICE = "end_twice"
    END_UNKNOWN = "end_unknown"  # ends of unknown calls come along with the call's own
    NO_END = "no_end"
    END_LATE = "end_late"  # the end comes `FedCall.late_end_s` after the last frame; the call is long over
    ODD = "odd"  # frames of 577 bytes
    AT_ONCE = "at_once"  # all of it is added when the call begins
    MIXED = "mixed"  # every other entry is JSON, the others are MessagePack
    CHANGE = "change"  # linear16 of one channel, and from `FedCall.at_s` on what its shape says
    SILENT = "silent"  # digital silence on the last channel, from `at_s` on for `for_s`
    HOLE = "hole"  # nothing comes from `at_s` on for `for_s`; positions tell
    SCRAMBLED = "scrambled"  # positions alone tell the order; entries overlap, and some come again


@dataclass(frozen=True)
class FedCall:
    """One call to feed; `number` is the call number in the stamps of its first channel (see `legs`).

    `at_s` and `for_s` are seconds after its beginning, and for how long, of what some modes do.
    """

    id: str
    number: int
    seconds: float
    mode: Mode = Mode.PLAIN
    begin_s: float = 0.0
    late_end_s: float = 10.0
    rate: int = RATE
    shape: Shape = PLAIN
    at_s: float = 0.0
    for_s: float = 0.0

    @property
    def samples(self) -> int:
        """The number of samples in one of its series."""
        return round(self.seconds * self.rate)

    @property
    def present(self) -> Present:
        """All its samples, of a call of one series and one format."""
        return fed(self.number, self.samples, self.shape.format(self.rate))

    def entries(self, epoch_ms: int) -> Iterator[Due]:
        """Generate all its entries, in order."""
        frames = self._frames(self.number, epoch_ms)
        if self.mode is Mode.INTERLEAVED:
            frames = heapq.merge(frames, self._frames(self.number + SECOND_SERIES, epoch_ms))
        for due in heapq.merge(frames, self._ends(epoch_ms)):
            yield due._replace(due=self.begin_s + (0.0 if self.mode is Mode.AT_ONCE else due.due))

    def _frames(self, number: int, epoch_ms: int) -> Iterator[Due]:
        call, chance = self._call(number, self.shape), random.Random(number)  # noqa: S311 (not for secrets)
        frames = whole(lambda _: call, epoch_ms)
        match self.mode:
            case Mode.TWICE:
                frames = twice(frames)
            case Mode.DISORDER:
                frames = swapped(frames)
            case Mode.MISSING:
                frames = thinned(frames, chance)
            case Mode.HOLE:
                frames = without(frames, self.at_s, self.at_s + self.for_s)
            case Mode.ODD:
                frames = odd(call, epoch_ms)
            case Mode.SCRAMBLED:
                frames = scrambled(call, chance, epoch_ms)
            case Mode.MIXED:
                both = [replace(call, entries=entries) for entries in Entries]
                frames = whole(lambda i: both[i % 2], epoch_ms)
            case Mode.CHANGE:
                mono = replace(self.shape, channels=1, encoding="linear16")
                before, first = self._call(number, mono), round(self.at_s * 1000 / FRAME_MS)
                frames = whole(lambda i: before if i < first else call, epoch_ms)
            case _:
                pass
        return frames

    def _call(self, number: int, shape: Shape) -> Call:
        form = shape.format(self.rate)
        audio = stamped(form, number, 0, self.samples)
        if self.mode is Mode.SILENT:
            audio = hushed(form, audio, round(self.at_s * self.rate), round(self.for_s * self.rate))
        return Call(
            self.id,
            Recording(audio, form),
            f"tenant-{self.number}",  # two series of one call are of one tenant
            ROLES if form.channels > 1 else (),
            shape.entries,
            shape.positions,
        )

    def _ends(self, epoch_ms: int) -> list[Due]:
        over, at_ms = self.seconds, epoch_ms + round(self.seconds * 1000)
        end = end_of(self.id, at_ms)
        match self.mode:
            case Mode.END_EARLY:
                return [Due(over - 2.0, True, end), Due(over, True, end)]
            case Mode.END_TWICE:
                return [Due(over, True, end), Due(over + 0.1, True, end)]
            case Mode.END_UNKNOWN:
                others = [end_of(f"{self.id}-nobody-{i}", epoch_ms) for i in range(20)]
                return [*(Due(over - 1, True, other) for other in others), Due(over, True, end)]
            case Mode.NO_END:
                return []
            case Mode.END_LATE:
                return [Due(over + self.late_end_s, True, end)]
            case _:
                return [Due(over, True, end)]


class Feeder:
    """A producer of several calls, each in its shard if there are any.

    `maxlen` trims the audio stream at each XADD, as careless producers do.
    """

    def __init__(
        self, url: str, calls: Sequence[FedCall], places: Places = SINGLE, *, maxlen: int = 0
    ) -> None:
        self.calls = calls
        self.began = 0.0  # on trio's clock
        self.troubles = 0  # batches that had to be retried
        self.accepted = 0  # audio entries
        self._url, self._places, self._maxlen = url, places, maxlen

    @property
    def seconds(self) -> float:
        """The seconds that feeding takes."""
        return max(
            call.begin_s + call.seconds + (call.late_end_s if call.mode is Mode.END_LATE else 0)
            for call in self.calls
        )

    async def run(self, *, task_status: trio.TaskStatus[float] = trio.TASK_STATUS_IGNORED) -> None:
        """Feed from now on; `nursery.start` returns the time of the first sample."""
        self.began = trio.current_time()
        task_status.started(self.began)
        epoch_ms = int(time.time() * 1000)
        shards: dict[str, list[FedCall]] = defaultdict(list)
        for call in self.calls:
            shards[self._places.of(call.id)].append(call)
        async with trio.open_nursery() as nursery:
            for prefix, calls in shards.items():
                entries = heapq.merge(*(call.entries(epoch_ms) for call in calls))
                nursery.start_soon(self._feed, _Line(self._url, prefix, self._maxlen), entries)

    async def _feed(self, line: _Line, entries: Iterator[Due]) -> None:
        ahead = next(entries, None)
        with closing(line):
            while ahead is not None:
                due = ahead.due
                await trio.sleep_until(self.began + due)
                until = min(trio.current_time() - self.began, due + MAX_BATCH_S)
                batch = [ahead]
                ahead = None
                for entry in entries:
                    if entry.due > until:
                        ahead = entry
                        break
                    batch.append(entry)
                await self._add(line, batch)

    async def _add(self, line: _Line, batch: Sequence[Due]) -> None:
        """Add a batch, all or nothing, retrying for as long as it takes."""
        while True:
            try:
                await trio.to_thread.run_sync(line.publish, batch)
            except (redis.RedisError, RedisClusterException, RedisFailure):
                self.troubles += 1
                await trio.sleep(RETRY_S)
            else:
                self.accepted += sum(not entry.ends for entry in batch)
                return


class _Line:
    """A client that adds to one shard. All its keys are in one slot, so that a transaction can have them."""

    def __init__(self, url: str, prefix: str, maxlen: int) -> None:
        self._url, self._prefix, self._maxlen = url, prefix, maxlen
        self._client: Any = None

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def publish(self, batch: Sequence[Due]) -> None:
        """Add entries. After a failure it asks anew where the shard is. Blocks."""
        try:
            if self._client is None:
                self._client = connect_fleet(self._url)
            self._publish(batch)
        except BaseException:
            self.close()
            raise

    def _publish(self, batch: Sequence[Due]) -> None:
        entries = iter(batch)
        while piece := list(islice(entries, 5000)):
            try:
                self._execute(self._client.pipeline(transaction=True), piece)
            except AskError as error:  # its keys have gone ahead of the slot
                self._ask(error, piece)

    def _ask(self, error: AskError, piece: Sequence[Due]) -> None:
        """Add entries where a slot is on its way to, which the library does not do with a transaction."""
        with (
            connect(f"redis://{error.host}:{error.port}") as there,
            there.pipeline(transaction=True) as pipeline,
        ):
            pipeline.immediate_execute_command("ASKING")
            self._execute(pipeline, piece)
        # It takes the slot to be there for good, where it is not served yet without asking.
        self._client.close()
        self._client = connect_fleet(self._url)

    def _execute(self, pipeline: Any, piece: Sequence[Due]) -> None:
        for entry in piece:
            field, document = entry.entry
            cut = {"maxlen": self._maxlen, "approximate": False} if self._maxlen else {}
            if entry.ends:
                pipeline.xadd(self._prefix + "call_end", {field: document})
            else:
                pipeline.xadd(self._prefix + "audio_stream", {field: document}, **cut)
        pipeline.execute()


def calls(count: int, seconds: float, mode: Mode = Mode.PLAIN, *, name: str = "call") -> list[FedCall]:
    """Return `count` calls that begin within a second of each other."""
    return [
        FedCall(f"{name}-{number:03}", number, seconds, mode, begin_s=number * 0.9 / count)
        for number in range(1, count + 1)
    ]

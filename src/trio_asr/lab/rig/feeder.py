"""A producer of calls of stamped audio in real time, well-behaved or in one of many bad ways.

An entry counts as accepted once Redis has confirmed it. While Redis is away the feeder retries a batch, in
order, until it is answered. A batch that was applied but not answered is then there twice, byte for byte, as
with any producer that retries an XADD.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

import redis
import trio

from trio_asr.client.producer import Call
from trio_asr.client.redis import connect
from trio_asr.simulator.stamps import stamp

RATE = 8000
FRAME_MS = 20
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
    ODD = "odd"  # frames of 577 bytes every 36 ms
    AT_ONCE = "at_once"  # all of it is added when the call begins


class Entry(NamedTuple):
    """An entry to add, `due` seconds after the start."""

    due: float
    ends: bool
    data: bytes


@dataclass(frozen=True)
class FedCall:
    """One call to feed; `number` is the call number in its stamps."""

    id: str
    number: int
    seconds: float
    mode: Mode = Mode.PLAIN
    begin_s: float = 0.0
    late_end_s: float = 10.0
    rate: int = RATE

    @property
    def samples(self) -> int:
        """The number of samples in one of its series."""
        return round(self.seconds * self.rate)

    def entries(self, epoch_ms: int) -> Iterator[Entry]:
        """Generate all its entries, in order."""
        if self.mode is Mode.ODD:
            yield from self._odd(epoch_ms)
            return
        frames = self._frames(self.number, epoch_ms)
        if self.mode is Mode.AT_ONCE:
            entries = self._with_end(frames, epoch_ms)
            yield from (entry._replace(due=self.begin_s) for entry in entries)
        elif self.mode is Mode.INTERLEAVED:
            yield from self._with_end(
                heapq.merge(frames, self._frames(self.number + SECOND_SERIES, epoch_ms)), epoch_ms
            )
        else:
            yield from self._with_end(_disturbed(frames, self.mode, self.number), epoch_ms)

    def _frames(self, number: int, epoch_ms: int) -> Iterator[Entry]:
        pcm = stamp(number, 0, self.samples)
        call = Call(self.id, pcm, tenant_id=f"tenant-{number}", rate=self.rate)
        for i in range(call.frame_count(FRAME_MS)):
            document = call.frame(i, FRAME_MS, epoch_ms + i * FRAME_MS)
            # A frame exists only once its last sample was spoken.
            yield Entry(self.begin_s + (i + 1) * FRAME_MS / 1000, False, document)

    def _odd(self, epoch_ms: int) -> Iterator[Entry]:
        """Generate frames cut in mid-sample; their byte rate is slightly above real time."""
        pcm, size = stamp(self.number, 0, self.samples), 577
        for i in range(0, len(pcm), size):
            index = i // size
            frame = Call(self.id, pcm[i : i + size], tenant_id="odd", rate=self.rate)
            document = frame.frame(0, 10_000, epoch_ms + 36 * index).replace(
                b'"seq":1,', b'"seq":%d,' % (index + 1)
            )
            yield Entry(self.begin_s + (index + 1) * 0.036, False, document)
        yield Entry(self.begin_s + (len(pcm) // size + 1) * 0.036, True, self._end(epoch_ms))

    def _with_end(self, frames: Iterator[Entry], epoch_ms: int) -> Iterator[Entry]:
        end = self._end(epoch_ms)
        over = self.begin_s + self.seconds
        ends = {
            Mode.END_EARLY: [Entry(over - 2.0, True, end), Entry(over, True, end)],
            Mode.END_TWICE: [Entry(over, True, end), Entry(over + 0.1, True, end)],
            Mode.END_UNKNOWN: [
                *(Entry(over - 1, True, _end(f"{self.id}-nobody-{i}", epoch_ms)) for i in range(20)),
                Entry(over, True, end),
            ],
            Mode.NO_END: [],
            Mode.END_LATE: [Entry(over + self.late_end_s, True, end)],
        }
        yield from heapq.merge(frames, ends.get(self.mode, [Entry(over, True, end)]))

    def _end(self, epoch_ms: int) -> bytes:
        return _end(self.id, epoch_ms + round(self.seconds * 1000))


def _end(interaction_id: str, epoch_ms: int) -> bytes:
    return Call(interaction_id, b"").end(epoch_ms)


def _disturbed(frames: Iterator[Entry], mode: Mode, seed: int) -> Iterator[Entry]:
    chance = random.Random(seed)  # noqa: S311 (not for secrets)
    for i, frame in enumerate(frames):
        match mode:
            case Mode.TWICE:
                yield frame
                yield frame
            case Mode.DISORDER if i % 5 == 3 and (following := next(frames, None)):
                yield following._replace(due=frame.due)
                yield frame
            case Mode.MISSING if i and chance.random() < 0.1:
                pass
            case _:
                yield frame


class Feeder:
    """A producer of several calls. `maxlen` trims the audio stream at each XADD, as careless producers do."""

    def __init__(self, url: str, calls: Sequence[FedCall], *, maxlen: int = 0) -> None:
        self.calls = calls
        self.began = 0.0  # on trio's clock
        self.troubles = 0  # batches that had to be retried
        self.accepted = 0  # audio entries
        self._url, self._maxlen = url, maxlen

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
        entries = heapq.merge(*(call.entries(epoch_ms) for call in self.calls))
        ahead = next(entries, None)
        with connect(self._url) as client:
            while ahead is not None:
                await trio.sleep_until(self.began + ahead.due)
                until = min(trio.current_time() - self.began, ahead.due + MAX_BATCH_S)
                batch = [ahead]
                ahead = None
                for entry in entries:
                    if entry.due > until:
                        ahead = entry
                        break
                    batch.append(entry)
                await self._add(client, batch)

    async def _add(self, client: redis.Redis, batch: Sequence[Entry]) -> None:
        """Add a batch, all or nothing, retrying for as long as it takes."""
        while True:
            try:
                await trio.to_thread.run_sync(self._publish, client, batch)
            except redis.RedisError:
                self.troubles += 1
                await trio.sleep(RETRY_S)
            else:
                self.accepted += sum(not entry.ends for entry in batch)
                return

    def _publish(self, client: redis.Redis, batch: Sequence[Entry]) -> None:
        entries = iter(batch)
        while piece := list(islice(entries, 5000)):
            pipeline: Any = client.pipeline(transaction=True)
            for entry in piece:
                if entry.ends:
                    pipeline.xadd("call_end", {"data": entry.data})
                else:
                    cut = {"maxlen": self._maxlen, "approximate": False} if self._maxlen else {}
                    pipeline.xadd("audio_stream", {"data": entry.data}, **cut)
            pipeline.execute()


def calls(count: int, seconds: float, mode: Mode = Mode.PLAIN, *, name: str = "call") -> list[FedCall]:
    """Return `count` calls that begin within a second of each other."""
    return [
        FedCall(f"{name}-{number:03}", number, seconds, mode, begin_s=number * 0.9 / count)
        for number in range(1, count + 1)
    ]

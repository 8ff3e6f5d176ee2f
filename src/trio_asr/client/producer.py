"""A small telephony ingest: cuts recordings into frames and publishes them as calls, in real time.

The first half is pure: JSON documents, field for field as the daemon's producers write them. `play` puts them
on Redis. Each tick sends one frame of every call in one pipeline. Ticks are timed from the start, so that a
late tick does not delay those after it.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import redis
import trio

from trio_asr.client.audio import DEFAULT_RATE, SAMPLE_BYTES
from trio_asr.client.redis import connect, redis_failure
from trio_asr.wire.frames import Junk, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_TENANT = "demo"
FRAME_MS = 20


class IdRefused(Exception):
    """An id that the daemon would reject; the message says why."""


def usable_id(interaction_id: str) -> str:
    """Return the id if the daemon accepts it.

    Raises:
        IdRefused: It does not; every frame would become a dead letter.
    """
    try:
        check_id(interaction_id)
    except Junk as refused:
        raise IdRefused(f"the daemon takes no such call: {refused}") from None
    return interaction_id


@dataclass(frozen=True)
class Call:
    """A recording, and its identity on the stream."""

    interaction_id: str
    pcm: bytes
    tenant_id: str = DEFAULT_TENANT
    rate: int = DEFAULT_RATE

    def frame_count(self, frame_ms: int) -> int:
        """Return the number of frames of `frame_ms` each; the last one may be shorter."""
        return -(-len(self.pcm) // self._frame_bytes(frame_ms))

    def frame(self, number: int, frame_ms: int, timestamp_ms: int) -> bytes:
        """Return the document of frame `number` (from 0)."""
        size = self._frame_bytes(frame_ms)
        return msgspec.json.encode(
            {
                "tenant_id": self.tenant_id,
                "interaction_id": self.interaction_id,
                "seq": number + 1,
                "timestamp_ms": timestamp_ms,
                "sample_rate": self.rate,
                "encoding": "pcm16",
                "audio": base64.b64encode(self.pcm[number * size : (number + 1) * size]).decode("ascii"),
            }
        )

    def end(self, timestamp_ms: int, reason: str = "stopped") -> bytes:
        """Return the document that ends the call."""
        return msgspec.json.encode(
            {
                "interaction_id": self.interaction_id,
                "tenant_id": self.tenant_id,
                "call_sid": self.interaction_id,
                "stream_sid": self.interaction_id,
                "reason": reason,
                "timestamp_ms": timestamp_ms,
            }
        )

    def _frame_bytes(self, frame_ms: int) -> int:
        return self.rate * frame_ms // 1000 * SAMPLE_BYTES


@dataclass(frozen=True)
class Source:
    """The streams that calls are played to, and the pace."""

    redis_url: str
    audio_stream: str = "audio_stream"
    call_end_stream: str = "call_end"
    frame_ms: int = FRAME_MS
    speed: float = 1.0
    send_end: bool = True

    def __post_init__(self) -> None:
        if self.frame_ms < 1:
            raise ValueError(f"frame_ms is {self.frame_ms}, must be at least 1")
        if not self.speed > 0:
            raise ValueError(f"speed is {self.speed}, must be above 0")

    @property
    def tick(self) -> float:
        """Seconds from one frame to the next."""
        return self.frame_ms / 1000 / self.speed


async def play(
    source: Source,
    calls: Sequence[Call],
    *,
    task_status: trio.TaskStatus[float] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Play all calls at once, starting now; `nursery.start` returns the time of their first sample.

    Nothing is retried, since the daemon could hear a repeated frame twice.

    Raises:
        RedisFailure: Redis cannot be reached.
    """
    with connect(source.redis_url) as client, redis_failure(source.redis_url):
        await trio.to_thread.run_sync(client.ping)
        start = trio.current_time()
        epoch_ms = time.time() * 1000
        task_status.started(start)
        done = 0
        total = max((call.frame_count(source.frame_ms) for call in calls), default=0)
        while done < total:
            # A frame exists only once its last sample was spoken.
            await trio.sleep_until(start + (done + 1) * source.tick)
            due = min(total, max(done + 1, int((trio.current_time() - start) / source.tick)))
            batch = _batch(source, calls, range(done, due), epoch_ms)
            await trio.to_thread.run_sync(_publish, client, batch)
            done = due


def _batch(source: Source, calls: Sequence[Call], numbers: range, epoch_ms: float) -> list[tuple[str, bytes]]:
    """Return the entries of some frames of all calls as (stream, document), ends of calls included."""
    entries: list[tuple[str, bytes]] = []
    for number in numbers:
        timestamp_ms = int(epoch_ms + number * source.tick * 1000)
        for call in calls:
            count = call.frame_count(source.frame_ms)
            if number < count:
                document = call.frame(number, source.frame_ms, timestamp_ms)
                entries.append((source.audio_stream, document))
            if number == count - 1 and source.send_end:
                entries.append((source.call_end_stream, call.end(timestamp_ms)))
    return entries


def _publish(client: redis.Redis, entries: Sequence[tuple[str, bytes]]) -> None:
    pipeline: Any = client.pipeline(transaction=False)
    for stream, document in entries:
        pipeline.xadd(stream, {"data": document})
    pipeline.execute()

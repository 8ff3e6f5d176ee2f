"""A small telephony ingest: cuts recordings into frames and publishes them as calls, in real time.

The first half is pure: documents, in JSON or MessagePack, field for field as the daemon's producers write
them. `play` puts them on Redis. Each tick sends one frame of every call in one pipeline. Ticks are timed from
the start, so that a late tick does not delay those after it.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import redis
import trio

from trio_asr.client.redis import connect, connect_fleet, redis_failure
from trio_asr.wire.audio_format import Encoding
from trio_asr.wire.entries import decode_frame
from trio_asr.wire.frames import Junk, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_asr.client.audio import Recording

DEFAULT_TENANT = "demo"
FRAME_MS = 20
ENCODING_NAMES: dict[Encoding, str] = {"linear16": "pcm16", "mulaw": "mulaw", "alaw": "alaw"}


class CallRefused(Exception):
    """A call that the daemon would reject; the message says why."""


def usable_id(interaction_id: str) -> str:
    """Return the id if the daemon accepts it.

    Raises:
        CallRefused: It does not; every frame would become a dead letter.
    """
    try:
        check_id(interaction_id)
    except Junk as refused:
        raise CallRefused(f"the daemon takes no such call: {refused}") from None
    return interaction_id


class Entries(StrEnum):
    """How the documents of frames are written. An end of a call is JSON in any case."""

    JSON = "json"
    MSGPACK = "msgpack"

    @property
    def field(self) -> str:
        """The entry's field that holds the document."""
        return "data" if self is Entries.JSON else "m"


class Entry(NamedTuple):
    """What an entry holds: one document, in the field that says how it is written."""

    field: str
    document: bytes


@dataclass(frozen=True)
class Call:
    """A recording, its identity on the stream, and how its frames are written.

    `roles` are those of its channels, in order; without any, none are told. Nor are positions, unless asked
    for with `positions`.
    """

    interaction_id: str
    recording: Recording
    tenant_id: str = DEFAULT_TENANT
    roles: tuple[str, ...] = ()
    entries: Entries = Entries.JSON
    positions: bool = False

    def frame_count(self, frame_ms: int) -> int:
        """Return the number of frames of `frame_ms` each; the last one may be shorter."""
        size = self._frame_samples(frame_ms) * self.recording.format.width
        return -(-len(self.recording.audio) // size)

    def frame(self, number: int, frame_ms: int, timestamp_ms: int) -> Entry:
        """Return the entry of frame `number` (from 0)."""
        samples = self._frame_samples(frame_ms)
        return self.cut(number * samples, samples, number + 1, timestamp_ms)

    def cut(self, first: int, samples: int, seq: int | None, timestamp_ms: int) -> Entry:
        """Return an entry of `samples` samples from sample `first` on, or of what there is of them."""
        width = self.recording.format.width
        document = self.envelope(seq, timestamp_ms)
        if self.positions:
            document["position"] = first
        audio = self.recording.audio[first * width : (first + samples) * width]
        return entry(document, audio, self.entries)

    def envelope(self, seq: int | None, timestamp_ms: int) -> dict[str, Any]:
        """Return the document of a frame less its audio and its position."""
        form = self.recording.format
        document: dict[str, Any] = {
            "tenant_id": self.tenant_id,
            "interaction_id": self.interaction_id,
            **({} if seq is None else {"seq": seq}),
            "timestamp_ms": timestamp_ms,
            "sample_rate": form.rate,
            "encoding": ENCODING_NAMES[form.encoding],
        }
        if form.channels > 1:
            document["channels"] = form.channels
        if self.roles:
            document["roles"] = self.roles
        return document

    def end(self, timestamp_ms: int, reason: str = "stopped") -> Entry:
        """Return the entry that ends the call."""
        document = msgspec.json.encode(
            {
                "interaction_id": self.interaction_id,
                "tenant_id": self.tenant_id,
                "call_sid": self.interaction_id,
                "stream_sid": self.interaction_id,
                "reason": reason,
                "timestamp_ms": timestamp_ms,
            }
        )
        return Entry(Entries.JSON.field, document)

    def _frame_samples(self, frame_ms: int) -> int:
        return self.recording.format.rate * frame_ms // 1000


def entry(document: dict[str, Any], audio: bytes, entries: Entries) -> Entry:
    """Return the entry of a frame whose document lacks only the audio."""
    if entries is Entries.MSGPACK:
        return Entry(entries.field, msgspec.msgpack.encode(document | {"audio": audio}))
    text = base64.b64encode(audio).decode("ascii")
    return Entry(entries.field, msgspec.json.encode(document | {"audio": text}))


def usable_call(call: Call, frame_ms: int) -> Call:
    """Return a call if the daemon accepts what its entries say.

    Raises:
        CallRefused: It does not, or would understand something else.
    """
    try:
        first = call.frame(0, frame_ms, 0)
        frame = decode_frame([first.field.encode(), first.document], call.recording.format.rate)
    except Junk as refused:
        raise CallRefused(f"the daemon takes no such call: {refused}") from None
    except UnicodeEncodeError:
        raise CallRefused("the daemon takes no such call: it has texts that are not UTF-8") from None
    if frame.tenant_id != call.tenant_id:
        raise CallRefused(f"the daemon takes no tenant of {len(call.tenant_id)} characters")
    return call


@dataclass(frozen=True)
class Source:
    """The streams that calls are played to, and the pace. Those of a fleet may be on a cluster."""

    redis_url: str
    audio_stream: str = "audio_stream"
    call_end_stream: str = "call_end"
    frame_ms: int = FRAME_MS
    speed: float = 1.0
    send_end: bool = True
    fleet: bool = False

    def __post_init__(self) -> None:
        if self.frame_ms < 1:
            raise ValueError(f"frame_ms is {self.frame_ms}, must be at least 1")
        if not self.speed > 0:
            raise ValueError(f"speed is {self.speed}, must be above 0")

    def connect(self) -> Any:
        """Return a client for its streams. Blocks, and raises `RedisFailure` as what it calls does."""
        return (connect_fleet if self.fleet else connect)(self.redis_url)

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
    opened = await trio.to_thread.run_sync(source.connect) if source.fleet else source.connect()
    with opened as client, redis_failure(source.redis_url):
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


def _batch(source: Source, calls: Sequence[Call], numbers: range, epoch_ms: float) -> list[tuple[str, Entry]]:
    """Return some frames of all calls as (stream, entry), ends of calls included."""
    entries: list[tuple[str, Entry]] = []
    for number in numbers:
        timestamp_ms = int(epoch_ms + number * source.tick * 1000)
        for call in calls:
            count = call.frame_count(source.frame_ms)
            if number < count:
                entries.append((source.audio_stream, call.frame(number, source.frame_ms, timestamp_ms)))
            if number == count - 1 and source.send_end:
                entries.append((source.call_end_stream, call.end(timestamp_ms)))
    return entries


def _publish(client: redis.Redis, entries: Sequence[tuple[str, Entry]]) -> None:
    pipeline: Any = client.pipeline(transaction=False)
    for stream, added in entries:
        pipeline.xadd(stream, {added.field: added.document})
    pipeline.execute()

"""A passive reader of what the daemon publishes: plain XREAD, which changes nothing in Redis.

Each call has a transcript stream of its own, so new calls have to be discovered. A call's first event on the
events stream announces it; a periodic SCAN finds the streams of a worker that writes no events.
"""

from __future__ import annotations

import os.path
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec
import redis

from trio_asr.config import RedisConfig

PLACEHOLDER = "{interaction_id}"
DEFAULT_TEMPLATE = RedisConfig().transcript_stream
DEFAULT_EVENTS = RedisConfig().events_stream
BLOCK_MS = 200
"""How long one read may block, in ms: also the delay before Ctrl-C or a newly found stream takes effect."""
COUNT = 200
SCAN_EVERY_S = 3.0
RECENT_MS = 15 * 60 * 1000
"""Transcript streams are never deleted; only those written to within this time are worth following."""


class Message(msgspec.Struct, frozen=True):
    """One transcript. Fields that only newer workers write have a default.

    One of a call of several channels has a `channel`, and a `role` if it is known who is on it.
    """

    interaction_id: str
    type: str
    text: str
    seq: int = 0
    timestamp_ms: int = 0
    start_ms: int | None = None
    end_ms: int | None = None
    confidence: float | None = None
    speech_final: bool = False
    connection: int | None = None
    channel: int | None = None
    role: str | None = None

    @property
    def final(self) -> bool:
        return self.type == "final"

    @property
    def who(self) -> str | None:
        """Who says it, in a call of several channels."""
        return None if self.channel is None else self.role or f"channel {self.channel}"


class Event(msgspec.Struct, frozen=True):
    """One lifecycle event of a call: started, connection_opened, ..., ended."""

    event: str
    interaction_id: str
    timestamp_ms: int = 0
    reason: str | None = None
    connections: int | None = None
    duration_ms: int | None = None
    meta: dict[str, Any] = {}


_message = msgspec.json.Decoder(Message)
_event = msgspec.json.Decoder(Event)


class TranscriptReader:
    """A reader that follows the streams of given calls, or of all present and future calls.

    With `from_start` it also reads what was already published; without it, only what comes from now on.
    `prefixes` are what the streams' names begin with: of a fleet, one for each shard. It is synchronous: a
    blocking read belongs in a thread, or in a program that does nothing else.
    """

    def __init__(
        self,
        client: redis.Redis | redis.RedisCluster,
        *,
        template: str = DEFAULT_TEMPLATE,
        events: str = DEFAULT_EVENTS,
        from_start: bool = False,
        prefixes: Sequence[str] = ("",),
    ) -> None:
        self._client: Any = client
        self._template = template
        self._events = {f"{prefix}{events}".encode(): prefix for prefix in prefixes}
        self._from_start = from_start
        self._positions: dict[bytes, bytes] = {}
        self._discovering = False
        self._next_scan = 0.0

    def follow(self, interaction_id: str, prefix: str = "") -> None:
        """Read the call's stream whose name begins with `prefix`, from its beginning."""
        key = prefix + self._template.replace(PLACEHOLDER, interaction_id)
        self._positions.setdefault(key.encode(), b"0")

    def discover(self) -> None:
        """Follow every call that exists or appears later."""
        self._discovering = True
        events = [*self._events]
        starts = [b"0"] * len(events) if self._from_start else self._last_ids(events)
        self._positions |= zip(events, starts, strict=True)
        self._scan(first=True)

    def read(self) -> list[Message | Event]:
        """Return what is new, after at most a short wait; skip entries that cannot be decoded."""
        if self._discovering and time.monotonic() >= self._next_scan:
            self._scan(first=False)
        if not self._positions:
            time.sleep(BLOCK_MS / 1000)
            return []
        found: list[Message | Event] = []
        for key, entries in self._ask():
            for chunk in entries:
                for entry_id, fields in [chunk] if isinstance(chunk, tuple) else chunk:
                    self._positions[key] = entry_id
                    found += self._understand(key, fields)
        return found

    def _ask(self) -> Iterable[tuple[bytes, Any]]:
        """Return the entries of each stream that has any, after at most a short wait."""
        if isinstance(self._client, redis.RedisCluster):
            # No command may ask for streams of two slots, and none that waits may be in a pipeline.
            slots: dict[int, dict[bytes, bytes]] = defaultdict(dict)
            cluster: Any = self._client
            for key, after in self._positions.items():
                slots[cluster.keyslot(key)][key] = after
            pipe = cluster.pipeline()
            for positions in slots.values():
                pipe.xread(positions, count=COUNT)
            answers = [answer for answer in pipe.execute() if answer]
            if not answers:
                time.sleep(BLOCK_MS / 1000)
        else:
            answers = [self._client.xread(dict(self._positions), count=COUNT, block=BLOCK_MS) or []]
        # Lists of pairs; under RESP3, dicts of lists of lists.
        each = (answer.items() if isinstance(answer, dict) else answer for answer in answers)
        return chain.from_iterable(each)

    def _understand(self, key: bytes, fields: dict[bytes, bytes]) -> list[Message | Event]:
        data = (fields or {}).get(b"data", b"")
        try:
            if key not in self._events:
                return [_message.decode(data)]
            event = _event.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []
        self.follow(event.interaction_id, self._events[key])
        return [event]

    def _scan(self, *, first: bool) -> None:
        """Find unknown streams. Those of the first scan count as already published, later ones as new."""
        self._next_scan = time.monotonic() + SCAN_EVERY_S
        begin, _, end = self._template.partition(PLACEHOLDER)
        begins = [prefix + begin for prefix in self._events.values()]
        # One look at all keys, however many shards there are.
        shared = os.path.commonprefix(begins)  # noqa: RUF071 (names, no paths)
        pattern = f"{_literal(shared)}*{_literal(end)}"
        ours = tuple(one.encode() for one in begins)
        found = [
            key
            for key in self._client.scan_iter(match=pattern, count=1000, _type="stream")
            if key not in self._positions and key.startswith(ours)
        ]
        now_s, _ = self._client.time()
        for key, last in zip(found, self._last_ids(found), strict=True):
            if int(last.partition(b"-")[0]) >= now_s * 1000 - RECENT_MS:
                self._positions[key] = last if first and not self._from_start else b"0"

    def _last_ids(self, keys: list[bytes]) -> list[bytes]:
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.xrevrange(key, count=1)
        return [entries[0][0] if entries else b"0" for entries in pipeline.execute()]


def _literal(text: str) -> str:
    """Escape a text for a Redis glob pattern."""
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)

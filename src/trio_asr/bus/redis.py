"""The Bus on Redis or Valkey (6.2 or newer), over redis-py's blocking client in worker threads.

In batches that costs less CPU than the native-async client. What comes often has a connection of its own, one
for reading and one for commits: with one for both, every command waits for the other's BLOCK, which is what
starved the old worker. redis-py's own retries are off: by default it repeats a timed-out EVALSHA by itself.
"""

from __future__ import annotations

import functools
import re
import secrets
import time
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, TypeVar, cast

import redis
import redis.exceptions
import trio
from redis.backoff import NoBackoff
from redis.retry import Retry

from trio_asr.bus import groups
from trio_asr.bus.base import Answer, Batch, BusUnavailable, Consumer, RawEntry, Tenure
from trio_asr.bus.line import Command, Line
from trio_asr.bus.thread import WorkerThread
from trio_asr.core import entries
from trio_asr.core.checkpoint import Commit, Outcome, Stored
from trio_asr.core.entries import EntryId

BLOCK_MS = 1000
READ_COUNT = 1000
FIRST_COUNT = 32  # how large entries are is not known yet; the count doubles from read to read
READ_BYTES = 8 * 1024 * 1024  # what one read should bring at the most; large entries lower the count
# Reads are as far apart as brings about `BATCH` entries, within bounds: few cost nearly as much as many, but
# many make many calls due at once, and the last of them wait for the first.
BATCH = 400
LEAST_CADENCE_S, CADENCE_S = 0.01, 0.04
COMMIT_CADENCE_S = 0.015  # nor commits than this
SOCKET_TIMEOUT_S = 3.0
ENDED_TTL_MS = 24 * 3600 * 1000  # checkpoints outlive their call by a day
LOAD_PAGE = 500
# Refusals that are the server's and no commit's: a replica, one that is starting or without memory, one that
# cannot save, has too few replicas, or is held up by somebody's script. For some the library has classes.
UNWILLING = (
    redis.ReadOnlyError,
    redis.BusyLoadingError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MasterDownError,
)
CODES = "READONLY|LOADING|OOM|MISCONF|NOREPLICAS|BUSY"
# Before 7.0 a script's error is wrapped: "ERR Error running script (...): @user_script:23: @user_script: 23:
# -READONLY You can't write against a read only replica."
UNWILLING_TEXT = re.compile(rf"(?:^|@user_script: ?\d+: -)({CODES}) ")

T = TypeVar("T")


class RedisBus:
    """One worker's side of the bus."""

    cadence_s = COMMIT_CADENCE_S

    def __init__(self, url: str, *, group: str, audio_stream: str, end_stream: str) -> None:
        self._token = ""
        self._asked = ""  # a token whose acquiring was not answered yet
        self._group = group
        self._audio, self._ends = audio_stream, end_stream
        prefix = f"trio_asr:{{{group}}}:"
        self._lease_key, self._fence_key = prefix + "lease", prefix + "fence"
        self._live_key, self._state_prefix = prefix + "live", prefix + "call:"
        self._reader_key = prefix + "reader"
        self._client = redis.Redis.from_url(url, **_options(SOCKET_TIMEOUT_S))
        blocking = _options(SOCKET_TIMEOUT_S + BLOCK_MS / 1000)
        self._reading = Line(redis.ConnectionPool.from_url(url, **blocking))
        self._writing = Line(self._client.connection_pool)
        self._read_thread, self._thread = WorkerThread("redis-read"), WorkerThread("redis")
        self._commit = self._client.register_script(_script("commit.lua"))
        self._lease = self._client.register_script(_script("lease.lua"))
        self._count = FIRST_COUNT
        self._next_read = 0.0
        self._cadence_s = CADENCE_S

    # -- ownership -------------------------------------------------------------------------------------

    async def acquire(self, ttl_ms: int) -> bool:
        # Another token for each tenure; but if the answer is lost, the lease is ours perhaps: the same again.
        self._token = self._asked = self._asked or secrets.token_hex(16)
        tenure = await self._tenure("acquire", ttl_ms)
        self._asked = ""
        return tenure is Tenure.HELD

    async def renew(self, ttl_ms: int) -> Tenure:
        return await self._tenure("renew", ttl_ms)

    async def release(self) -> None:
        await self._tenure("release", 0)

    async def _tenure(self, verb: str, ttl_ms: int) -> Tenure:
        keys, args = [self._lease_key, self._fence_key], [verb, self._token, str(ttl_ms)]
        answer = await self._run(functools.partial(self._lease, keys=keys, args=args))
        return Tenure(cast("bytes", answer).decode())

    # -- reading ---------------------------------------------------------------------------------------

    async def consumers(self) -> list[Consumer]:
        return await self._run(
            functools.partial(groups.consumers_of, self._client, self._group, (self._audio, self._ends))
        )

    async def neighbours(self) -> list[Consumer]:
        return await self._run(
            functools.partial(groups.neighbours_of, self._client, self._group, self._audio)
        )

    async def now_ms(self) -> int:
        seconds, micros = cast("tuple[int, int]", await self._run(self._client.time))
        return seconds * 1000 + micros // 1000

    async def live_calls(self) -> list[str]:
        members = cast(
            "set[bytes]", await self._run(functools.partial(self._client.smembers, self._live_key))
        )
        return sorted(member.decode() for member in members)

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        stored: list[Stored] = []
        for i in range(0, len(owners), LOAD_PAGE):
            stored += await self._run(functools.partial(self._load, owners[i : i + LOAD_PAGE]))
        return stored

    def _load(self, owners: Sequence[str]) -> list[Stored]:
        replies = self._writing.ask(*(("HMGET", self._state_key(owner), "rev", "state") for owner in owners))
        return [Stored(int(rev), state) if rev and state else Stored() for rev, state in replies]

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        pause_s = self._next_read - trio.current_time()
        try:
            batch = await self._read_thread.run(
                functools.partial(self._read, audio_after, ends_after, pause_s)
            )
        except (redis.RedisError, OSError) as error:
            self._count = max(1, self._count // 2)  # a server may cut a reader off for the size of its reply
            raise BusUnavailable(_describe(error)) from error
        if not batch.audio_full and not batch.ends_full:
            wanted_s = self._cadence_s * BATCH / max(1, len(batch.audio))
            self._cadence_s = min(CADENCE_S, max(LEAST_CADENCE_S, wanted_s))
            self._next_read = trio.current_time() + self._cadence_s
        return batch

    def _read(self, audio_after: EntryId, ends_after: EntryId, pause_s: float) -> Batch:
        # Here, since this thread wakes anyway: for the event loop it would be one turn more for every read.
        time.sleep(max(0.0, pause_s))
        # Sent together, they are served in one go: if the position is there still, nothing after it was cut
        # off unread.
        there, reply = self._reading.ask(
            ("XRANGE", self._audio, audio_after, audio_after),
            ("XREAD", "COUNT", self._count, "BLOCK", BLOCK_MS, "STREAMS",
             self._audio, self._ends, audio_after, ends_after),
        )  # fmt: skip
        found = {bytes(name): cast("list[RawEntry]", found) for name, found in reply or ()}
        audio, ends = found.get(self._audio.encode(), []), found.get(self._ends.encode(), [])
        trimmed = None if there or not audio else self._trimmed(audio_after, audio[0][0].decode())
        batch = Batch(audio, ends, len(audio) >= self._count, len(ends) >= self._count, trimmed)
        if audio:
            some = audio[:: 1 + len(audio) // 16]  # all of a batch are much alike, and there are thousands
            size = sum(len(value) for _, fields in some for value in fields) // len(some)
            self._count = max(1, min(READ_COUNT, READ_BYTES // (size + 1), 2 * self._count))
        return batch

    def _trimmed(self, position: EntryId, first: EntryId) -> EntryId | None:
        """Say how far the stream was cut past a position that is gone; `first` is what came after that."""
        until = entries.before(first)
        if position in (entries.ORIGIN, until):
            return None
        (oldest,) = self._reading.ask(("XRANGE", self._audio, "-", "+", "COUNT", 1))
        begin = oldest[0][0].decode() if oldest else entries.ORIGIN
        return until if entries.key(begin) > entries.key(position) else None

    # -- writing ---------------------------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        return await self._run(functools.partial(self._commit_all, commits))

    def _commit_all(self, commits: Sequence[Commit]) -> list[Answer]:
        replies = self._execute(commits)
        if any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
            self._client.script_load(self._commit.script)  # the cache was flushed: none of those ran
            again = [i for i, r in enumerate(replies) if isinstance(r, redis.exceptions.NoScriptError)]
            for i, reply in zip(again, self._execute([commits[i] for i in again]), strict=True):
                replies[i] = reply
        return [_judge(reply) for reply in replies]

    def _execute(self, commits: Sequence[Commit]) -> list[Any]:
        commands: list[Command] = []
        for owner, rev, state, writes, live in commits:
            keys = [self._fence_key, self._state_key(owner), self._live_key]
            args: list[str | bytes | int] = [self._token, rev, state, owner, 0 if live else ENDED_TTL_MS]
            for stream, data, maxlen in writes:
                keys.append(stream)
                args += (maxlen, data)
            commands.append(("EVALSHA", self._commit.sha, len(keys), *keys, *args))
        return self._writing.ask(*commands, raise_on_error=False)

    async def show_lag(self, audio: EntryId, ends: EntryId) -> None:
        await self._run(functools.partial(self._show_lag, audio, ends))

    def _show_lag(self, audio: EntryId, ends: EntryId) -> None:
        groups.move(self._client, self._audio, self._group, audio)
        groups.move(self._client, self._ends, self._group, ends)

    async def trim(self, floor: EntryId) -> None:
        await self._run(functools.partial(self._trim, floor))

    def _trim(self, floor: EntryId) -> None:
        keep = groups.needed_by_others(self._client, self._group, self._audio, floor)
        self._client.xtrim(self._audio, minid=keep)

    async def aclose(self) -> None:
        self._read_thread.close()
        self._thread.close()
        self._client.close()
        self._reading.close()
        self._writing.close()

    # -- inside ----------------------------------------------------------------------------------------

    def _state_key(self, owner: str) -> str:
        return self._state_prefix + owner if owner else self._reader_key

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            # Abandoned when cancelled: a stop must not wait for a frozen server. Whatever comes next on this
            # connection does, since the thread stays taken; and what is still applied is so under our fence.
            return await self._thread.run(job)
        except (redis.RedisError, OSError) as error:
            raise BusUnavailable(_describe(error)) from error


def _options(timeout_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "protocol": 2,
        "client_name": "trio-asr",
    }


def _script(name: str) -> str:
    return resources.files("trio_asr.bus").joinpath(name).read_text()


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _judge(reply: Any) -> Answer:
    if isinstance(reply, Exception):
        if isinstance(reply, UNWILLING) or UNWILLING_TEXT.search(str(reply)):
            raise reply
        return Answer(Outcome.REFUSED, _describe(reply))
    text = bytes(reply).decode()
    outcome, _, reason = text.partition(" ")
    return Answer(Outcome(outcome), reason)

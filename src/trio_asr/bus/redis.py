"""The Bus on Redis or Valkey (6.2 or newer), over redis-py's blocking client in worker threads.

With batches, that costs less CPU than the native-async client. Reads and commits have a connection each: on a
shared one every command waits for the other's BLOCK, which is what starved the old worker. redis-py's own
retries are off: by default it repeats a timed-out EVALSHA by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import redis
import redis.exceptions
import trio

from trio_asr.bus import groups
from trio_asr.bus.answers import describe, judged, stored_of
from trio_asr.bus.base import (
    HEIR_MS,
    Answer,
    Batch,
    BusFault,
    BusForbids,
    BusUnavailable,
    Consumer,
    KeyMisused,
    Page,
    Tenure,
)
from trio_asr.bus.connection import Command, PipelinedConnection, Script, options
from trio_asr.bus.keys import HEIR, Keys, new_token
from trio_asr.bus.streams import BLOCK_MS, MOST_BYTES, AgainReader, StreamReader
from trio_asr.bus.thread import WorkerThread
from trio_asr.wire import ids
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Commit, Stored

# Reads are spaced, within bounds, so that each brings about `BATCH` entries. A small read costs nearly as
# much as a large one; but a large one makes many calls due at once, and the last of them wait for the first.
BATCH = 400
LEAST_CADENCE_S, CADENCE_S = 0.01, 0.04
COMMIT_CADENCE_S = 0.015  # least time between two commit rounds
ENDED_TTL_MS = 24 * 3600 * 1000  # checkpoints are kept for a day after the end of their call
BROKEN_TTL_MS = 7 * ENDED_TTL_MS  # states that were set aside are kept for a week
LOAD_PAGE = 500  # states per round trip
_COMMIT, _LEASE, _LOAD = Script("commit.lua"), Script("lease.lua"), Script("load.lua")

T = TypeVar("T")


class RedisBus:
    """One worker's access to the bus (see `Bus`); `shared` are the streams that all calls write to.

    Of a fleet it is the access of the worker `member` to one shard: `prefix` is before the names of its keys.
    """

    cadence_s = COMMIT_CADENCE_S

    def __init__(
        self,
        url: str,
        *,
        group: str,
        audio_stream: str,
        end_stream: str,
        transcript_key: Callable[[str], str] = "transcript.{}".format,
        shared: Sequence[str] = (),
        prefix: str = "",
        member: str = "",
    ) -> None:
        self._member = member
        self._token = ""
        self._asked = ""  # the token of an acquire without an answer so far
        self._group = group
        self._audio, self._ends = audio_stream, end_stream
        self._keys = Keys(group, prefix)
        self._transcript_key = transcript_key
        # The keys that all calls need, and their types.
        self._kinds = {self._keys.lease: b"string", self._keys.fence: b"string", self._keys.live: b"set"}
        self._kinds |= dict.fromkeys((audio_stream, end_stream, *shared), b"stream")
        self._client = redis.Redis.from_url(url, **options())
        self._front = PipelinedConnection(url, options(BLOCK_MS / 1000), MOST_BYTES)
        self._behind = PipelinedConnection(url, options(), MOST_BYTES)
        self._writing = PipelinedConnection(url, options())
        self._reader = StreamReader(self._front, audio_stream, end_stream)
        self._again = AgainReader(self._behind, audio_stream)
        self._read_thread, self._thread = WorkerThread("redis-read"), WorkerThread("redis")
        self._again_thread = WorkerThread("redis-again")  # started when a call is behind
        self._next_read = 0.0
        self._cadence_s = CADENCE_S

    # -- ownership -------------------------------------------------------------------------------------

    async def acquire(self, ttl_ms: int, *, patient: bool = False) -> Tenure:
        # Each tenure has a new token. But if the answer is lost, the lease may be ours: the same one again.
        self._token = self._asked = self._asked or new_token(self._member)
        heir = HEIR + self._member if self._member else ""
        tenure = await self._tenure("acquire", ttl_ms, heir, int(patient))
        self._asked = ""
        return tenure

    async def renew(self, ttl_ms: int) -> Tenure:
        return await self._tenure("renew", ttl_ms)

    async def release(self) -> None:
        await self._tenure("release", 0)

    async def pass_on(self, heir: str, ttl_ms: int = HEIR_MS) -> None:
        await self._tenure("pass", ttl_ms, HEIR + heir)

    async def _tenure(self, verb: str, ttl_ms: int, heir: str = "", patient: int = 0) -> Tenure:
        keys, args = [self._keys.lease, self._keys.fence], (verb, self._token, ttl_ms, heir, patient)
        return await self._run(functools.partial(self._own, keys, args))

    def _own(self, keys: list[str], args: Sequence[str | int]) -> Tenure:
        answer, _, key = bytes(self._writing.run(_LEASE, keys, *args)).decode().partition(" ")
        if answer == "blocked":
            raise KeyMisused(key)
        return Tenure(answer)

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

    async def live_calls(self) -> list[bytes]:
        return sorted(await self._run(self._live_calls))

    def _live_calls(self) -> list[bytes]:
        kind, members = self._writing.ask(
            ("TYPE", self._keys.live), ("SMEMBERS", self._keys.live), raise_on_error=False
        )
        if kind not in (b"set", b"none"):
            raise KeyMisused(self._keys.live)
        if isinstance(members, redis.RedisError):
            raise members
        return list(members)

    async def forget_live(self, members: Sequence[bytes]) -> None:
        command: Command = ["SREM", self._keys.live, *members]
        await self._run(functools.partial(self._writing.ask, command))

    async def set_aside(self, owner: str) -> str:
        aside = self._keys.aside(owner)
        await self._run(functools.partial(self._set_aside, self._keys.state(owner), aside))
        return aside

    def _set_aside(self, key: str, aside: str) -> None:
        (renamed,) = self._writing.ask(("RENAME", key, aside), raise_on_error=False)
        if isinstance(renamed, redis.RedisError):
            if "no such key" in str(renamed):
                return  # the answer to an earlier attempt was lost, or somebody has repaired it
            raise renamed
        self._writing.ask(("PEXPIRE", aside, BROKEN_TTL_MS))

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        stored: list[Stored] = []
        for i in range(0, len(owners), LOAD_PAGE):
            stored += await self._run(functools.partial(self._load, owners[i : i + LOAD_PAGE]))
        return stored

    def _load(self, owners: Sequence[str]) -> list[Stored]:
        keys = [self._keys.state(owner) for owner in owners]
        found = self._writing.run(_LOAD, keys)
        stored = [stored_of(key, *answer) for key, answer in zip(keys, found, strict=True)]
        new = [
            i for i, (owner, one) in enumerate(zip(owners, stored, strict=True)) if owner and one == Stored()
        ]
        if new:
            commands = [("XREVRANGE", self._transcript_key(owners[i]), "+", "-", "COUNT", 1) for i in new]
            for i, last in zip(new, self._writing.ask(*commands, raise_on_error=False), strict=True):
                if isinstance(last, list) and last:  # else it is new, no stream, or forbidden to us
                    stored[i] = Stored(said=ids.field(last[0][1], b"data") or b"")
        return stored

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        pause_s = self._next_read - trio.current_time()
        read = functools.partial(self._reader.read, audio_after, ends_after, pause_s)
        batch = await self._run(read, self._read_thread, self._reader.failed)
        if not batch.audio_full and not batch.ends_full:
            wanted_s = self._cadence_s * BATCH / max(1, len(batch.audio))
            self._cadence_s = min(CADENCE_S, max(LEAST_CADENCE_S, wanted_s))
            self._next_read = trio.current_time() + self._cadence_s
        return batch

    async def read_again(self, after: EntryId) -> Page:
        return await self._run(
            functools.partial(self._again.read, after), self._again_thread, self._again.failed
        )

    # -- writing ---------------------------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        return await self._run(functools.partial(self._commit_all, commits))

    def _commit_all(self, commits: Sequence[Commit]) -> list[Answer]:
        replies = self._execute(commits)
        if any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
            self._writing.ask(("SCRIPT", "LOAD", _COMMIT.text))  # the cache was flushed: none of those ran
            again = [i for i, r in enumerate(replies) if isinstance(r, redis.exceptions.NoScriptError)]
            for i, reply in zip(again, self._execute([commits[i] for i in again]), strict=True):
                replies[i] = reply
        return [judged(commit, reply) for commit, reply in zip(commits, replies, strict=True)]

    def _execute(self, commits: Sequence[Commit]) -> list[Any]:
        commands: list[Command] = []
        for owner, rev, state, writes, live in commits:
            keys = [self._keys.fence, self._keys.state(owner), self._keys.live]
            args: list[str | bytes | int] = [self._token, rev, state, owner, 0 if live else ENDED_TTL_MS]
            for stream, data, maxlen in writes:
                keys.append(stream)
                args += (maxlen, data)
            commands.append(_COMMIT.on(keys, *args))
        return self._writing.ask(*commands, raise_on_error=False)

    async def misused(self) -> list[str]:
        return await self._run(self._misused)

    def _misused(self) -> list[str]:
        found = self._writing.ask(*(("TYPE", key) for key in self._kinds))
        kinds = zip(self._kinds.items(), found, strict=True)
        return [key for (key, wanted), kind in kinds if kind not in (wanted, b"none")]

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
        for thread in (self._read_thread, self._again_thread, self._thread):
            thread.close()
        self._client.close()
        self._hang_up()

    # -- inside ----------------------------------------------------------------------------------------

    def _hang_up(self) -> None:
        for connection in (self._front, self._behind, self._writing):
            connection.close()

    async def _run(
        self,
        job: Callable[[], T],
        thread: WorkerThread | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> T:
        try:
            # Abandoned when cancelled: a stop must not wait for a frozen server. Later jobs on the connection
            # have to wait: the thread stays busy. What the server still applies, it applies under our fence.
            return await (thread or self._thread).run(job)
        except (redis.RedisError, OSError) as error:
            on_failure()
            raise BusUnavailable(describe(error)) from error
        except (BusUnavailable, BusForbids):
            raise
        except Exception as error:  # noqa: BLE001 - an answer of an impossible shape
            fault = error
        # Replies that are still on their way on this connection belong to other commands.
        on_failure()
        await (thread or self._thread).run(self._hang_up_of(thread))
        raise BusFault(f"an answer that makes no sense ({describe(fault)[:200]})") from fault

    def _hang_up_of(self, thread: WorkerThread | None) -> Callable[[], None]:
        """Return the function that closes a thread's connection; only that thread may call it."""
        reading = {self._read_thread: self._front, self._again_thread: self._behind}
        return (reading.get(thread, self._writing) if thread is not None else self._writing).close

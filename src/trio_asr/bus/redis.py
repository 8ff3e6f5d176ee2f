"""The Bus on Redis or Valkey (6.2 or newer).

Each request is a question to the server, written as steps (see `line`). redis-py's own retries are off: by
default it repeats a timed-out EVALSHA by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import redis

from trio_asr.bus import groups
from trio_asr.bus.answers import is_unwilling, judged, stored_of
from trio_asr.bus.base import HEIR_MS, Answer, Batch, Consumer, KeyMisused, Page, Tenure
from trio_asr.bus.connection import Command, Script
from trio_asr.bus.keys import Keys, new_token
from trio_asr.bus.line import Steps, granted
from trio_asr.bus.server import OwnServer, Server
from trio_asr.config import RedisConfig
from trio_asr.core.fleet.view import HEIR
from trio_asr.wire import ids
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Commit, Stored

COMMIT_CADENCE_S = 0.015  # least time between two commit rounds
ENDED_TTL_MS = 24 * 3600 * 1000  # checkpoints are kept for a day after the end of their call
BROKEN_TTL_MS = 7 * ENDED_TTL_MS  # states that were set aside are kept for a week
LOAD_PAGE = 500  # states per round trip
_COMMIT, _LEASE, _LOAD = Script("commit.lua"), Script("lease.lua"), Script("load.lua")


class RedisBus:
    """One worker's access to the bus (see `Bus`); `shared` are the streams that all calls write to.

    Of a fleet it is the access of the worker `member` to one shard: `prefix` is before the names of its keys,
    and `server` is the way there, which is not its own.
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
        server: Server | None = None,
    ) -> None:
        self._server = server or OwnServer(url, audio_stream, end_stream)
        self._member = member
        self._token = ""
        self._asked = ""  # the token of an acquire without an answer so far
        self._group = group
        self._audio, self._ends = audio_stream, end_stream
        self._keys = keys = Keys(group, prefix)
        self._transcript_key = transcript_key
        # The keys that all calls need, and their types.
        self._kinds = {keys.lease: b"string", keys.fence: b"string", keys.live: b"set"}
        self._kinds |= dict.fromkeys((audio_stream, end_stream, *shared), b"stream")

    @classmethod
    def of(
        cls, config: RedisConfig, *, prefix: str = "", member: str = "", server: Server | None = None
    ) -> RedisBus:
        """Return the bus with the streams of a configuration."""
        return cls(
            config.url,
            group=config.consumer_group,
            audio_stream=config.audio_stream,
            end_stream=config.call_end_stream,
            transcript_key=config.transcript_key,
            shared=(config.events_stream, config.dead_letter_stream),
            prefix=prefix,
            member=member,
            server=server,
        )

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
        keys = [self._keys.lease, self._keys.fence]
        command = _LEASE.on(keys, verb, self._token, ttl_ms, heir, patient)
        return await self._server.ask(self._own(command), urgent=True)

    def _own(self, command: Command) -> Steps[Tenure]:
        (reply,) = granted((yield [command]))
        answer, _, key = bytes(reply).decode().partition(" ")
        if answer == "blocked":
            raise KeyMisused(key)
        if key != self._keys.lease:
            raise ValueError("an answer about another lease")
        return Tenure(answer)

    # -- reading ---------------------------------------------------------------------------------------

    async def consumers(self) -> list[Consumer]:
        return await self._server.ask(groups.consumers_of(self._group, (self._audio, self._ends)))

    async def neighbours(self) -> list[Consumer]:
        return await self._server.ask(groups.neighbours_of(self._group, self._audio))

    async def now_ms(self) -> int:
        return await self._server.ask(self._now_ms())

    def _now_ms(self) -> Steps[int]:
        ((seconds, micros),) = granted((yield [("TIME",)]))
        return int(seconds) * 1000 + int(micros) // 1000

    async def live_calls(self) -> list[bytes]:
        return sorted(await self._server.ask(self._live_calls()))

    def _live_calls(self) -> Steps[list[bytes]]:
        kind, members = yield [("TYPE", self._keys.live), ("SMEMBERS", self._keys.live)]
        granted([kind])
        if kind not in (b"set", b"none"):
            raise KeyMisused(self._keys.live)
        return list(*granted([members]))

    async def forget_live(self, members: Sequence[bytes]) -> None:
        await self._server.ask(self._grant(("SREM", self._keys.live, *members)))

    async def set_aside(self, owner: str) -> str:
        aside = self._keys.aside(owner)
        await self._server.ask(self._set_aside(self._keys.state(owner), aside))
        return aside

    def _set_aside(self, key: str, aside: str) -> Steps[None]:
        (renamed,) = yield [("RENAME", key, aside)]
        if isinstance(renamed, redis.ResponseError) and "no such key" in str(renamed):
            return  # the answer to an earlier attempt was lost, or somebody has repaired it
        granted([renamed])
        yield from self._grant(("PEXPIRE", aside, BROKEN_TTL_MS))

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        stored: list[Stored] = []
        for i in range(0, len(owners), LOAD_PAGE):
            stored += await self._server.ask(self._load(owners[i : i + LOAD_PAGE]))
        return stored

    def _load(self, owners: Sequence[str]) -> Steps[list[Stored]]:
        keys = [self._keys.state(owner) for owner in owners]
        (found,) = granted((yield [_LOAD.on(keys)]))
        stored = [stored_of(key, *answer) for key, answer in zip(keys, found, strict=True)]
        new = [
            i for i, (owner, one) in enumerate(zip(owners, stored, strict=True)) if owner and one == Stored()
        ]
        if new:
            said = yield [("XREVRANGE", self._transcript_key(owners[i]), "+", "-", "COUNT", 1) for i in new]
            for i, last in zip(new, said, strict=True):
                if isinstance(last, redis.ResponseError) and is_unwilling(last):
                    raise last
                if isinstance(last, list) and last:  # else it is new, no stream, or forbidden to us
                    stored[i] = Stored(said=ids.field(last[0][1], b"data") or b"")
        return stored

    def goes_on(self, floor: EntryId, added: int) -> None:
        self._server.goes_on(floor, added)

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        return await self._server.read(audio_after, ends_after)

    async def read_again(self, after: EntryId) -> Page:
        return await self._server.read_again(after)

    # -- writing ---------------------------------------------------------------------------------------

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        return await self._server.ask(self._commit(commits)) if commits else []

    def _commit(self, commits: Sequence[Commit]) -> Steps[list[Answer]]:
        commands: list[Command] = []
        for owner, rev, state, writes, live in commits:
            keys = [self._keys.fence, self._keys.state(owner), self._keys.live]
            args: list[str | bytes | int] = [self._token, rev, state, owner, 0 if live else ENDED_TTL_MS]
            for stream, data, maxlen in writes:
                keys.append(stream)
                args += (maxlen, data)
            commands.append(_COMMIT.on(keys, *args))
        replies = yield commands
        return [judged(commit, reply) for commit, reply in zip(commits, replies, strict=True)]

    async def misused(self) -> list[str]:
        return await self._server.ask(self._misused())

    def _misused(self) -> Steps[list[str]]:
        found = granted((yield [("TYPE", key) for key in self._kinds]))
        kinds = zip(self._kinds.items(), found, strict=True)
        return [key for (key, wanted), kind in kinds if kind not in (wanted, b"none")]

    async def show_lag(self, audio: EntryId, ends: EntryId) -> None:
        await self._server.ask(groups.move(self._group, [(self._audio, audio), (self._ends, ends)]))

    async def trim(self, floor: EntryId) -> None:
        await self._server.ask(groups.trim(self._group, self._audio, floor))

    async def aclose(self) -> None:
        self._server.close()

    def _grant(self, command: Command) -> Steps[None]:
        granted((yield [command]))

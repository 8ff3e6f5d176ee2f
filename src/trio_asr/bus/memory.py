"""The Bus in memory: the same semantics in one process, for tests and for trying the daemon without Redis.

A `MemoryStore` is the server, and any number of `MemoryBus` workers share it. Time is trio's clock, so that
leases expire under the autojump clock as they do in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import trio

from trio_asr.bus.base import HEIR_MS, Answer, Batch, BusUnavailable, Consumer, Page, RawEntry, Tenure
from trio_asr.bus.keys import new_token
from trio_asr.config import RedisConfig
from trio_asr.core.fleet.view import HEIR
from trio_asr.wire import ids
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Commit, Outcome, Stored

BLOCK_S = 1.0  # most time that a read waits for entries
READ_COUNT = 1000
EPOCH_MS = 1_700_000_000_000  # the time in milliseconds since 1970 at which trio's clock is at 0


class Kept(list[RawEntry]):
    """The entries of a stream, how many were ever added, and the last id that it has generated."""

    added = 0
    last: EntryId | None = None


class MemoryStore:
    """The server: streams, states, lease and fence."""

    def __init__(self) -> None:
        self.streams: dict[str, Kept] = {}
        self.states: dict[str, Stored] = {}
        self.aside: dict[str, Stored] = {}  # states that were set aside
        self.live: set[str] = set()
        self.lease: tuple[str, float] | None = None
        self.fence: str | None = None
        self.consumers: list[Consumer] = []
        self.neighbours: list[Consumer] = []
        self.last_id = (0, 0)
        self.away = False  # whether it answers nobody
        self._added = trio.Event()

    @property
    def holder(self) -> str | None:
        """The value of the lease; None if there is none, or none any more."""
        return self.lease[0] if self.lease is not None and self.lease[1] > trio.current_time() else None

    def add(self, stream: str, data: bytes | None, maxlen: int = 0, **fields: bytes) -> EntryId:
        """Add an entry with the field `data` (and others), as XADD does; return its id."""
        now = EPOCH_MS + round(trio.current_time() * 1000)
        ms, seq = self.last_id
        self.last_id = (now, 0) if now > ms else (ms, seq + 1)
        entry_id = f"{self.last_id[0]}-{self.last_id[1]}"
        flat = [] if data is None else [b"data", data]
        for name, value in fields.items():
            flat += [name.encode(), value]
        kept = self.streams.setdefault(stream, Kept())
        kept.added, kept.last = kept.added + 1, entry_id
        kept.append((entry_id.encode(), flat))
        if maxlen:
            del kept[:-maxlen]
        self._added.set()
        self._added = trio.Event()
        return entry_id

    def messages(self, stream: str) -> list[bytes]:
        """Return the field `data` of every entry of a stream."""
        return [ids.field(fields, b"data") or b"" for _, fields in self.streams.get(stream, Kept())]

    def last_of(self, stream: str) -> EntryId | None:
        """Return the last id that a stream has generated; None if there is no such stream."""
        kept = self.streams.get(stream)
        return None if kept is None else kept.last

    async def added(self) -> None:
        """Wait until an entry is added to any stream."""
        await self._added.wait()

    def after(self, stream: str, position: EntryId) -> list[RawEntry]:
        """Return at most `READ_COUNT` entries after a position."""
        kept, at = self.streams.get(stream, Kept()), ids.key(position)
        first = len(kept)
        while first and ids.key(kept[first - 1][0].decode()) > at:
            first -= 1
        return kept[first : first + READ_COUNT]


class MemoryBus:
    """One worker's access to a `MemoryStore` (see `Bus`)."""

    cadence_s = 0.0

    def __init__(
        self,
        store: MemoryStore,
        *,
        audio_stream: str,
        end_stream: str,
        transcript_key: Callable[[str], str] = "transcript.{}".format,
        member: str = "",
    ) -> None:
        self._store = store
        self._member = member
        self._transcript_key = transcript_key
        self._audio, self._ends = audio_stream, end_stream
        self._token = ""
        # An entry that was read, and how many entries were ever added up to it.
        self._added: tuple[EntryId, int] | None = None
        self._begun: tuple[EntryId, int] | None = None  # the same, as an earlier reader knew it
        self.floors: tuple[EntryId, EntryId] = ids.ORIGIN, ids.ORIGIN

    @classmethod
    def of(cls, store: MemoryStore, config: RedisConfig, *, member: str = "") -> MemoryBus:
        """Return the bus with the streams of a configuration."""
        return cls(
            store,
            audio_stream=config.audio_stream,
            end_stream=config.call_end_stream,
            transcript_key=config.transcript_key,
            member=member,
        )

    async def _arrive(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._store.away:
            raise BusUnavailable("away")

    async def acquire(self, ttl_ms: int, *, patient: bool = False) -> Tenure:
        await self._arrive()
        store, now = self._store, trio.current_time()
        if store.holder not in (None, HEIR + self._member):
            return Tenure.LOST
        if store.fence is None and patient:
            return Tenure.MISSING
        self._token = new_token(self._member)
        store.lease = (self._token, now + ttl_ms / 1000)
        store.fence = self._token
        return Tenure.HELD

    async def renew(self, ttl_ms: int) -> Tenure:
        await self._arrive()
        store = self._store
        if store.fence is None:
            return Tenure.MISSING
        if store.fence != self._token:
            return Tenure.LOST
        store.lease = (self._token, trio.current_time() + ttl_ms / 1000)
        return Tenure.HELD

    async def release(self) -> None:
        await self._arrive()
        self._give_up(None)

    async def pass_on(self, heir: str, ttl_ms: int = HEIR_MS) -> None:
        await self._arrive()
        self._give_up((HEIR + heir, trio.current_time() + ttl_ms / 1000))

    def _give_up(self, lease: tuple[str, float] | None) -> None:
        if self._store.fence == self._token:
            self._store.lease, self._store.fence = lease, f"given up by {self._token}"

    async def consumers(self) -> list[Consumer]:
        await self._arrive()
        return self._store.consumers

    async def neighbours(self) -> list[Consumer]:
        await self._arrive()
        return self._store.neighbours

    async def now_ms(self) -> int:
        await self._arrive()
        return EPOCH_MS + round(trio.current_time() * 1000)

    async def live_calls(self) -> list[bytes]:
        await self._arrive()
        return sorted(member.encode() for member in self._store.live)

    async def forget_live(self, members: Sequence[bytes]) -> None:
        await self._arrive()
        self._store.live -= {member.decode() for member in members}

    async def set_aside(self, owner: str) -> str:
        await self._arrive()
        if owner in self._store.states:
            self._store.aside[owner] = self._store.states.pop(owner)
        return f"broken:{owner}"

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        await self._arrive()
        return [self._store.states.get(owner) or self._new(owner) for owner in owners]

    def _new(self, owner: str) -> Stored:
        said = self._store.messages(self._transcript_key(owner))
        return Stored(said=said[-1]) if owner and said else Stored()

    def goes_on(self, floor: EntryId, added: int) -> None:
        self._added, self._begun = None, (floor, added)

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        store = self._store
        await self._arrive()
        with trio.move_on_after(BLOCK_S):
            while not store.after(self._audio, audio_after) and not store.after(self._ends, ends_after):
                await store.added()
        audio, ends = store.after(self._audio, audio_after), store.after(self._ends, ends_after)
        trimmed = self._trimmed(audio_after, audio[0][0].decode()) if audio else None
        full = len(audio) >= READ_COUNT, len(ends) >= READ_COUNT
        last_audio = None if audio else store.last_of(self._audio)
        gone = last_audio if self._audio in store.streams and not store.streams[self._audio] else None
        at = audio[-1][0].decode() if audio else gone or audio_after
        self._added = at, self._ever() - self._left(at)
        last_end = None if ends else store.last_of(self._ends)
        return Batch(audio, ends, *full, trimmed, last_audio, last_end, gone, self._added[1])

    def _ever(self) -> int:
        """Return how many entries were ever added to the audio stream."""
        return self._store.streams.get(self._audio, Kept()).added

    async def read_again(self, after: EntryId) -> Page:
        await self._arrive()
        found = self._store.after(self._audio, after)
        return Page(found, len(found) >= READ_COUNT)

    def _trimmed(self, position: EntryId, first: EntryId) -> EntryId | None:
        until = ids.before(first)
        oldest = self._store.streams[self._audio][0][0].decode()
        if position == until or ids.key(oldest) <= ids.key(position):
            return None
        known, self._begun = self._begun, None
        if self._added is not None and self._added[0] == position:
            known = self._added
        if known is None:
            return until if position != ids.ORIGIN else None
        (at, before), ever = known, self._ever()
        if ever < before:  # it is another stream
            before = 0
        return until if ever > before + self._left(at) else None

    def _left(self, position: EntryId) -> int:
        """Return the number of entries after a position."""
        kept, at = self._store.streams.get(self._audio, Kept()), ids.key(position)
        return sum(1 for _ in takewhile(lambda e: ids.key(e[0].decode()) > at, reversed(kept)))

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        await self._arrive()
        return [Answer(self._apply(commit)) for commit in commits]

    def _apply(self, commit: Commit) -> Outcome:
        store = self._store
        if store.fence is None:
            return Outcome.UNFENCED
        if store.fence != self._token:
            return Outcome.FENCED
        stored = store.states.get(commit.owner, Stored())
        if stored[:2] == (commit.rev, commit.state):
            return Outcome.DONE
        if stored.rev not in (0, commit.rev - 1):
            return Outcome.STALE
        for stream, data, maxlen in commit.writes:
            store.add(stream, data, maxlen)
        store.states[commit.owner] = Stored(commit.rev, commit.state)
        if commit.owner:
            (store.live.add if commit.live else store.live.discard)(commit.owner)
        return Outcome.APPLIED

    async def misused(self) -> list[str]:
        await self._arrive()
        return []

    async def show_lag(self, audio: EntryId, ends: EntryId) -> None:
        await self._arrive()
        self.floors = audio, ends

    async def trim(self, floor: EntryId) -> None:
        await self._arrive()
        kept = self._store.streams.get(self._audio, Kept())
        kept[:] = [entry for entry in kept if ids.key(entry[0].decode()) >= ids.key(floor)]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

"""The Bus: what the daemon needs of Redis, and no more.

Reading has no side effects: plain reads from a position that the reader keeps, no consumer group, no pending
list, no acknowledgement. A lost answer is read again, and a zombie reader harms nobody. All writing goes
through `Bus.commit`, one atomic compare-and-set under the fence.

Ownership is two values: the *lease* (expires, renewed) says who may read and dial; the *fence* (never
expires, a fresh token set in the same step that takes the lease) is what every commit checks. A worker that
was frozen past its lease finds another's fence and writes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Commit, Outcome, Stored

RawEntry = tuple[bytes, list[bytes]]  # id, [field, value, ...]


class BusUnavailable(Exception):
    """The bus did not answer, or not now; whether the request took effect is unknown."""


class KeyMisused(BusUnavailable):
    """`key`, which all calls need, is of another type: somebody has put something else there."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is not of the type that this worker uses: see who wrote it, and rename it")
        self.key = key


class BusFault(BusUnavailable):
    """What the bus answered makes no sense, or our client failed on it; the cause is attached."""


class BusForbids(Exception):
    """The bus lets us not ask that; it is not needed for the work."""


class Tenure(enum.Enum):
    """Whose the calls are, as the bus says."""

    HELD = "held"
    LOST = "lost"  # somebody else's fence
    MISSING = "missing"  # no fence at all: the bus has lost its data


class Batch(NamedTuple):
    """Entries after the positions asked for, as of one moment.

    `audio_full`/`ends_full`: the limit was reached, so more may be there already. `trimmed`: the audio stream
    begins after the position now, so what there was up to this id is gone. `last_audio`/`last_end`: the last
    id that each stream gave out, where that was looked at. `gone`: the audio stream has nothing now, but
    gave out ids up to this one.
    """

    audio: Sequence[RawEntry] = ()
    ends: Sequence[RawEntry] = ()
    audio_full: bool = False
    ends_full: bool = False
    trimmed: EntryId | None = None
    last_audio: EntryId | None = None
    last_end: EntryId | None = None
    gone: EntryId | None = None


class Page(NamedTuple):
    """Entries of the audio stream after a position; `full`: more may be there already."""

    entries: Sequence[RawEntry] = ()
    full: bool = False


class Answer(NamedTuple):
    """What became of a commit, and why if it was refused, or which key is in its way."""

    outcome: Outcome
    reason: str = ""


class Consumer(NamedTuple):
    """Somebody who reads an input stream as a consumer of a group, and how long ago that was."""

    stream: str
    group: str
    name: str
    idle_ms: int


class Bus(Protocol):
    """Every method raises `BusUnavailable` when the bus is away."""

    @property
    def cadence_s(self) -> float:
        """How far apart the beginnings of two commits had better be: what waits meanwhile goes together."""
        ...

    async def acquire(self, ttl_ms: int, *, patient: bool = False) -> Tenure:
        """Take the lease and set a fresh fence, unless somebody holds the lease (`LOST`).

        With `patient` also not where there is no fence (`MISSING`): its owner may be about to set it again.
        """
        ...

    async def renew(self, ttl_ms: int) -> Tenure:
        """Prolong the lease; re-create an expired one while the fence is still ours."""
        ...

    async def release(self) -> None:
        """Give the lease back, so that a standby need not wait for it to expire."""
        ...

    async def consumers(self) -> list[Consumer]:
        """Return the consumers of our group. We have none ourselves: they are of another program.

        Raises:
            BusForbids: we may not ask.
        """
        ...

    async def neighbours(self) -> list[Consumer]:
        """Return who reads the audio stream as a consumer of any other group.

        Raises:
            BusForbids: we may not ask.
        """
        ...

    async def now_ms(self) -> int:
        """Return the bus' clock, which entry ids are made of, in epoch milliseconds."""
        ...

    async def live_calls(self) -> list[bytes]:
        """Return the ids of calls whose last commit left them live, and whatever else stands among them."""
        ...

    async def forget_live(self, members: Sequence[bytes]) -> None:
        """Take these out of the ids of live calls."""
        ...

    async def set_aside(self, owner: str) -> str:
        """Put what is stored of a call ("" is the reader) out of the way; return the key it has now."""
        ...

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        """Return what is stored of each call ("" is the reader)."""
        ...

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        """Wait briefly for entries after the positions; an empty batch when none came."""
        ...

    async def read_again(self, after: EntryId) -> Page:
        """Return what is in the audio stream after a position, for whoever is behind; never wait."""
        ...

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        """Apply each commit, or not, on its own; answers in the same order."""
        ...

    async def misused(self) -> list[str]:
        """Return the keys that all calls need and that are of another type."""
        ...

    async def show_lag(self, audio: EntryId, ends: EntryId) -> None:
        """Let others see how far both streams are dealt with (the position of our consumer group)."""
        ...

    async def trim(self, floor: EntryId) -> None:
        """Delete audio that nobody needs any more: before the floor, and read by every other group."""
        ...

    async def aclose(self) -> None:
        """Free what the bus holds."""
        ...

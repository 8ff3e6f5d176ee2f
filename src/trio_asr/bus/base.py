"""The Bus: everything that the daemon needs of Redis, and no more.

Reads have no side effects: they start at a position that the reader keeps. There is no consumer group, no
pending list and no acknowledgement. After a lost reply the same entries are read again, and a zombie reader
harms nobody. All writes go through `Bus.commit`, an atomic compare-and-set under the fence.

Ownership is two values. The *lease* expires and is renewed; it says who may read and dial. The *fence* is a
fencing token: it never expires, is set afresh in the step that takes the lease, and every commit checks it. A
worker that was frozen past its lease finds another worker's fence and writes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Commit, Outcome, Stored

RawEntry = tuple[bytes, list[bytes]]  # id, [field, value, ...]
HEIR_MS = 2000  # how long a lease that is passed on is kept for the heir


class BusUnavailable(Exception):
    """A request without an answer, or one that the bus refuses for now; it may have taken effect."""


class KeyMisused(BusUnavailable):
    """A key that all calls need has another type: somebody has put something else there."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is not of the type that this worker uses: see who wrote it, and rename it")
        self.key = key


class BusFault(BusUnavailable):
    """An answer that makes no sense, or that our client failed on; the cause is attached."""


class BusForbids(Exception):
    """A question that our user may not ask; the work does not depend on it."""


class Tenure(enum.Enum):
    """The owner of the calls, as the bus tells it."""

    HELD = "held"
    LOST = "lost"  # another worker's fence
    MISSING = "missing"  # no fence: the bus has lost its data


class Batch(NamedTuple):
    """A snapshot of the entries after the positions asked for.

    `audio_full`/`ends_full`: the limit was reached, so there may be more. `trimmed`: the audio stream was
    trimmed past the position; entries up to this id are gone. `last_audio`/`last_end`: the last id that each
    stream has generated, where that was looked up. `gone`: the audio stream is empty now, but has generated
    ids up to this one. `added`: how many entries were ever added to the audio stream up to the last one read,
    where that was looked up and is known.
    """

    audio: Sequence[RawEntry] = ()
    ends: Sequence[RawEntry] = ()
    audio_full: bool = False
    ends_full: bool = False
    trimmed: EntryId | None = None
    last_audio: EntryId | None = None
    last_end: EntryId | None = None
    gone: EntryId | None = None
    added: int | None = None


class Page(NamedTuple):
    """Entries of the audio stream after a position; with `full` there may be more."""

    entries: Sequence[RawEntry] = ()
    full: bool = False


class Answer(NamedTuple):
    """The outcome of a commit; `reason` is why it was refused or failed, or the key that blocks it."""

    outcome: Outcome
    reason: str = ""


class Consumer(NamedTuple):
    """A consumer of a group on an input stream, and how long ago it read, in milliseconds."""

    stream: str
    group: str
    name: str
    idle_ms: int


class Bus(Protocol):
    """One worker's access to the bus.

    Raises:
        BusUnavailable: By every method but `aclose`, when the bus does not answer; `KeyMisused` when the key
            that the method needs has another type, `BusFault` when the answer makes no sense.
    """

    @property
    def cadence_s(self) -> float:
        """Least time between the starts of two commit rounds, in seconds: what waits is batched."""
        ...

    async def acquire(self, ttl_ms: int, *, patient: bool = False) -> Tenure:
        """Take the lease for `ttl_ms` milliseconds and set a fresh fence, unless the lease is held (`LOST`).

        One that was passed on is free for its heir.

        With `patient`, take nothing while there is no fence either (`MISSING`): the owner may be about to
        restore it.
        """
        ...

    async def renew(self, ttl_ms: int) -> Tenure:
        """Renew the lease for `ttl_ms` milliseconds, also an expired one while the fence is still ours."""
        ...

    async def release(self) -> None:
        """Release the lease, so that a standby need not wait until it expires.

        The fence is nobody's then: no renewal or commit of ours that is still on its way takes effect.
        """
        ...

    async def pass_on(self, heir: str, ttl_ms: int = HEIR_MS) -> None:
        """Release the lease, and keep it for the member `heir` for `ttl_ms` milliseconds."""
        ...

    async def consumers(self) -> list[Consumer]:
        """Return the consumers of our group. We have none, so they belong to another program.

        Raises:
            BusForbids: Our user may not ask.
        """
        ...

    async def neighbours(self) -> list[Consumer]:
        """Return the consumers of all other groups on the audio stream.

        Raises:
            BusForbids: Our user may not ask.
        """
        ...

    async def now_ms(self) -> int:
        """Return the time of the bus, from which it makes entry ids, in milliseconds since 1970."""
        ...

    async def live_calls(self) -> list[bytes]:
        """Return the members of the live set: the ids of calls in progress, and anything else put there."""
        ...

    async def forget_live(self, members: Sequence[bytes]) -> None:
        """Remove members from the live set."""
        ...

    async def set_aside(self, owner: str) -> str:
        """Move the stored state of a call ("" is the reader) out of the way; return its new key."""
        ...

    async def load(self, owners: Sequence[str]) -> list[Stored]:
        """Return the stored state of each call ("" is the reader)."""
        ...

    def goes_on(self, floor: EntryId, added: int) -> None:
        """Begin with what an earlier reader knew: up to `floor` so many entries were added, and all read.

        The next read is from there or before it.
        """
        ...

    async def read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        """Wait briefly for entries after the positions; return an empty batch if none come."""
        ...

    async def read_again(self, after: EntryId) -> Page:
        """Return entries of the audio stream after a position, without waiting, for catch-up."""
        ...

    async def commit(self, commits: Sequence[Commit]) -> list[Answer]:
        """Apply each commit on its own; return the answers in the same order."""
        ...

    async def misused(self) -> list[str]:
        """Return those keys that all calls need and that have another type."""
        ...

    async def show_lag(self, audio: EntryId, ends: EntryId) -> None:
        """Set the position of our consumer group on both streams, so that others see the lag."""
        ...

    async def trim(self, floor: EntryId) -> None:
        """Delete audio that is no longer needed: below the floor, and acknowledged by every other group."""
        ...

    async def aclose(self) -> None:
        """Close the connections and release all resources."""
        ...

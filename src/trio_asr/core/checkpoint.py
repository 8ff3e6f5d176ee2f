"""What is written to Redis, and what a restart reads: checkpoints and the commits that move them."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from trio_asr.core.entries import ORIGIN, EntryId
from trio_asr.core.timeline import Place


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """The committed state of one call.

    `ended` is "" while the call lives, else the id of the entry that it ended at: an end at or before it has
    been applied.
    """

    place: Place = Place()
    seq: int = 0  # the last output seq used
    connection: int = 0  # the last connection number used
    tenant_id: str = ""
    trace_id: str | None = None
    ended: EntryId = ""


class ReaderState(msgspec.Struct, frozen=True, gc=False):
    """The committed state of the reader: where a start reads from, and how far junk is dead-lettered."""

    audio_floor: EntryId = ORIGIN
    end_floor: EntryId = ORIGIN
    audio_junk: EntryId = ORIGIN
    end_junk: EntryId = ORIGIN


class Write(NamedTuple):
    """One XADD: `data` goes into the field ``data`` of `stream`; `maxlen` 0 means unbounded."""

    stream: str
    data: bytes
    maxlen: int = 0


class Commit(NamedTuple):
    """One atomic step: if the stored revision is ``rev - 1``, add `writes` and store `state` as `rev`.

    `owner` is the interaction id, or "" for the reader. `live` says whether the call is to be found by the
    next start; one that is not expires.
    """

    owner: str
    rev: int
    state: bytes
    writes: tuple[Write, ...] = ()
    live: bool = True


class Stored(NamedTuple):
    """A commit's remains as read back: (0, b"") when there are none."""

    rev: int = 0
    state: bytes = b""


class Outcome(enum.Enum):
    """What became of a commit."""

    APPLIED = "applied"
    DONE = "done"  # it had been applied before: the answer was lost, nothing was written again
    STALE = "stale"  # the stored state is not the one that this commit builds on
    FENCED = "fenced"  # another worker owns the calls now
    UNFENCED = "unfenced"  # no fence at all: Redis has lost its data
    REFUSED = "refused"  # this commit alone failed (a key of another type); nothing was written


_checkpoint = msgspec.json.Decoder(Checkpoint)
_reader = msgspec.json.Decoder(ReaderState)
encode = msgspec.json.Encoder().encode


def decode_checkpoint(state: bytes) -> Checkpoint:
    """Decode a call's stored state (a fresh one where there is none)."""
    return _checkpoint.decode(state) if state else Checkpoint()


def decode_reader(state: bytes) -> ReaderState:
    """Decode the reader's stored state (a fresh one where there is none)."""
    return _reader.decode(state) if state else ReaderState()

"""What the daemon publishes on Redis: transcripts, events and dead letters, before they become a commit."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from trio_asr.wire.ids import EntryId
from trio_asr.wire.resume_point import ResumePoint


class Topics(NamedTuple):
    """The streams that a call's messages go to. `events_maxlen` is in entries."""

    transcript: str
    events: str
    events_maxlen: int


class Transcript(msgspec.Struct, gc=False):
    """A message of the transcript stream: the fields that the old worker's readers know, and new ones.

    `start_ms` and `end_ms` are on the call's timeline. `timestamp_ms` is the time of publication, in epoch
    milliseconds.
    """

    interaction_id: str
    tenant_id: str
    seq: int
    type: str  # "partial" | "final"
    text: str
    confidence: float
    timestamp_ms: int
    start_ms: int
    end_ms: int
    speech_final: bool
    connection: int
    request_id: str
    # If they are wanted, and in a final of several speakers or languages.
    words: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    trace_id: str | msgspec.UnsetType = msgspec.UNSET
    # Of a call of several channels only: which one, from 0, and who is on it, if that is known.
    channel: int | msgspec.UnsetType = msgspec.UNSET
    role: str | msgspec.UnsetType = msgspec.UNSET
    # Present only if an option of the provider asks for them and there are any.
    speaker: int | msgspec.UnsetType = msgspec.UNSET
    languages: list[str] | msgspec.UnsetType = msgspec.UNSET
    entities: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    search: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class Item(NamedTuple):
    """One thing to commit: where it moves the resume point, if it does, and what it publishes."""

    resume_point: ResumePoint | None = None
    transcript: Transcript | None = None
    event: dict[str, Any] | None = None
    ended: str | None = None
    chunks: int = 0  # chunks whose audio it covers, for the delivery rate
    channel: int = 0  # the one whose cursor it moves

    @property
    def is_partial(self) -> bool:
        """Whether this is a transcript that finalizes nothing."""
        return self.transcript is not None and self.resume_point is None


class DeadLetter(msgspec.Struct, gc=False):
    """What is kept of an entry that could not be used."""

    stream: str
    entry: EntryId
    kind: str
    reason: str
    data: str  # truncated; bytes that are not UTF-8 are replaced

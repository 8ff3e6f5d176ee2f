"""What producers put on the input streams, decoded: a frame of a call's audio, and the end of a call.

`wire/entries.py` makes them of entries. What cannot be one raises `Junk` with the reason, for the dead-letter
stream.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from trio_asr.wire import ids
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.codes import DeadLetterKind
from trio_asr.wire.encodings import Spelling
from trio_asr.wire.ids import EntryId
from trio_asr.wire.meta import NO_META

MAX_ENTRY_BYTES = 2 * 1024 * 1024  # 40 s of 16 kHz audio in base64; the longest frames in use have 5 s
MAX_ID_LENGTH = MAX_REASON_LENGTH = 256
MAX_ROLE_LENGTH = 64
MAX_POSITION = 2**53  # the last whole number that every JSON library holds exactly
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4000, 96_000
LATEST_MS = 2**42  # above every time: the year 2109, or any time since the beginning of a call
NO_RATE = MAX_SAMPLE_RATE + 1  # Hz; stands for "none was given"

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Time = Annotated[int, msgspec.Meta(ge=1 - LATEST_MS, le=LATEST_MS - 1)]
_Rate = Annotated[int, msgspec.Meta(ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)]
_Short = Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)]
_Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITION)]
_Role = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ROLE_LENGTH)]


class Junk(Exception):
    """An unusable entry. `kind` is a metric label; the message says what is wrong."""

    def __init__(self, kind: DeadLetterKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NotAudio(Junk):
    """A well-formed telephony event other than media: nothing to transcribe, and nothing to report."""

    def __init__(self, message: str) -> None:
        super().__init__(DeadLetterKind.AUDIO, message)  # which nobody sees: it goes to no dead letter


class Frame(msgspec.Struct, gc=False):
    """One frame of a call, decoded from its envelope in one step. `pcm` is audio of `format`, of any length.

    The types are those that healthy producers write. An envelope that does not fit them takes the lenient
    path. `sample_rate` is in Hz, `timestamp_ms` in milliseconds, `position` in samples since the call began.
    Of `encoding` and `channels`, as they were written, `format` is what counts.
    """

    interaction_id: str
    pcm: bytes = msgspec.field(name="audio")
    sample_rate: _Rate = NO_RATE
    seq: _Int64 | None = None
    timestamp_ms: _Time | None = None
    tenant_id: _Short = ""
    trace_id: _Short | None = None
    encoding: Spelling = "pcm16"
    channels: Literal[1, 2] | None = None
    position: _Position | None = None
    roles: tuple[_Role, ...] | None = None
    meta: msgspec.Raw = NO_META
    # Ours, not the producer's. It would have to write "~odd" to be believed, and mislead about itself alone.
    format: Format = msgspec.field(default=audio_format(8000, "linear16", 1), name="~format")
    misplaced: bool = msgspec.field(default=False, name="~misplaced")  # its position is none: left out
    digest: int = msgspec.field(default=0, name="~digest")  # hash of the audio, xor the time: repeats have it
    odd: bool = msgspec.field(default=False, name="~odd")  # it took the lenient path, which is slow
    entry: EntryId = msgspec.field(default="", name="~entry")  # the entry that it was read from


class CallEnd(msgspec.Struct, gc=False):
    """The end of a call: no more audio is expected, though late frames happen."""

    interaction_id: str
    reason: str = ""


@lru_cache(4096)  # each call's id comes fifty times a second
def check_id(interaction_id: str) -> None:
    """Check that an id can be part of a Redis key, a header and a log line.

    Raises:
        Junk: The id is not 1-256 printable characters without braces.
    """
    if not 1 <= len(interaction_id) <= MAX_ID_LENGTH:
        raise Junk(
            DeadLetterKind.INTERACTION_ID, f"interaction_id has {len(interaction_id)} characters, not 1..256"
        )
    if not interaction_id.isprintable() or "{" in interaction_id or "}" in interaction_id:
        raise Junk(
            DeadLetterKind.INTERACTION_ID,
            f"interaction_id {ids.show(interaction_id)} has unusable characters",
        )


@lru_cache(256)
def check_roles(roles: tuple[str, ...], channels: int) -> None:
    """Check that each channel has a role, and that each can be part of a message and a log line.

    Raises:
        Junk: There are more or fewer, or one is not 1-64 printable characters.
    """
    if len(roles) != channels:
        raise Junk(DeadLetterKind.ROLES, f"roles has {len(roles)} of them, and channels is {channels}")
    for role in roles:
        if not 1 <= len(role) <= MAX_ROLE_LENGTH or not role.isprintable():
            raise Junk(
                DeadLetterKind.ROLES,
                f"the role {ids.show(role)} is not 1-{MAX_ROLE_LENGTH} printable characters",
            )

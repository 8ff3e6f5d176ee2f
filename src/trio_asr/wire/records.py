"""The records on Redis that a restart reads: checkpoints, and the commits that move them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from trio_asr.wire.audio_format import MOST_CHANNELS
from trio_asr.wire.frames import MAX_SAMPLE_RATE
from trio_asr.wire.ids import ORIGIN, EntryId, is_id, key
from trio_asr.wire.numbers import whole
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.salvage import Unusable, document

T = TypeVar("T")

# Bounds of every checkpoint that we write. A value beyond them, from elsewhere, could cost any amount of
# memory, or a wait that never ends.
_MOST_SAMPLES = 2**50
_MOST_SILENCE = 61 * MAX_SAMPLE_RATE  # samples between `finalized` and `at`: the largest `gap_fill_ms`
_MOST_SEQ = 2**31  # readers keep it in 32 bits
_MOST_AHEAD = 1024  # entries
VERSION = 2  # of the state of calls that are not plain audio; that of plain audio says none, as it never did


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """The committed state of one call.

    `place` is the resume point; the field has this name on Redis. `ended` is "" while the call lives, else
    the id of the entry that ended it: any end at or before that entry has been applied.
    """

    place: ResumePoint = ResumePoint()
    seq: int = 0  # the last output seq used
    connection: int = 0  # the last connection number used
    tenant_id: str = ""
    trace_id: str | None = None
    ended: EntryId = ""
    version: int | msgspec.UnsetType = msgspec.UNSET
    roles: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # who is on each channel, if that is known

    @property
    def over(self) -> bool:
        """Whether the call has ended, and nothing of it was committed since."""
        return bool(self.ended) and key(self.place.entry) <= key(self.ended)


class ReaderState(msgspec.Struct, frozen=True, gc=False):
    """The committed state of the reader.

    The floors are the ids that a start reads from. The junk marks say how far dead letters were written.
    `audio_added` is how many entries were ever added up to the floor of the audio, where that is known.
    """

    audio_floor: EntryId = ORIGIN
    end_floor: EntryId = ORIGIN
    audio_junk: EntryId = ORIGIN
    end_junk: EntryId = ORIGIN
    audio_added: int | msgspec.UnsetType = msgspec.UNSET


class Write(NamedTuple):
    """One XADD: `data` goes into the field `data` of `stream`. `maxlen` is in entries; 0 means unbounded."""

    stream: str
    data: bytes
    maxlen: int = 0


class Commit(NamedTuple):
    """One atomic step: if the stored revision is `rev - 1`, add `writes` and store `state` as `rev`.

    Applying it again does nothing, so it is idempotent.

    `owner` is the interaction id, or "" for the reader. `live` says whether the next start is to find the
    call; the record of a call that is not live expires.
    """

    owner: str
    rev: int
    state: bytes
    writes: tuple[Write, ...] = ()
    live: bool = True


class Stored(NamedTuple):
    """The stored revision and state of one owner; (0, b"") where nothing is stored.

    `fault` says why what is there instead is unusable. `said` is the last message of the call's transcript
    stream, which is looked up only where there is no commit.
    """

    rev: int = 0
    state: bytes = b""
    fault: str = ""
    said: bytes = b""


class Outcome(enum.Enum):
    """The outcome of a commit."""

    APPLIED = "applied"
    DONE = "done"  # applied before: the answer had been lost; nothing was written again
    STALE = "stale"  # the stored revision is not the one that this commit builds on
    FENCED = "fenced"  # the fencing token is another worker's: that one owns the calls now
    UNFENCED = "unfenced"  # there is no fencing token: Redis has lost its data
    REFUSED = "refused"  # its call's own stream takes nothing (it is of another type); nothing was written
    BLOCKED = "blocked"  # a key that all calls need is of another type; nothing was written
    FAILED = "failed"  # the server did not do it, for no fault of the commit's; nothing was written


class Unreadable(Exception):
    """A stored state that is not one of ours. The message says what is wrong with it."""


class NewerState(Exception):
    """A stored state of a version that this program does not know: its work is for one that does."""


class _Version(msgspec.Struct, gc=False):
    version: int = 0


_checkpoint = msgspec.json.Decoder(Checkpoint)
_reader = msgspec.json.Decoder(ReaderState)
_version = msgspec.json.Decoder(_Version)
_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
encode = msgspec.json.Encoder().encode


def read_checkpoint(stored: Stored) -> Checkpoint:
    """Return the checkpoint of a call; without one, a fresh state that continues its stream's numbers.

    Raises:
        Unreadable: What is stored is not a checkpoint.
        NewerState: It is one of a later version.
    """
    if stored.fault:
        raise Unreadable(stored.fault)
    return decode_checkpoint(stored.state) if stored.state else _goes_on(stored.said)


def read_reader(stored: Stored) -> ReaderState:
    """Return the state of the reader; without one, a fresh state.

    Raises:
        Unreadable: What is stored is not a state of the reader.
    """
    if stored.fault:
        raise Unreadable(stored.fault)
    return decode_reader(stored.state)


def decode_checkpoint(state: bytes) -> Checkpoint:
    """Decode a checkpoint; an empty `state` gives a fresh one.

    Raises:
        Unreadable: The bytes are not a checkpoint.
        NewerState: They are one of a later version.
    """
    if not state:
        return Checkpoint()
    try:
        version = _version.decode(state).version
    except _UNDECODABLE:
        version = 0
    if version > VERSION:
        raise NewerState(f"state of version {version}; this program knows versions up to {VERSION}")
    return _decode(state, _checkpoint, "a checkpoint", _wrong_with)


def decode_reader(state: bytes) -> ReaderState:
    """Decode a state of the reader; an empty `state` gives a fresh one.

    Raises:
        Unreadable: The bytes are not a state of the reader.
    """
    return _decode(state, _reader, "the reader's", _wrong_with_reader) if state else ReaderState()


def _decode(state: bytes, decoder: msgspec.json.Decoder[T], what: str, wrong_with: Callable[[T], str]) -> T:
    try:
        decoded = decoder.decode(state)
    except _UNDECODABLE as error:
        raise Unreadable(f"state is not {what}: {error}") from None
    if wrong := wrong_with(decoded):
        raise Unreadable(f"state is not {what}: {wrong}")
    return decoded


def _goes_on(said: bytes) -> Checkpoint:
    """Return a fresh state that continues those numbers of a message that it has.

    It may have gone through other programs, which write 7 as 7.0, or null for what they do not know.
    """
    try:
        last = document(said) if said else {}
    except Unusable:
        last = {}
    numbers = (whole(last.get(name)) or 0 for name in ("seq", "connection"))
    seq, connection = (n if 0 <= n < _MOST_SEQ else 0 for n in numbers)
    return Checkpoint(seq=seq, connection=connection)


def _wrong_with(checkpoint: Checkpoint) -> str:
    """Return what is impossible in a decoded checkpoint, or "" if nothing is."""
    point = checkpoint.place
    for name, entry in (("entry", point.entry), ("ended", checkpoint.ended or ORIGIN)):
        if not is_id(entry):
            return f"{name} {entry[:40]!r} is no entry id"
    counts = {"offset": point.offset, "rate_us": point.rate_us, "seq": checkpoint.seq}
    counts["connection"] = checkpoint.connection
    impossible = (f"{name} {n} is not possible" for name, n in counts.items() if not 0 <= n < 2**62)
    return (
        _wrong_format(point, checkpoint.roles or ())
        or _wrong_place(point)
        or next(impossible, "")
        or _wrong_ahead(point)
    )


def _wrong_place(point: ResumePoint) -> str:
    """Return what is impossible in a resume point's positions, or "" if nothing is."""
    if not 0 <= point.rate_from <= point.finalized <= _MOST_SAMPLES:
        return f"finalized {point.finalized} does not fit to rate_from {point.rate_from}"
    width = point.format.width
    if not 0 <= point.at - width * point.finalized <= width * _MOST_SILENCE:
        return f"at {point.at} does not fit to finalized {point.finalized}"
    if not point.rate and (point.finalized or point.at):
        return "there is audio without a rate"
    return ""


def _wrong_format(point: ResumePoint, roles: tuple[str, ...]) -> str:
    """Return what is impossible in what a resume point says of its audio, or "" if nothing is."""
    if not 0 <= point.rate <= MAX_SAMPLE_RATE:
        return f"rate {point.rate} is not within 0..{MAX_SAMPLE_RATE} Hz"
    channels, lead = 1 if point.channels is msgspec.UNSET else point.channels, point.lead
    if not 1 <= channels <= MOST_CHANNELS:
        return f"channels {channels} is not within 1..{MOST_CHANNELS}"
    if lead is not msgspec.UNSET and (len(lead) != channels or min(lead) != 0 or max(lead) > _MOST_SAMPLES):
        return f"lead {list(lead)[:4]} does not fit to {channels} channels"
    return f"{len(roles)} roles" if len(roles) > MOST_CHANNELS else ""


def _wrong_ahead(point: ResumePoint) -> str:
    """Return what is impossible in a resume point's `ahead`, or "" if nothing is."""
    ahead = point.ahead
    if ahead is msgspec.UNSET:
        return ""
    if len(ahead.entries) > _MOST_AHEAD:
        return f"{len(ahead.entries)} entries are ahead"
    if wrong := next((entry for entry in (ahead.entry, *ahead.entries) if not is_id(entry)), None):
        return f"ahead {wrong[:40]!r} is no entry id"
    return "" if 0 <= ahead.offset < 2**62 else f"offset {ahead.offset} is not possible"


def _wrong_with_reader(reader: ReaderState) -> str:
    """Return what is impossible in a decoded state of the reader, or "" if nothing is."""
    state = msgspec.structs.asdict(reader)
    added = state.pop("audio_added")
    for name, entry in state.items():
        if not is_id(entry):
            return f"{name} {entry[:40]!r} is no entry id"
    return "" if added is msgspec.UNSET or 0 <= added < 2**63 else f"audio_added {added} is not possible"

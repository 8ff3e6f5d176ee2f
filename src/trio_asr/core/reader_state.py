"""The reader's own state: how far it has read, what a restart must read again, which entries were junk.

It commits as a call does, under the name "". Floors and junk marks move in the same atomic step that writes
the dead letters, so that a restart neither misses an entry nor dead-letters one twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from trio_asr.wire import ids
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Commit, Outcome, Stored, Write, decode_reader, encode, read_reader
from trio_asr.wire.transcripts import DeadLetter, Item

REPLAY_MARGIN_MS = 5000  # a start reads from this long before the floor, to see repeats and holes across it
MAX_JUNK_SHOWN = 4096
MAX_JUNK_QUEUED = 10_000
MAX_WRITES = 64


class _Junk(NamedTuple):
    letter: DeadLetter
    ends: bool


class ReaderOutbox:
    """The outbox of the reader: floors and dead letters. A `Source` of the committer.

    Raises:
        Unreadable: What is stored is no state of the reader.
    """

    interaction_id = ""

    def __init__(self, stored: Stored, dead_letter_stream: str, maxlen: int) -> None:
        self.confirmed = read_reader(stored)
        self.first_start = stored.rev == 0
        self.broken = False  # there was a stored state that could not be read
        self.dropped = 0  # dead letters that were dropped because too many waited
        self._stream, self._maxlen = dead_letter_stream, maxlen
        self._rev = stored.rev
        self._state = self.confirmed
        self._seen = {False: self.confirmed.audio_junk, True: self.confirmed.end_junk}
        self._queue: list[_Junk] = []
        self._flight: Commit | None = None

    def start(self) -> tuple[EntryId, EntryId]:
        """Return the positions to read after: audio and ends."""
        state = self.confirmed
        audio = ids.earlier(state.audio_floor, REPLAY_MARGIN_MS)
        return ids.before(audio), ids.before(state.end_floor)

    def junk(self, letter: DeadLetter, *, ends: bool) -> bool:
        """Queue a dead letter. Return False if it was written before this start."""
        if ids.key(letter.entry) <= ids.key(self._seen[ends]):
            return False
        self._seen[ends] = letter.entry
        if len(self._queue) >= MAX_JUNK_QUEUED:
            self.dropped += 1
        else:
            self._queue.append(_Junk(letter, ends))
        return True

    def floor(self, audio: EntryId, ends: EntryId, added: int | None = None) -> None:
        """Move the floors: everything before them is finalized, or never will be.

        `added` is how many entries were ever added up to that of the audio, if that is known.
        """
        count = msgspec.UNSET if added is None else added
        self._state = msgspec.structs.replace(
            self._state, audio_floor=audio, end_floor=ends, audio_added=count
        )

    def forget_above(self, audio: EntryId, ends: EntryId) -> None:
        """Keep no mark above these positions: the streams have started over from there."""
        for is_end, last in ((False, audio), (True, ends)):
            self._seen[is_end] = min(self._seen[is_end], last, key=ids.key)

    @property
    def rev(self) -> int:
        """The revision that Redis was last known to hold (0: none so far)."""
        return self._rev

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and nothing is in flight."""
        return self._flight is None and not self._queue and self._state == self.confirmed

    def next_commit(self, wall_ms: int) -> Commit | None:
        """Return the commit to send now: the one in flight again, or a new one."""
        if self._flight is None and not self.idle:
            self._flight = self._build(wall_ms)
        return self._flight

    def settle(self, outcome: Outcome) -> Sequence[Item]:
        """Take the answer to the commit in flight. It covers no items of a call."""
        if self._flight is not None and outcome in (Outcome.APPLIED, Outcome.DONE):
            self._rev = self._flight.rev
            self.confirmed = decode_reader(self._flight.state)
            self._flight = None
        return ()

    def _build(self, wall_ms: int) -> Commit:
        batch, self._queue = self._queue[:MAX_WRITES], self._queue[MAX_WRITES:]
        state = self._state
        for item in batch:
            mark = {"end_junk" if item.ends else "audio_junk": item.letter.entry}
            state = msgspec.structs.replace(state, **mark)
        self._state = state
        if self._queue:  # a floor beyond letters that still wait would lose them if this process died
            was = self.confirmed
            state = msgspec.structs.replace(
                state, audio_floor=was.audio_floor, end_floor=was.end_floor, audio_added=was.audio_added
            )
        writes = tuple(
            Write(
                self._stream,
                encode({**msgspec.structs.asdict(item.letter), "timestamp_ms": wall_ms}),
                self._maxlen,
            )
            for item in batch
        )
        return Commit("", self._rev + 1, encode(state), writes)


def dead_letter(stream: str, entry: EntryId, fields: list[bytes], kind: str, reason: str) -> DeadLetter:
    """Return the dead letter of an entry that could not be used."""
    data = ids.field(fields, b"data")
    shown = data if data is not None else b" ".join(fields)
    return DeadLetter(stream, entry, kind, reason, shown[:MAX_JUNK_SHOWN].decode("utf-8", "replace"))

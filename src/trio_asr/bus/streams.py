"""Reads of the streams, as steps: of both from a position on, and pages of the audio stream for catch-up.

The count to ask for is derived from the size of the last entries. Where entries suddenly become larger, the
reply is cut off at a byte limit, and the server is asked to count bytes (`read.lua`) until they are small
again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import redis

from trio_asr.bus.base import Batch, KeyMisused, Page, RawEntry
from trio_asr.bus.connection import ReplyTooLargeError, Script
from trio_asr.bus.line import Steps, granted
from trio_asr.wire import ids
from trio_asr.wire.frames import MAX_ENTRY_BYTES
from trio_asr.wire.ids import EntryId

BLOCK_MS = 1000  # most time that a read waits for entries
READ_COUNT = 1000
FIRST_COUNT = 32  # while the size of the entries is unknown; the count doubles from read to read
FIRST_BYTES = 256 * 1024  # size of a reply that is expected while that of the entries is unknown
READ_BYTES = 2 * 1024 * 1024  # target size of one read; large entries lower the count
MOST_BYTES = 4 * READ_BYTES  # a larger reply is cut off
LARGE_BYTES = 64 * 1024  # entries of this size are counted by the server before it sends them
SAMPLES = 4  # entries of a read whose size is looked at
CAREFUL_COUNT = 64  # most entries of a page that is read by size
MOST_AFTER = 1000  # most entries after the last one read that are counted when some may have been trimmed
BATCH = 400
LEAST_CADENCE_S, CADENCE_S = 0.01, 0.04  # bounds of the spacing of reads
BATCH_S, MOST_CADENCE_S = 0.0015, 0.1  # of several shards: least time per batch, and most between two reads
LOOK_S = 1.0  # interval at which the streams are asked for their first and last ids


class _Pages:
    """The size of the next read: by count, or by bytes while entries are large (`careful`).

    With `lean`, for a read beside many others, the count stays near what has come.
    """

    def __init__(self, stream: str, *, lean: bool = False) -> None:
        self.stream, self.lean = stream, lean
        self.count = FIRST_COUNT
        self.careful = False
        self.bytes_each = 0  # 0: not known

    @property
    def weight(self) -> int:
        """The size of the next reply, as far as it can be foreseen."""
        if self.careful:
            return READ_BYTES
        return self.count * self.bytes_each or FIRST_BYTES

    def took(self, found: Sequence[RawEntry]) -> None:
        """Derive the next count from the entries that came."""
        if found:
            some = found[:: 1 + len(found) // SAMPLES]  # a batch has thousands, which are much alike
            self.bytes_each = 1 + sum([sum(map(len, fields)) for _, fields in some]) // len(some)
            self.count = max(1, min(READ_COUNT, READ_BYTES // self.bytes_each, 2 * self.count))
        if self.lean:
            self.count = min(self.count, max(FIRST_COUNT, 2 * len(found)))

    def failed(self) -> None:
        """Halve the count: a server may disconnect a reader because its reply is too large."""
        self.count = max(1, self.count // 2)

    def page(self, after: EntryId, stream: str = "") -> Steps[Page]:
        """Read a page by size, and find out whether entries are still large."""
        ((found, more),) = granted(
            (yield [_READ.on([stream or self.stream], after, READ_BYTES, CAREFUL_COUNT, MAX_ENTRY_BYTES)])
        )
        if not stream:
            largest = max((len(value) for _, fields in found for value in fields), default=0)
            self.careful, self.count = largest >= LARGE_BYTES, FIRST_COUNT
        return Page([(raw_id, fields) for raw_id, fields in found], bool(more))


class Cadence:
    """The spacing of reads: each is to bring about `BATCH` entries.

    A small read costs nearly as much as a large one; but a large one makes many calls due at once, and the
    last of them wait for the first. Of many shards each has a batch of its own, which takes a turn of the
    event loop however small it is: the more there are, the longer they are gathered.
    """

    def __init__(self) -> None:
        self._seconds = CADENCE_S

    def after(self, batches: Sequence[Batch]) -> float:
        """Return the seconds from a read that has brought these to the next one."""
        if any(batch.audio_full or batch.ends_full for batch in batches):
            return 0.0
        wanted_s = self._seconds * BATCH / max(1, sum(len(batch.audio) for batch in batches))
        self._seconds = min(CADENCE_S, max(LEAST_CADENCE_S, wanted_s))
        came = sum(bool(batch.audio or batch.ends) for batch in batches)
        return max(self._seconds, min(MOST_CADENCE_S, came * BATCH_S))


class _Known(NamedTuple):
    """How many entries were ever added, of which all were read, and how many were read since."""

    added: int
    read: int = 0


class StreamReader:
    """The reader of both input streams. With `polled` it never blocks: it is one of many on a connection.

    Its steps are taken in one thread, one read after another.
    """

    def __init__(self, audio: str, ends: str, *, polled: bool = False) -> None:
        self._audio, self._ends = audio, ends
        self._audio_name, self._ends_name = audio.encode(), ends.encode()
        self._block = () if polled else ("BLOCK", BLOCK_MS)
        self._pages = _Pages(audio, lean=polled)
        self.came = 0.0  # when the last entries came, in seconds of the monotonic clock
        self._at: EntryId = ""  # up to where the last read came
        self._next_look = 0.0
        self._looked_at: EntryId = ""  # up to where all that was ever added is known to have been read
        self._known: _Known | None = None
        self._begun: tuple[EntryId, int] | None = None  # what an earlier reader knew, until it is used

    @property
    def weight(self) -> int:
        """The size of the next reply in bytes, as far as it can be foreseen."""
        return self._pages.weight

    def goes_on(self, floor: EntryId, added: int) -> None:
        """Begin with what an earlier reader knew, as `Bus.goes_on` does."""
        self._at, self._begun = "", (floor, added)

    def read(self, audio_after: EntryId, ends_after: EntryId) -> Steps[Batch]:
        """Read what there is after the positions, as `Bus.read` does.

        Raises:
            KeyMisused: The audio stream is not a stream.
            redis.RedisError, OSError: No answer.
        """
        if audio_after != self._at:  # it begins, or somebody has gone back
            self._looked_at, self._known, self._next_look = audio_after, None, 0.0
        try:
            batch = yield from self._read(audio_after, ends_after)
        except Exception:
            self._pages.failed()
            self._next_look = 0.0  # a server that is back may not be the same
            raise
        now = time.monotonic()
        # Where entries come after a pause, what was read before it may soon be trimmed, as it should be.
        look = now >= self._next_look or bool(batch.audio and now >= self.came + LOOK_S)
        if batch.audio or batch.ends:
            self.came = now
        if batch.audio:
            self._at = batch.audio[-1][0].decode()
            if self._known is not None:  # as long as none is missed, they are all that were added
                self._known = self._known._replace(read=self._known.read + len(batch.audio))
        else:
            self._at = audio_after
        if look:
            batch = yield from self._look(batch)
        return batch

    def _read(self, audio_after: EntryId, ends_after: EntryId) -> Steps[Batch]:
        if self._pages.careful:
            batch = yield from self._read_by_size(audio_after, ends_after)
            if batch.audio or batch.ends:
                return batch
        try:
            return (yield from self._read_by_count([self._audio, self._ends], [audio_after, ends_after]))
        except ReplyTooLargeError:
            return (yield from self._read_by_size(audio_after, ends_after))
        except redis.ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
        (kind,) = granted((yield [("TYPE", self._audio)]))
        if bytes(kind) not in (b"stream", b"none"):
            raise KeyMisused(self._audio)
        return (yield from self._read_by_count([self._audio], [audio_after]))

    def _read_by_count(self, streams: list[str], after: list[EntryId]) -> Steps[Batch]:
        count = self._pages.count
        (reply,) = granted((yield [("XREAD", "COUNT", count, *self._block, "STREAMS", *streams, *after)]))
        audio: list[RawEntry] = []
        ends: list[RawEntry] = []
        for name, found in reply or ():
            if name == self._audio_name:
                audio = found
            elif name == self._ends_name:
                ends = found
        self._pages.took(audio)
        return Batch(audio, ends, len(audio) >= count, len(ends) >= count)

    def _read_by_size(self, audio_after: EntryId, ends_after: EntryId) -> Steps[Batch]:
        # Ends first: the audio before an end is read after it.
        ends = yield from self._pages.page(ends_after, self._ends)
        audio = yield from self._pages.page(audio_after)
        return Batch(audio.entries, ends.entries, audio.full, ends.full)

    def _look(self, batch: Batch) -> Steps[Batch]:
        """Add what only a look at the streams tells: they may have begun again, or been cut."""
        self._next_look = time.monotonic() + LOOK_S
        (found,) = granted((yield [_LAST.on([self._audio, self._ends])]))
        (audio, added, length, first), (end, *_) = [[bytes(part).decode() for part in one] for one in found]
        gone = audio if audio and length == "0" and ids.key(audio) >= ids.key(self._at) else None
        trimmed = yield from self._trimmed(first)
        if gone is not None:
            self._at = self._looked_at = gone  # the next read goes on from there
        if added and (audio == self._at or added == "0"):
            self._known = _Known(int(added))
        return batch._replace(
            trimmed=trimmed,
            last_audio=None if batch.audio else audio or None,
            last_end=None if batch.ends else end or None,
            gone=None if batch.audio else gone,
            added=self._known and self._known.added + self._known.read,
        )

    def _trimmed(self, first: EntryId) -> Steps[EntryId | None]:
        """Return up to where the stream was cut before all was read; `first` is its first entry, if any.

        Nothing of what was there at the last look was cut unread while the entry up to which it was read then
        is still there, or an older one. Who begins with whatever there is may know of nothing that was cut.
        """
        if not first or ids.key(first) > ids.key(self._at):
            return None  # what is there is still to be read: the next look judges that
        looked_at, self._looked_at = self._looked_at, self._at
        until = ids.before(first)
        if looked_at == until or ids.key(first) <= ids.key(looked_at):
            return None
        missed = yield from self._missed_some()
        return until if missed or (missed is None and looked_at != ids.ORIGIN) else None

    def _missed_some(self) -> Steps[bool | None]:
        """Return whether more entries were added than were read; None if that is unknown.

        If fewer were added than before, it is another stream, and none of it was read before the last look.
        """
        begun, self._begun = self._begun, None
        known, self._known = self._known, None
        places = [self._at] if known or begun is None else [self._at, begun[0]]
        counted = granted((yield [_ADDED.on([self._audio], place, MOST_AFTER) for place in places]))
        if not all(counted):
            return None
        added = counted[0][0] - counted[0][1]
        self._known = _Known(added)
        if known is None:
            if begun is None:
                return None
            known, added = _Known(begun[1]), counted[1][0] - counted[1][1]
        return bool(added > known.read + (known.added if added >= known.added else 0))


class AgainReader:
    """The reader of pages for catch-up."""

    def __init__(self, audio: str) -> None:
        self._audio = audio
        self._pages = _Pages(audio)

    @property
    def weight(self) -> int:
        """The size of the next reply in bytes, as far as it can be foreseen."""
        return self._pages.weight

    def read(self, after: EntryId) -> Steps[Page]:
        """Read a page of the audio stream after a position.

        Raises:
            redis.RedisError, OSError: No answer.
        """
        try:
            return (yield from self._read(after))
        except Exception:
            self._pages.failed()
            raise

    def _read(self, after: EntryId) -> Steps[Page]:
        pages = self._pages
        if pages.careful:
            return (yield from pages.page(after))
        count = pages.count
        try:
            (found,) = granted((yield [("XRANGE", self._audio, f"({after}", "+", "COUNT", count)]))
        except ReplyTooLargeError:
            return (yield from pages.page(after))
        pages.took(found)
        return Page(cast("list[Any]", found), len(found) >= count)


_READ, _LAST, _ADDED = Script("read.lua"), Script("last.lua"), Script("added.lua")

"""Reads of the streams: a blocking read of both, and pages of the audio stream for catch-up.

The count to ask for is derived from the size of the last entries. Where entries suddenly become larger, the
reply is cut off at a byte limit, and the server is asked to count bytes (`read.lua`) until they are small
again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import redis

from trio_asr.bus.base import Batch, KeyMisused, Page, RawEntry
from trio_asr.bus.connection import PipelinedConnection, ReplyTooLargeError, Script
from trio_asr.wire import ids
from trio_asr.wire.frames import MAX_ENTRY_BYTES
from trio_asr.wire.ids import EntryId

BLOCK_MS = 1000  # most time that a read waits for entries
READ_COUNT = 1000
FIRST_COUNT = 32  # while the size of the entries is unknown; the count doubles from read to read
READ_BYTES = 2 * 1024 * 1024  # target size of one read; large entries lower the count
MOST_BYTES = 4 * READ_BYTES  # a larger reply is cut off
LARGE_BYTES = 64 * 1024  # entries of this size are counted by the server before it sends them
CAREFUL_COUNT = 64  # most entries of a page that is read by size
MOST_AFTER = 1000  # most entries after the last one read that are counted when some may have been trimmed
LOOK_S = 1.0  # interval at which a stream without new entries is asked for the last id it has generated


class _Pages:
    """The size of the next read: by count, or by bytes while entries are large (`careful`)."""

    def __init__(self, connection: PipelinedConnection, stream: str) -> None:
        self.connection, self.stream = connection, stream
        self.count = FIRST_COUNT
        self.careful = False
        self.cut = False  # the last entry of the last page was too large to be sent whole

    def took(self, found: Sequence[RawEntry]) -> None:
        """Derive the next count from the entries that came."""
        if found:
            some = found[:: 1 + len(found) // 16]  # a batch has thousands, which are much alike
            size = sum(len(value) for _, fields in some for value in fields) // len(some)
            self.count = max(1, min(READ_COUNT, READ_BYTES // (size + 1), 2 * self.count))

    def failed(self) -> None:
        """Halve the count: a server may disconnect a reader because its reply is too large."""
        self.count = max(1, self.count // 2)

    def page(self, after: EntryId, stream: str = "") -> Page:
        """Read a page by size, and find out whether entries are still large.

        Raises:
            redis.RedisError, OSError: No answer.
        """
        found, more, cut = self.connection.run(
            _READ, [stream or self.stream], after, READ_BYTES, CAREFUL_COUNT, MAX_ENTRY_BYTES
        )
        if not stream:
            largest = max((len(value) for _, fields in found for value in fields), default=0)
            self.careful, self.cut = largest >= LARGE_BYTES, bool(cut)
            self.count = FIRST_COUNT
        return Page([(raw_id, fields) for raw_id, fields in found], bool(more))


class StreamReader:
    """The reader of both input streams. Blocking: it needs a thread of its own."""

    def __init__(self, connection: PipelinedConnection, audio: str, ends: str) -> None:
        self._connection, self._audio, self._ends = connection, audio, ends
        self._pages = _Pages(connection, audio)
        self._next_look = 0.0
        self._large: EntryId = ""  # the last entry read, if it is large
        # An entry that was read, and how many entries were ever added up to it. None where that is unknown.
        self._added: tuple[EntryId, int] | None = None

    def failed(self) -> None:
        """Ask for less next time: a read has failed."""
        self._pages.failed()

    def read(self, audio_after: EntryId, ends_after: EntryId, pause_s: float) -> Batch:
        """Sleep `pause_s` seconds, then wait for entries after the positions, as `Bus.read` does.

        Raises:
            KeyMisused: The audio stream is not a stream.
            redis.RedisError, OSError: No answer.
        """
        # Sleeping here is cheap: in the event loop it would be one turn more for every read.
        time.sleep(max(0.0, pause_s))
        try:
            batch = self._read(audio_after, ends_after)
        except ReplyTooLargeError:
            batch = self._read_by_size(audio_after, ends_after)
        except redis.ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            batch = self._read_without_ends(audio_after)
        if batch.audio:
            last, fields = batch.audio[-1]
            self._large = last.decode() if self._pages.cut or sum(map(len, fields)) >= LARGE_BYTES else ""
        self._count(audio_after, batch)
        if (not batch.audio or not batch.ends) and time.monotonic() >= self._next_look:
            batch = self._look(audio_after, batch)
        return batch

    def _read(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        if self._pages.careful:
            batch = self._read_by_size(audio_after, ends_after)
            if batch.audio or batch.ends:
                return batch
        count = self._pages.count
        # Sent together, the commands are served in one go: if the entry at the position still exists, nothing
        # after it was trimmed unread. The reply has the whole entry: a large one would come with every read.
        look = () if audio_after == self._large else (("XRANGE", self._audio, audio_after, audio_after),)
        *there, reply = self._connection.ask(
            *look,
            ("XREAD", "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS",
             self._audio, self._ends, audio_after, ends_after),
        )  # fmt: skip
        found = {bytes(name): cast("list[RawEntry]", found) for name, found in reply or ()}
        audio, ends = found.get(self._audio.encode(), []), found.get(self._ends.encode(), [])
        gone = bool(audio) and there == [[]]
        trimmed = self._trimmed(audio_after, audio) if gone else None
        self._pages.took(audio)
        self._pages.cut = False
        return Batch(audio, ends, len(audio) >= count, len(ends) >= count, trimmed)

    def _read_by_size(self, audio_after: EntryId, ends_after: EntryId) -> Batch:
        ends = self._pages.page(ends_after, self._ends)  # first: the audio before an end is read after it
        audio = self._pages.page(audio_after)
        return Batch(audio.entries, ends.entries, audio.full, ends.full)

    def _read_without_ends(self, audio_after: EntryId) -> Batch:
        kind = bytes(self._connection.ask(("TYPE", self._audio))[0])
        if kind not in (b"stream", b"none"):
            raise KeyMisused(self._audio)
        count = self._pages.count
        (reply,) = self._connection.ask(
            ("XREAD", "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS", self._audio, audio_after)
        )
        audio = cast("list[RawEntry]", reply[0][1]) if reply else []
        self._pages.took(audio)
        return Batch(audio, (), len(audio) >= count)

    def _trimmed(self, position: EntryId, audio: Sequence[RawEntry]) -> EntryId | None:
        """Return up to where the stream was trimmed past a position; `audio` is what came after it."""
        until = ids.before(audio[0][0].decode())
        if position in (ids.ORIGIN, until):
            return None
        (oldest,) = self._connection.ask(("XRANGE", self._audio, "-", "+", "COUNT", 1))
        begin = oldest[0][0].decode() if oldest else ids.ORIGIN
        if ids.key(begin) <= ids.key(position):
            return None
        return until if self._lost_some(position, audio) else None

    def _lost_some(self, position: EntryId, audio: Sequence[RawEntry]) -> bool:
        """Return whether more entries were added after a position than are there, or that is unknown.

        A stream that was deleted counts from 0 again: then fewer were added, as far as can be known.
        """
        last = audio[-1][0].decode()
        counted = self._connection.run(_ADDED, [self._audio], last, MOST_AFTER)
        known, self._added = self._added, None
        if not counted:
            return True
        added = counted[0] - counted[1]
        self._added = position, added - len(audio)
        return known is None or known[0] != position or added > known[1] + len(audio)

    def _count(self, audio_after: EntryId, batch: Batch) -> None:
        """Add up the entries read: as long as none is missed, they are all that were added."""
        if self._added is None or self._added[0] != audio_after:
            self._added = None
        elif batch.audio:
            self._added = batch.audio[-1][0].decode(), self._added[1] + len(batch.audio)

    def _look(self, audio_after: EntryId, batch: Batch) -> Batch:
        """Add the last id of each stream without new entries: it may have begun again, at lower ids."""
        self._next_look = time.monotonic() + LOOK_S
        found = self._connection.run(_LAST, [self._audio, self._ends])
        (audio, added, length), (ends, _, _) = [[bytes(part).decode() for part in one] for one in found]
        at = batch.audio[-1][0].decode() if batch.audio else audio_after
        gone = audio if audio and length == "0" and ids.key(audio) >= ids.key(at) else None
        if added and (audio == at or gone):
            self._added = audio, int(added)
        return batch._replace(
            last_audio=None if batch.audio else audio or None,
            last_end=None if batch.ends else ends or None,
            gone=None if batch.audio else gone,
        )


class AgainReader:
    """The reader of pages for catch-up. Blocking: it needs a thread of its own."""

    def __init__(self, connection: PipelinedConnection, audio: str) -> None:
        self._connection, self._audio = connection, audio
        self._pages = _Pages(connection, audio)

    def failed(self) -> None:
        """Ask for less next time: a read has failed."""
        self._pages.failed()

    def read(self, after: EntryId) -> Page:
        """Return a page of the audio stream after a position.

        Raises:
            redis.RedisError, OSError: No answer.
        """
        pages = self._pages
        if pages.careful:
            return pages.page(after)
        count = pages.count
        try:
            (found,) = self._connection.ask(("XRANGE", self._audio, f"({after}", "+", "COUNT", count))
        except ReplyTooLargeError:
            return pages.page(after)
        pages.took(found)
        return Page(cast("list[Any]", found), len(found) >= count)


_READ, _LAST, _ADDED = Script("read.lua"), Script("last.lua"), Script("added.lua")

"""How far both streams were read, and whether they are still the streams that were read so far.

A stream may start over below our position: Redis was emptied and its clock is earlier, or a failover has
lost the end of the stream. Then nothing comes above its last id, and a reader that waits for more waits
forever.
"""

from __future__ import annotations

from functools import partial

from trio_asr.bus.base import Bus, RawEntry
from trio_asr.core.trail import Noted, Trail
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.ids import EntryId
from trio_asr.worker.retry import patiently


class Positions:
    """The entries of both streams after which to read next."""

    def __init__(self, bus: Bus, services: Services, audio: EntryId, ends: EntryId) -> None:
        self.audio, self.ends = audio, ends
        self._bus, self._services = bus, services
        self._added: tuple[EntryId, int] | None = None  # how many entries were ever added up to this one
        self._trail = Trail()
        self._log = services.problems.logger("positions")

    def read_audio(self, raw: RawEntry) -> None:
        """Record the entry of the audio stream that was read last."""
        self.audio = raw[0].decode()
        self._trail.note(self.audio, _content(raw))

    def counted(self, added: int) -> None:
        """Record how many entries were ever added to the audio stream up to the one that was read last."""
        self._added = self.audio, added

    def added(self, entry: EntryId) -> int | None:
        """Return how many entries were ever added up to this one, if that is known."""
        return self._added[1] if self._added is not None and self._added[0] == entry else None

    def read_ends(self, entry: EntryId) -> None:
        """Record the entry of the stream of ends that was read last."""
        self.ends = entry

    async def begun_again(self, last_audio: EntryId | None, last_end: EntryId | None) -> EntryId | None:
        """Go back if a stream has started over. Return the new position if it is the audio stream, else None.

        `last_audio` and `last_end` are the last ids that the streams gave out (None: not known).
        """
        if last_end is not None and ids.key(last_end) < ids.key(self.ends):
            self._say("call_end", self.ends, last_end, ids.ORIGIN)
            self.ends = ids.ORIGIN  # an end that was applied before is recognised by its id
        if last_audio is None or ids.key(last_audio) >= ids.key(self.audio):
            return None
        known = await self._known(last_audio)
        self._say("audio", self.audio, last_audio, known)
        self._trail.back_to(known)
        self.audio = known
        return known

    async def _known(self, last: EntryId) -> EntryId:
        """Return the newest entry up to `last` that is what it was, or `ORIGIN` if none is.

        Newer entries may be gone, or may be other entries that came after the failover with the same ids.
        Much older ones may have been trimmed.
        """
        noted = self._trail.up_to(last)
        gone, at, step = len(noted), len(noted) - 1, 1
        while at >= 0 and not await self._is_there(noted[at]):
            gone, at, step = at, at - step, 2 * step
        if at < 0:
            return ids.ORIGIN
        while gone - at > 1:
            middle = (at + gone) // 2
            at, gone = (middle, gone) if await self._is_there(noted[middle]) else (at, middle)
        return noted[at].entry

    async def _is_there(self, noted: Noted) -> bool:
        before = ids.before(noted.entry)
        page = await patiently(self._services, partial(self._bus.read_again, before))
        if not page.entries:
            return False
        first = page.entries[0]
        return first[0].decode() == noted.entry and _content(first) == noted.content

    def _say(self, stream: str, position: EntryId, last: EntryId, to: EntryId) -> None:
        self._services.metrics.streams_begun_again.inc()
        self._log.error(
            "A stream has begun again below what was read of it; reading goes back with it",
            stream=stream, position=position, last=last, to=to,
        )  # fmt: skip


def _content(raw: RawEntry) -> int:
    return hash(tuple(raw[1]))

"""A call as it is read for: what was read of it, how far, and whether it may have more."""

from __future__ import annotations

import math

import trio

from trio_asr.core.call import Call
from trio_asr.core.states import LIFE, READING, Life, Moves, Reading
from trio_asr.core.stream_progress import StreamProgress
from trio_asr.interaction.feed import STILL_S
from trio_asr.interaction.inbox import Inbox
from trio_asr.wire import ids
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId


class Intake:
    """The frames of one call on their way to its timeline.

    A call that is `behind` does not get what the front of the stream brings: it has as much as it may hold,
    it is ending or failing, or it begins somewhere back. It catches up later, from the entry after its
    `latest`.
    """

    def __init__(self, call: Call, tenant: str, after: EntryId) -> None:
        now = trio.current_time()
        self.call = call
        self.tenant = call.outbox.tenant_id or tenant  # "" while it is not known
        self.inbox = Inbox()
        self.limit = math.inf  # of the bytes of audio that the call may hold in all
        self.progress = StreamProgress(call, after)
        self.life = Moves[Life](LIFE, Life.RUNNING)
        self.reading = Moves[Reading](READING, Reading.MISSED if after else Reading.LIVE)
        self.behind = bool(after)  # as `reading` has it: this is asked for each frame
        self.next_end: EntryId = ""  # an end that counts when it has caught up, or begins again
        self.next_tenant = ""  # who uses the id from here on
        self.next_size = 0  # of the frame that comes next, where it had no room when last read, in bytes
        self.active_at = self.handed_at = now  # when something happened, and when frames were handed over
        self._cursor, self._cursor_at = -1, now  # `finalized` when last looked at, and when it moved

    # -- its states ------------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """The call takes no more frames, and finishes what it has."""
        return self.life.now is Life.CLOSING

    @property
    def failed(self) -> bool:
        """The call restarts from its checkpoint."""
        return self.life.now is Life.FAILED

    @property
    def over(self) -> bool:
        """The call takes no more frames."""
        return self.closing or self.failed

    @property
    def missed(self) -> bool:
        """The call is behind, and there is something to be read again."""
        return self.reading.now is Reading.MISSED

    def fall_behind(self, *, missed: bool = True) -> None:
        """Take nothing of what comes from now on; it is there to be read again if some was `missed`."""
        if missed:
            self.reading.to(Reading.MISSED)
        elif not self.behind:
            self.reading.to(Reading.BEHIND)
        self.behind = True

    def caught_up(self) -> None:
        """Take what comes again."""
        self.reading.to(Reading.LIVE)
        self.behind = False

    # -- how far it was read ---------------------------------------------------------------------------

    @property
    def taken(self) -> EntryId:
        """The last entry of this call that was read for it."""
        return self.inbox.frames[-1].entry if self.inbox.frames else self.progress.handed

    @property
    def latest(self) -> EntryId:
        """The entry up to which the stream was read for this call."""
        return self.progress.latest(self.taken)

    def floor(self) -> EntryId | None:
        """Return the first entry that a restart would need for this call (None: it needs none)."""
        return self.progress.floor(self.taken, failed=self.failed, missed=self.missed)

    def forget_above(self, last: EntryId) -> None:
        """Hold no entry id above `last` any more: the stream has begun again from there."""
        self.call.forget_above(last)
        self.progress.forget_above(last)

    def is_other(self, frame: Frame) -> bool:
        """Say whether a frame is of another tenant's call of the same id."""
        known = ids.key(frame.entry) <= self.progress.resume_at
        if not frame.tenant_id or frame.tenant_id == self.tenant or known:
            return False
        if self.tenant:
            return True
        self.tenant = frame.tenant_id
        return False

    # -- what it may hold ------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes of audio in memory."""
        return self.call.timeline.held_bytes + sum(self.call.coming) + self.inbox.size

    def has_room(self, frame: Frame) -> bool:
        """Say whether the call may hold this frame, too; one that holds nothing always may."""
        inbox = self.inbox
        fits = inbox.size + len(frame.pcm) <= inbox.limit or not self.size
        self.next_size = 0 if fits else len(frame.pcm)
        return fits

    def stands_still(self, now: float) -> bool:
        """Say whether nobody has spoken for a while, and the call is neither ending nor to be read for."""
        idle = self.life.now is Life.RUNNING and not (self.behind or self.inbox.frames)
        return idle and now - self.handed_at >= STILL_S

    def progressed_at(self, now: float) -> float:
        """Look at the cursor; return when it last moved. To give audio up is no progress."""
        cursor = self.call.timeline.finalized - self.call.given_up
        if cursor != self._cursor:
            self._cursor, self._cursor_at = cursor, now
            self.active_at = max(self.active_at, now)
        return self._cursor_at

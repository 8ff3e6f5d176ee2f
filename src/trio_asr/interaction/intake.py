"""The reading side of a call: what was read for it, how far, and how much more it may hold."""

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

    A call that is `behind` does not get what arrives at the front of the stream: it holds as much as it may,
    it is ending or failing, or it starts at an earlier position. It catches up later, from the entry after
    `latest`.
    """

    def __init__(self, call: Call, tenant: str, after: EntryId) -> None:
        now = trio.current_time()
        self.call = call
        self.tenant = call.outbox.tenant_id or tenant  # "" while it is not known
        self.inbox = Inbox()
        self.limit = math.inf  # the bytes of audio that the call may hold in all
        self.progress = StreamProgress(call, after)
        self.life = Moves[Life](LIFE, Life.RUNNING)
        self.reading = Moves[Reading](READING, Reading.MISSED if after else Reading.LIVE)
        self.behind = bool(after)  # follows `reading`; an attribute, because it is read for every frame
        self.next_end: EntryId = ""  # an end that counts once the call has caught up, or is started again
        self.next_tenant = ""  # the tenant that uses the id from here on
        self.next_size = 0  # bytes of the next frame, if it exceeded the limit when it was last read
        self.active_at = self.handed_at = now  # the last sign of life, and the last handover of frames
        self._cursor, self._cursor_at = -1, now  # `finalized` when last looked at, and when it moved

    # -- states ----------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the call takes frames and its end is not known."""
        return self.life.now is Life.RUNNING

    @property
    def closing(self) -> bool:
        """Whether the call takes no more frames and finishes those it has."""
        return self.life.now is Life.CLOSING

    @property
    def failed(self) -> bool:
        """Whether the call restarts from its checkpoint."""
        return self.life.now is Life.FAILED

    @property
    def over(self) -> bool:
        """Whether the call takes no more frames."""
        return self.closing or self.failed

    @property
    def missed(self) -> bool:
        """Whether the call is behind and has missed entries that have to be read again."""
        return self.reading.now is Reading.MISSED

    def fall_behind(self, *, missed: bool = True) -> None:
        """Take nothing that arrives from now on. With `missed`, there are entries to read again."""
        if missed:
            self.reading.to(Reading.MISSED)
        elif not self.behind:
            self.reading.to(Reading.BEHIND)
        self.behind = True

    def caught_up(self) -> None:
        """Take what arrives again."""
        self.reading.to(Reading.LIVE)
        self.behind = False

    # -- how far the stream was read for it ------------------------------------------------------------

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
        """Keep no entry id above `last`: the stream has started over from there."""
        self.call.forget_above(last)
        self.progress.forget_above(last)

    def is_other(self, frame: Frame) -> bool:
        """Return whether a frame belongs to another tenant's call with the same id."""
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
        """The bytes of audio that the call holds in memory."""
        return self.call.timeline.held_bytes + sum(self.call.coming) + self.inbox.size

    def may_hold(self, frame: Frame) -> bool:
        """Return whether the call may hold this frame, too. A call that holds nothing always may."""
        inbox = self.inbox
        fits = inbox.size + len(frame.pcm) <= inbox.limit or not self.size
        self.next_size = 0 if fits else len(frame.pcm)
        return fits

    def stands_still(self, now: float) -> bool:
        """Return whether no audio has come for a while, and the call is neither ending nor behind."""
        idle = self.running and not (self.behind or self.inbox.frames)
        return idle and now - self.handed_at >= STILL_S

    def progressed_at(self, now: float) -> float:
        """Return when `finalized` last moved, after looking at it. Giving audio up is no progress."""
        cursor = self.call.timeline.finalized - self.call.given_up
        if cursor != self._cursor:
            self._cursor, self._cursor_at = cursor, now
            self.active_at = max(self.active_at, now)
        return self._cursor_at

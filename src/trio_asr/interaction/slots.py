"""A call's place in the dispatcher."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import trio

from trio_asr.core.call import Call
from trio_asr.interaction.interaction import Frames, Interaction
from trio_asr.wire import ids
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId

STILL_S = 2.0  # without a frame for so long, a call makes room for one that waits


class Held:
    """What was read for a call and not handed to it yet: frames, their bytes, and how many may wait.

    `room` is a number of bytes: less is not worth a wake-up. With 0 there is something to decide. With more
    than `limit` bytes it is enough.
    """

    __slots__ = ("frames", "limit", "room", "size", "tenant")

    def __init__(self, limit: float = math.inf) -> None:
        self.frames: Frames = []
        self.size = self.room = 0
        self.limit = limit
        self.tenant = ""

    def add(self, frame: Frame) -> bool:
        """Hold this frame, too; say whether there is something to decide."""
        self.frames.append(frame)
        self.size += len(frame.pcm)
        return self.size >= self.room

    def drop_last(self) -> None:
        """Hold the last frame no more."""
        self.size -= len(self.frames.pop().pcm)

    def take(self) -> Frames:
        """Return the frames and hold none."""
        frames = self.frames
        self.frames, self.size, self.room = [], 0, 0
        return frames


@dataclass(eq=False, slots=True)
class Slot:
    """A call in progress: its tasks, the channel to them, and how far its frames were handed over.

    A call that is `behind` does not get what the front of the stream brings: because it has as much as it may
    hold, because it is ending or failing, or because it begins somewhere back. What comes is read again for
    it when it can take it (`catchup`), from the entry after its `latest`.
    """

    interaction: Interaction
    frames: trio.MemorySendChannel[Frames]
    active_at: float  # when frames were handed over or the cursor moved, or the call was otherwise not idle
    tenant: str  # "" while it is not known
    call: Call = field(init=False)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    end: tuple[EntryId, str] | None = None  # where and why it ends, once that is known
    next_end: EntryId = (
        ""  # an end that counts when it has caught up, or when it goes on after its present end
    )
    next_tenant: str = ""  # who uses the id from here on
    behind: bool = False
    missed: bool = False  # and there is something to be read again
    next_size: int = 0  # of the frame that comes next, where it had no room when last read, in bytes
    closing: bool = False
    failed: bool = False
    held: Held = field(default_factory=Held)
    limit: float = math.inf  # of the bytes that it may have in all
    handed: EntryId = ids.ORIGIN  # the last entry handed over
    passed: EntryId = ids.ORIGIN  # up to this one all was read again that it was behind with
    first: EntryId = ids.ORIGIN
    resume_at: int = 0  # up to this key entries are only looked at: it was begun from a checkpoint
    handed_at: float = 0.0
    cursor: int = -1  # `finalized` when last looked at
    cursor_at: float = 0.0  # and when it was seen to move

    def __post_init__(self) -> None:
        self.call = self.interaction.call
        self.interaction.scheduler.ask = self.release

    @property
    def over(self) -> bool:
        """It takes no more frames."""
        return self.closing or self.failed

    @property
    def taken(self) -> EntryId:
        """The last entry of this call that was read for it."""
        return self.held.frames[-1].entry if self.held.frames else self.handed

    @property
    def latest(self) -> EntryId:
        """Up to where the stream was read for this call."""
        return max(self.taken, self.passed, key=ids.key)

    @property
    def size(self) -> int:
        """Bytes of audio in memory."""
        return self.call.timeline.held_bytes + sum(self.call.coming) + self.held.size

    def is_other(self, frame: Frame) -> bool:
        """Say whether a frame is of another tenant's call of the same id."""
        if not frame.tenant_id or frame.tenant_id == self.tenant or ids.key(frame.entry) <= self.resume_at:
            return False
        if self.tenant:
            return True
        self.tenant = frame.tenant_id
        return False

    def has_room(self, frame: Frame) -> bool:
        """Say whether the call may hold this frame, too; one that holds nothing always may."""
        held = self.held
        fits = held.size + len(frame.pcm) <= held.limit or not self.size
        self.next_size = 0 if fits else len(frame.pcm)
        return fits

    def stands_still(self, now: float) -> bool:
        """Say whether nobody has spoken for a while, and the call is not about to end or to read again."""
        return now - self.handed_at >= STILL_S and not (self.behind or self.end or self.held.frames)

    def hand_over(self, now: float) -> bool:
        """Let the call have what is held, or decide to wait for more; False if it is hopelessly behind."""
        held, scheduler = self.held, self.interaction.scheduler
        if self.first == ids.ORIGIN:
            self.first = held.frames[0].entry
        if not held.room:
            held.room = scheduler.may_wait(held.size, held.frames[0].sample_rate, now)
        if held.size < held.room:
            return True
        scheduler.enough(now)
        return self.release()

    def release(self) -> bool:
        """Let the call have what is held; False if there is nothing or it cannot take it."""
        frames = self.held.frames
        if not frames or self.closing:
            return False
        try:
            self.frames.send_nowait(frames)
        except (trio.WouldBlock, trio.BrokenResourceError):  # it is behind, or about to fail
            return False
        self.call.coming.append(self.held.size)
        self.handed = frames[-1].entry
        self.active_at = self.handed_at = trio.current_time()
        self.held.take()
        self.held.limit = self.limit - self.size
        return True

    def fall_behind(self) -> None:
        """Take nothing of what comes, from now on."""
        self.behind = self.missed = True

    def close(self) -> None:
        """Take nothing more, but let the call finish what it has."""
        self.closing = self.behind = True

    def fail(self) -> None:
        """Hold nothing for it any more: it is read again."""
        self.failed = self.behind = True
        self.held.take()

    def progress(self, now: float) -> float:
        """Look at the cursor; return when it last moved. To give audio up is no progress."""
        cursor = self.call.timeline.finalized - self.call.given_up
        if cursor != self.cursor:
            self.cursor, self.cursor_at = cursor, now
            self.active_at = max(self.active_at, now)
        return self.cursor_at

    def floor(self) -> EntryId | None:
        """Return the first entry that a restart would need for this call (None: none read so far)."""
        call = self.call
        floor = self.begin() if self.failed else call.floor()
        if floor is None and ids.key(self.taken) > ids.key(call.last_entry):
            floor = self.begin() if call.last_entry == ids.ORIGIN else call.last_entry
        if self.missed:
            floor = self.latest if floor is None else min(floor, self.latest, key=ids.key)
        return floor

    def begin(self) -> EntryId | None:
        """Return the first entry that is not behind the checkpoint (None: none read so far)."""
        confirmed = self.call.outbox.confirmed.place.entry
        begin = self.first if confirmed == ids.ORIGIN else confirmed
        return None if begin == ids.ORIGIN else begin

    def forget_above(self, last: EntryId) -> None:
        """Hold no entry id above `last` any more: the stream has begun again from there."""
        self.release()
        self.call.forget_above(last)
        self.handed = min(self.handed, last, key=ids.key)
        self.passed = min(self.passed, last, key=ids.key)
        self.first = min(self.first, last, key=ids.key)
        self.resume_at = min(self.resume_at, ids.key(last))
        if self.end is not None:
            self.end = min(self.end[0], last, key=ids.key), self.end[1]

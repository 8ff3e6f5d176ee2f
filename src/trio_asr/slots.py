"""A call's place in the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from trio_asr.core import entries
from trio_asr.core.call import Call
from trio_asr.core.entries import EntryId
from trio_asr.core.frames import Frame
from trio_asr.interaction import Frames, Interaction


class Held:
    """What was read for a call and not handed to it yet: frames, their bytes, and how many may wait.

    `room` is a number of bytes: less is not worth a wake-up. With 0 there is something to decide.
    """

    __slots__ = ("frames", "room", "size")

    def __init__(self) -> None:
        self.frames: Frames = []
        self.size = self.room = 0

    def add(self, frame: Frame) -> bool:
        """Hold this frame, too; say whether there is something to decide."""
        self.frames.append(frame)
        self.size += len(frame.pcm)
        return self.size >= self.room

    def take(self) -> Frames:
        """Return the frames and hold none."""
        frames = self.frames
        self.frames, self.size, self.room = [], 0, 0
        return frames


@dataclass(eq=False, slots=True)
class Slot:
    """A call in progress: its tasks, the channel to them, and how far its frames were handed over."""

    interaction: Interaction
    frames: trio.MemorySendChannel[Frames]
    active_at: float  # when frames were handed over or the cursor moved, or the call was otherwise not idle
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    end: tuple[EntryId, str] | None = None  # where and why it ends, once that is known
    closing: bool = False
    failed: bool = False  # its frames are read again when it restarts
    held: Held = field(default_factory=Held)
    late: Frames = field(default_factory=list)  # came while it was closing
    late_end: EntryId = ""  # and so did another end
    handed: EntryId = entries.ORIGIN  # the last entry handed over
    first: EntryId = entries.ORIGIN
    cursor: int = -1  # `finalized` when last looked at
    cursor_at: float = 0.0  # and when it was seen to move

    def __post_init__(self) -> None:
        self.interaction.scheduler.ask = self.release

    @property
    def call(self) -> Call:
        return self.interaction.call

    @property
    def latest(self) -> EntryId:
        """The last entry read for this call."""
        return self.held.frames[-1].entry if self.held.frames else self.handed

    def hand_over(self, now: float) -> bool:
        """Let the call have what is held, or decide to wait for more; False if it is hopelessly behind."""
        held, scheduler = self.held, self.interaction.scheduler
        if self.first == entries.ORIGIN:
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
        self.handed = frames[-1].entry
        self.active_at = trio.current_time()
        self.held.take()
        return True

    def keep(self, most: int) -> int:
        """Keep what came while the call closes, unless it keeps `most` already; return how many came.

        It goes on with them on a new connection; beyond `most`, its checkpoint says where to read again.
        """
        frames = self.held.take()
        if frames:
            self.handed = frames[-1].entry
            if len(self.late) < most:
                self.late += frames
            else:
                self.fail()
        return len(frames)

    def fail(self) -> None:
        """Hold nothing for it any more: it is read again."""
        self.failed = True
        self.late = []
        self.held.take()

    def progress(self, now: float) -> float:
        """Look at the cursor; return when it last moved."""
        cursor = self.call.timeline.finalized
        if cursor != self.cursor:
            self.cursor, self.cursor_at = cursor, now
            self.active_at = max(self.active_at, now)
        return self.cursor_at

    def floor(self) -> EntryId | None:
        """Return the first entry that a restart would need for this call (None: none read so far)."""
        call = self.call
        if self.failed:
            return self.begin()
        floor = call.floor()
        if floor is None and entries.key(self.latest) > entries.key(call.last_entry):
            floor = self.begin() if call.last_entry == entries.ORIGIN else call.last_entry
        if floor is None and self.late:
            floor = self.late[0].entry
        return floor

    def begin(self) -> EntryId | None:
        """Return the first entry that is not behind the checkpoint (None: none read so far)."""
        confirmed = self.call.outbox.confirmed.place.entry
        begin = self.first if confirmed == entries.ORIGIN else confirmed
        return None if begin == entries.ORIGIN else begin

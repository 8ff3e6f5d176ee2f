"""A call's place in the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from trio_asr.core import entries
from trio_asr.core.call import Call
from trio_asr.core.entries import EntryId
from trio_asr.interaction import Frames, Interaction


class Share:
    """What a batch has for one call: the frames, their bytes, and the sample rate, nearly always of all."""

    __slots__ = ("frames", "rate", "size")

    def __init__(self, frames: Frames, size: int) -> None:
        self.frames, self.size, self.rate = frames, size, frames[0].sample_rate

    @classmethod
    def of(cls, frames: Frames) -> Share:
        """The share that is made of these frames, at least one."""
        return cls(frames, sum(len(frame.pcm) for frame in frames))

    def after(self, entry: EntryId) -> Share | None:
        """What of it was read after `entry`, if anything."""
        key = entries.key(entry)
        frames = [frame for frame in self.frames if entries.key(frame.entry) > key]
        return Share.of(frames) if frames else None


@dataclass(eq=False, slots=True)
class Slot:
    """A call in progress: its tasks, the channel to them, and how far its frames were handed over."""

    interaction: Interaction
    frames: trio.MemorySendChannel[Frames]
    active_at: float  # when a frame came or the cursor moved, or the call was otherwise not idle
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    end: tuple[EntryId, str] | None = None  # where and why it ends, once that is known
    closing: bool = False
    failed: bool = False  # its frames are read again when it restarts
    held: Frames = field(default_factory=list)  # not worth a wake-up yet
    held_s: float = 0.0
    room_s: float = 0.0  # so much of it would be
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

    def hand_over(self, share: Share, now: float) -> bool:
        """Give frames to the call; False if it is hopelessly behind."""
        frames = share.frames
        if self.first == entries.ORIGIN:
            self.first = frames[0].entry
        self.active_at = now
        self.handed = frames[-1].entry
        self.held += frames
        self.held_s += share.size / 2 / share.rate
        if not self.room_s:
            self.room_s = self.interaction.scheduler.may_wait(self.held_s, now)
        if self.held_s < self.room_s:
            return True
        self.interaction.scheduler.enough(now)
        self.release()
        return not self.held

    def release(self) -> bool:
        """Let the call have what was held back; False if there is nothing or it cannot take it."""
        if not self.held:
            return False
        try:
            self.frames.send_nowait(self.held)
        except trio.WouldBlock:
            return False
        self.held, self.held_s, self.room_s = [], 0.0, 0.0
        return True

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
        if floor is None and entries.key(self.handed) > entries.key(call.last_entry):
            floor = self.begin() if call.last_entry == entries.ORIGIN else call.last_entry
        if floor is None and self.late:
            floor = self.late[0].entry
        return floor

    def begin(self) -> EntryId | None:
        """Return the first entry that is not behind the checkpoint (None: none read so far)."""
        confirmed = self.call.outbox.confirmed.place.entry
        begin = self.first if confirmed == entries.ORIGIN else confirmed
        return None if begin == entries.ORIGIN else begin

"""How far the audio stream was read for one call, and from where it would have to be read again."""

from __future__ import annotations

from trio_asr.core.call import Call
from trio_asr.wire import ids
from trio_asr.wire.ids import ORIGIN, EntryId


class StreamProgress:
    """The positions of one call on the audio stream: entry ids, `ORIGIN` where there is none yet.

    `handed` is the last entry handed over to the call. `passed` is the entry up to which a catch-up has read
    for it. `first` is the first entry of the call that this worker has read. Entries up to the key
    `resume_at` are only inspected, because the call was started from a checkpoint that lies behind them.
    """

    __slots__ = ("_call", "first", "handed", "passed", "resume_at")

    def __init__(self, call: Call, after: EntryId = "") -> None:
        self._call = call
        self.first = self.passed = ORIGIN
        self.handed = after or ORIGIN
        self.resume_at = call.resume_at

    def begin(self, entry: EntryId) -> None:
        """Record the first entry, unless there was one."""
        if self.first == ORIGIN:
            self.first = entry

    def latest(self, taken: EntryId) -> EntryId:
        """Return up to where the stream was read for this call, whose last entry is `taken`."""
        return max(taken, self.passed, key=ids.key)

    def replay_from(self) -> EntryId | None:
        """Return the first entry that is not behind the checkpoint (None: none was read so far)."""
        at = self._call.outbox.resume_point.entry
        entry = self.first if at == ORIGIN else at
        return None if entry == ORIGIN else entry

    def floor(self, taken: EntryId, *, failed: bool, missed: bool) -> EntryId | None:
        """Return the first entry that a restart would need for this call (None: it needs none)."""
        call = self._call
        floor = self.replay_from() if failed else call.floor()
        if floor is None and ids.key(taken) > ids.key(call.last_entry):
            floor = self.replay_from() if call.last_entry == ORIGIN else call.last_entry
        if missed:
            latest = self.latest(taken)
            floor = latest if floor is None else min(floor, latest, key=ids.key)
        return floor

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        self.handed = min(self.handed, last, key=ids.key)
        self.passed = min(self.passed, last, key=ids.key)
        self.first = min(self.first, last, key=ids.key)
        self.resume_at = min(self.resume_at, ids.key(last))

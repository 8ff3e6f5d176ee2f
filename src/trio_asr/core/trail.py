"""The trail of reading: how a stream is recognised again that has lost its end. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from trio_asr.wire.ids import EntryId, key, milliseconds

STEP_MS = 20
KEPT = 1000  # entries: 20 s and more; a failover loses the last 2 s


class Noted(NamedTuple):
    """An entry that was read, and a hash of its content: after a failover its id may be given out again."""

    entry: EntryId
    content: int


class Trail:
    """Some of the entries that were read, the newest last."""

    def __init__(self) -> None:
        self._noted: deque[Noted] = deque(maxlen=KEPT)

    def note(self, entry: EntryId, content: int) -> None:
        """Record the entry that was read last."""
        noted = self._noted
        # Also while the stream's clock stands still: it was set back, or an id lies in the future.
        if not noted or milliseconds(entry) - milliseconds(noted[-1].entry) not in range(1, STEP_MS):
            noted.append(Noted(entry, content))

    def up_to(self, last: EntryId) -> list[Noted]:
        """Return the recorded entries that are not above `last`, the newest last."""
        return [one for one in self._noted if key(one.entry) <= key(last)]

    def back_to(self, entry: EntryId) -> None:
        """Forget the entries above `entry`: reading continues from there."""
        while self._noted and key(self._noted[-1].entry) > key(entry):
            self._noted.pop()

"""Where reading has been lately: by it a stream is known again that has lost its end. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from trio_asr.wire.ids import EntryId, key, milliseconds

STEP_MS = 20
KEPT = 1000  # 20 s and more; a failover forgets the last two


class Noted(NamedTuple):
    """An entry that was read, and a hash of what was in it: a failover may give its id out again."""

    entry: EntryId
    content: int


class Trail:
    """Some of the entries that were read, the newest last."""

    def __init__(self) -> None:
        self._noted: deque[Noted] = deque(maxlen=KEPT)

    def note(self, entry: EntryId, content: int) -> None:
        """Note an entry that was read, the last so far."""
        noted = self._noted
        # Also where the clock stands: it was set back, or an id is of the future.
        if not noted or milliseconds(entry) - milliseconds(noted[-1].entry) not in range(1, STEP_MS):
            noted.append(Noted(entry, content))

    def up_to(self, last: EntryId) -> list[Noted]:
        """Return what was noted that is not above `last`, the newest last."""
        return [one for one in self._noted if key(one.entry) <= key(last)]

    def back_to(self, entry: EntryId) -> None:
        """Forget what is above `entry`: reading goes on from there."""
        while self._noted and key(self._noted[-1].entry) > key(entry):
            self._noted.pop()

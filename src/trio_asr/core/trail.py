"""Where reading has been lately: by it a stream is known again that has lost its end. Pure."""

from __future__ import annotations

from collections import deque

from trio_asr.core.entries import ORIGIN, EntryId, key, milliseconds

STEP_MS = 20
KEPT = 1000  # 20 s and more; a failover forgets the last two


class Trail:
    """Ids of entries that were read, the newest last."""

    def __init__(self) -> None:
        self._ids: deque[EntryId] = deque(maxlen=KEPT)

    def note(self, entry: EntryId) -> None:
        """Take note of an entry that was read, the last so far."""
        if not self._ids or milliseconds(entry) - milliseconds(self._ids[-1]) >= STEP_MS:
            self._ids.append(entry)

    def last_up_to(self, last: EntryId) -> EntryId:
        """Return the newest id noted that is not above `last`; ``ORIGIN`` if there is none."""
        return next((entry for entry in reversed(self._ids) if key(entry) <= key(last)), ORIGIN)

    def back_to(self, entry: EntryId) -> None:
        """Forget what is above `entry`: reading goes on from there."""
        while self._ids and key(self._ids[-1]) > key(entry):
            self._ids.pop()

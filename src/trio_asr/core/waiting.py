"""Calls beyond `interaction.max_calls`: where in the stream each is to start, once it is admitted.

They hold no audio: it stays on the stream. The one with the most recent audio comes first, so that ids which
a producer uses once and never again keep no genuine call out. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from trio_asr.wire import ids
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId

MAX_WAITING = 1000  # calls; beyond that, the one silent for longest is refused
FLOWING_S = 1.0  # a call whose last frame is no older is in use


@dataclass(slots=True)
class Waiter:
    """A call that waits to be admitted after entry `after`.

    It has brought `size` bytes of audio, the last at `at` seconds on the caller's clock.
    """

    after: EntryId
    size: int = 0
    at: float = 0.0
    tenant: str = ""
    end: EntryId = ""


class Waiting:
    """The calls that wait to be admitted, by id."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Waiter] = OrderedDict()  # the one longest silent first

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, interaction_id: str, frame: Frame, now: float) -> int:
        """Let a call wait that begins with this frame. Return how many others are refused for it."""
        self._calls[interaction_id] = Waiter(ids.before(frame.entry), len(frame.pcm), now, frame.tenant_id)
        refused = 0
        while len(self._calls) > MAX_WAITING:
            self._calls.popitem(last=False)
            refused += 1
        return refused

    def note(self, frame: Frame, now: float) -> bool:
        """Count another frame. Return False if its call does not wait here."""
        waiter = self._calls.get(frame.interaction_id)
        if waiter is None:
            return False
        waiter.size += len(frame.pcm)
        waiter.at = now
        self._calls.move_to_end(frame.interaction_id)
        return True

    def end(self, interaction_id: str, at: EntryId) -> None:
        """Record the end of a call, if it waits here."""
        if (waiter := self._calls.get(interaction_id)) is not None:
            waiter.end = at

    def best(self, now: float) -> str | None:
        """Return the id of the call to admit first, or None if none waits."""

        def rank(interaction_id: str) -> tuple[bool, int]:
            waiter = self._calls[interaction_id]
            return now - waiter.at <= FLOWING_S, waiter.size

        return max(self._calls, key=rank, default=None)

    def take(self, interaction_id: str) -> Waiter | None:
        """Remove a call and return it, if it waits here."""
        return self._calls.pop(interaction_id, None)

    def floors(self, audio: EntryId, ends: EntryId) -> tuple[EntryId, EntryId]:
        """Return the first entries that a restart would need, given those of all other calls."""
        for waiter in self._calls.values():
            audio = min(audio, waiter.after, key=ids.key)
            if waiter.end:
                ends = min(ends, waiter.end, key=ids.key)
        return audio, ends

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        for waiter in self._calls.values():
            waiter.after = min(waiter.after, last, key=ids.key)

"""The memory of calls that are over, so that repeats of their frames start no new call. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from trio_asr.core.repeats import Repeats
from trio_asr.wire import ids
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId
from trio_asr.wire.resume_point import ResumePoint

MAX_PAST = 20_000  # calls; replayed frames of these cause no query to Redis
MAX_TAUGHT = 2_000  # the latest of them, with what their repeats are recognised by: up to 4 KB each


class Past:
    """The memory of one call that is over, for frames of it that come later.

    `until` is the key of the last entry that was dealt with. `part` is the beginning of a sample, if the call
    ended in mid-sample.
    """

    __slots__ = ("part", "repeats", "until")

    def __init__(self, until: int, repeats: Repeats | None = None, part: bytes = b"") -> None:
        self.until = until
        self.repeats = Repeats() if repeats is None else repeats
        self.part = part


class PastCalls:
    """The calls that ended last, by id."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Past] = OrderedDict()
        self._taught: deque[Past] = deque()

    def has_news(self, interaction_id: str, frames: Sequence[Frame]) -> bool:
        """Return whether any of these frames is new to a call. If none is, they are remembered."""
        past = self._calls.get(interaction_id)
        if past is None:
            return True
        last = ids.key(frames[-1].entry)
        if last > past.until:
            if not all(past.repeats.knows(f) for f in frames if ids.key(f.entry) > past.until):
                return True
            past.until = last
        past.repeats.teach(frames)
        return False

    def learn(
        self, interaction_id: str, until: int, frames: Sequence[Frame], over: ResumePoint | None
    ) -> Past:
        """Remember a call that is not in progress and has dealt with the entries up to the key `until`.

        With `over`, it ended at that resume point: what follows there in its entry is part of a sample, or
        nothing.
        """
        past = self._calls.get(interaction_id)
        if past is None:
            past = Past(until)
            self.remember(interaction_id, past)
        past.until = max(past.until, until)
        if over is not None:
            past.repeats.teach([frame for frame in frames if ids.key(frame.entry) <= until])
            rest = next((frame.pcm[over.offset :] for frame in frames if frame.entry == over.entry), b"")
            past.part = rest if 0 < len(rest) < over.format.width else past.part
        return past

    def remember(self, interaction_id: str, past: Past) -> None:
        """Remember a call that is over."""
        self._calls[interaction_id] = past
        self._calls.move_to_end(interaction_id)
        while len(self._calls) > MAX_PAST:
            self._calls.popitem(last=False)
        self._taught.append(past)
        while len(self._taught) > MAX_TAUGHT:
            self._taught.popleft().repeats = Repeats()

    def recall(self, interaction_id: str) -> Past | None:
        """Return and drop the memory of a call that starts again."""
        return self._calls.pop(interaction_id, None)

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        for past in self._calls.values():
            past.until = min(past.until, ids.key(last))

"""What is remembered of calls that are over: repeats of their frames begin no call anew. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from trio_asr.core.repeats import Repeats
from trio_asr.wire import ids
from trio_asr.wire.frames import Frame
from trio_asr.wire.ids import EntryId
from trio_asr.wire.resume_point import ResumePoint

MAX_PAST = 20_000  # calls: no frame of a replay asks Redis for one of these
MAX_TAUGHT = 2_000  # of them, the latest: with what tells their repeats, up to 4 KB each


class Past:
    """What is remembered of a call that is over, for whatever comes of it later.

    `until` is the key of the last entry that was dealt with, `half` the first half of a sample in which it
    ended.
    """

    __slots__ = ("half", "repeats", "until")

    def __init__(self, until: int, repeats: Repeats | None = None, half: bytes = b"") -> None:
        self.until = until
        self.repeats = Repeats() if repeats is None else repeats
        self.half = half


class PastCalls:
    """The calls that ended last, by id."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Past] = OrderedDict()
        self._taught: deque[Past] = deque()

    def has_news(self, interaction_id: str, frames: Sequence[Frame]) -> bool:
        """Return whether a call has not dealt with any of these frames; if it has, they are noted."""
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
        """Note a call that is not in progress: dealt with up to the key `until`, unlike these frames.

        With `over`, it has ended at that place: what follows there in its entry is half a sample, or nothing.
        """
        past = self._calls.get(interaction_id)
        if past is None:
            past = Past(until)
            self.remember(interaction_id, past)
        past.until = max(past.until, until)
        if over is not None:
            past.repeats.teach(frame for frame in frames if ids.key(frame.entry) <= until)
            rest = next((frame.pcm[over.offset :] for frame in frames if frame.entry == over.entry), b"")
            past.half = rest if len(rest) == 1 else past.half
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
        """Return what was remembered of a call, which begins again."""
        return self._calls.pop(interaction_id, None)

    def forget_above(self, last: EntryId) -> None:
        """Keep no entry id above `last`: the stream has started over from there."""
        for past in self._calls.values():
            past.until = min(past.until, ids.key(last))

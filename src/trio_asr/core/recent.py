"""The end of a call's transcript, as Redis has it, for the pages. Bounded; kept only if they may show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from trio_asr.wire.codes import EventName
from trio_asr.wire.transcripts import Item, Transcript

MAX_CAPTIONS = 50
MAX_TEXT = 1000  # characters; Deepgram's finals have less


class Caption(msgspec.Struct, frozen=True, gc=False):
    """A final, a partial or a gap, whose `text` is its reason. `number` counts a call's captions from 1."""

    number: int
    type: str
    text: str
    start_ms: int
    end_ms: int
    seq: int | None = None


class Recent:
    """The last finals and gaps of a call, and the partial that no final has overtaken."""

    __slots__ = ("_count", "captions", "interim")

    def __init__(self) -> None:
        self.captions: deque[Caption] = deque(maxlen=MAX_CAPTIONS)
        self.interim: Caption | None = None
        self._count = 0

    def committed(self, items: Iterable[Item]) -> None:
        """Add what Redis has now."""
        for item in items:
            if item.transcript is not None and item.is_partial:
                self.interim = _caption(0, item.transcript)
            elif item.transcript is not None:
                self._add(_caption(self._count + 1, item.transcript))
            elif item.event is not None and item.event["event"] == EventName.GAP:
                gap = item.event
                self._add(Caption(self._count + 1, "gap", gap["reason"], gap["start_ms"], gap["end_ms"]))

    def _add(self, caption: Caption) -> None:
        self._count += 1
        self.captions.append(caption)
        self.interim = None


def _caption(number: int, said: Transcript) -> Caption:
    return Caption(number, said.type, said.text[:MAX_TEXT], said.start_ms, said.end_ms, said.seq)

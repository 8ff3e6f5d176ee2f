"""The end of a call's transcript, as Redis has it, for the pages. Bounded; kept only if they may show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from trio_asr.wire.codes import EventName
from trio_asr.wire.transcripts import Item, Transcript

MAX_CAPTIONS = 50
MAX_TEXT = 1000  # characters; Deepgram's finals have less


class Caption(msgspec.Struct, frozen=True, gc=False):
    """A final, a partial or a gap, whose `text` is its reason. `number` counts a call's captions from 1.

    In a call of several channels it names its own and, if known, who is on it.
    """

    number: int
    type: str
    text: str
    start_ms: int
    end_ms: int
    seq: int | None = None
    channel: int | msgspec.UnsetType = msgspec.UNSET
    role: str | msgspec.UnsetType = msgspec.UNSET


class Recent:
    """The last finals and gaps of a call, and the partial of each channel that no final has overtaken."""

    __slots__ = ("_count", "_interims", "captions")

    def __init__(self) -> None:
        self.captions: deque[Caption] = deque(maxlen=MAX_CAPTIONS)
        self._interims: dict[int, Caption] = {}  # by channel; the newest is the last
        self._count = 0

    @property
    def interim(self) -> Caption | None:
        """The newest of the partials."""
        return next(reversed(self._interims.values()), None)

    @property
    def interims(self) -> tuple[Caption, ...]:
        """The partials, by channel."""
        return tuple(self._interims[channel] for channel in sorted(self._interims))

    def committed(self, items: Iterable[Item]) -> None:
        """Add what Redis has now."""
        for item in items:
            if item.resume_point is not None:  # what was partial is final now, or nothing
                self._interims.pop(item.channel, None)
            if item.transcript is not None and item.is_partial:
                channel = item.transcript.channel or 0
                self._interims.pop(channel, None)
                self._interims[channel] = _caption(0, item.transcript)
            elif item.transcript is not None:
                self._add(_caption(self._count + 1, item.transcript))
            elif item.event is not None and item.event["event"] == EventName.GAP:
                self._add(_gap(self._count + 1, item.event))

    def _add(self, caption: Caption) -> None:
        self._count += 1
        self.captions.append(caption)


def _caption(number: int, said: Transcript) -> Caption:
    text = said.text[:MAX_TEXT]
    return Caption(number, said.type, text, said.start_ms, said.end_ms, said.seq, said.channel, said.role)


def _gap(number: int, gap: dict[str, Any]) -> Caption:
    channel, role = gap.get("channel", msgspec.UNSET), gap.get("role", msgspec.UNSET)
    return Caption(number, "gap", gap["reason"], gap["start_ms"], gap["end_ms"], channel=channel, role=role)

"""The family of Twilio's media streams, from the platform's side: JSON around audio in base64. Pure."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message, Platform
from trio_asr.lab.dial.settings import Dial


class Events(Platform):
    """A stream of a call. Messages and the chunks of each leg are counted; times are in milliseconds.

    The first time is one of `FIRST_MS`, and later ones are up to `JITTER_MS` beside what they should be.
    """

    FIRST_MS: ClassVar[Sequence[int]] = (0,)
    JITTER_MS: ClassVar[int] = 0

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        self.sequence = 0
        self._chunks: Counter[int] = Counter()
        self._began_ms: float | None = None
        self._first_ms = self.chance.choice(self.FIRST_MS)

    def media(self, frame: Frame) -> list[Message]:
        """Return `media`."""
        self._chunks[frame.leg] += 1
        audio = base64.b64encode(frame.audio).decode()
        return [self.medium(frame.leg, self._chunks[frame.leg], self._time_ms(frame), audio)]

    def medium(self, leg: int, chunk: int, at_ms: int, audio: str) -> str:
        """Return the message for audio in base64. All numbers are texts, as at most of these platforms."""
        track = {"track": self.TRAITS.legs[leg]} if self.TRAITS.legs else {}
        media = {"chunk": str(chunk), "timestamp": str(at_ms), "payload": audio}
        return self.message("media", track | media)

    def message(self, event: str, body: dict[str, Any]) -> str:
        """Return a message, numbered."""
        raise NotImplementedError

    def count(self) -> int:
        """Return the number of the next message."""
        self.sequence += 1
        return self.sequence

    def told(self, both: Sequence[str] = ("from", "to")) -> dict[str, Any]:
        """Return who calls and who is called, as far as that is known."""
        numbers = zip(both, (self._dial.caller, self._dial.called), strict=True)
        return {name: number for name, number in numbers if number}

    def _time_ms(self, frame: Frame) -> int:
        if self._began_ms is None:
            self._began_ms, jitter = frame.at_ms, 0
        else:
            jitter = self.chance.randint(-self.JITTER_MS, self.JITTER_MS)
        return round(frame.at_ms - self._began_ms) + self._first_ms + jitter

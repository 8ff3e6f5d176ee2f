"""Ozonetel's KooKoo: the caller's audio as numbers in JSON, 10 ms a message. Pure.

Facts per "ozonetel-ai-sdk" and recorded traffic: the start says no format; the first message is of another
rate, here of twice the samples for the same time; there is no clock.
"""

from __future__ import annotations

from array import array
from typing import Any

from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message, Platform, Traits, encoded
from trio_asr.lab.dial.settings import Dial


class Ozonetel(Platform):
    """A stream of a call."""

    TRAITS = Traits(("linear16",), (8000,), chunk_ms=10)

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        self._first = True

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `start`, with the customer's own headers as a text."""
        dial = self._dial
        told = {"did": dial.called, "call_id": dial.caller, "x_headers": encoded(dict(dial.parameters))}
        return [encoded({"event": "start", "type": "text", "ucid": dial.call} | told)]

    def media(self, frame: Frame) -> list[Message]:
        """Return `media`; before the first one, another of 16 kHz."""
        samples = array("h", frame.audio).tolist()
        ahead = [self._medium([0] * 160, 16_000)] if self._first else []
        self._first = False
        return [*ahead, self._medium(samples, self._form.rate)]

    def stop(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `stop`, after which Ozonetel closes."""
        self.over = True
        return [encoded({"event": "stop", "type": "text", "ucid": self._dial.call})]

    def _medium(self, samples: list[int], rate: int) -> str:
        data: dict[str, Any] = {
            "samples": samples,
            "bitsPerSample": 16,
            "sampleRate": rate,
            "channelCount": 1,
            "numberOfFrames": len(samples),
            "type": "data",
        }
        return encoded({"event": "media", "type": "media", "ucid": self._dial.call, "data": data})

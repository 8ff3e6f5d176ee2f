"""Tata's Smartflo: Twilio's messages of about 100 ms, with the numbers in the start. Pure.

Facts per Smartflo's page "Bi-Directional Audio Streaming Integration Document".
"""

from __future__ import annotations

from typing import Any

from trio_asr.lab.dial.events import Events
from trio_asr.lab.dial.platform import Message, Traits, encoded


class Smartflo(Events):
    """A stream of a call: the caller alone."""

    TRAITS = Traits(("mulaw",), (8000,), chunk_ms=100, clocked=True, numbered=True)

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `connected` and `start`."""
        start = self._ids() | {"streamSid": self._stream, "direction": "inbound"} | self.told() | {
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64},
            "customParameters": dict(self._dial.parameters),
        }  # fmt: skip
        return [encoded({"event": "connected"}), self.message("start", start)]

    def stop(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `stop`, after which Smartflo closes."""
        self.over = True
        return [self.message("stop", self._ids() | {"reason": "The caller disconnected the call"})]

    def _ids(self) -> dict[str, Any]:
        return {"accountSid": self._dial.account, "callSid": self._dial.call}

    def message(self, event: str, body: dict[str, Any]) -> str:
        """Return a message, numbered."""
        document = {"event": event, "sequenceNumber": str(self.count()), "streamSid": self._stream}
        return encoded(document | {event: body})

"""Exotel AgentStream, its Stream applet: one mono stream of the call. Pure.

Facts per Exotel's pages "WebSocket protocol" and "Stream and Voicebot applet": names in snake case, numbers
as strings, about 100 ms a message, `stop` with a reason. The handshake is tried twice. The first timestamps
are from recorded traffic. A user and a password in the URL arrive as `Authorization: Basic`.
"""

from __future__ import annotations

import base64
from typing import Any

from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message, Platform, Traits, encoded
from trio_asr.lab.dial.settings import Dial

FIRST_MS = (10, 12, 200)  # the first timestamp
ENCODINGS = {"linear16": "raw/slin", "mulaw": "audio/x-mulaw"}


class Exotel(Platform):
    """A stream of a call."""

    TRAITS = Traits(
        encodings=("linear16", "mulaw"),
        rates=(8000, 16000, 24000),
        chunk_ms=100,
        clocked=True,
        numbered=True,
        retries=1,
    )

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        self._sequence = self._chunks = 0
        self._began_ms: float | None = None
        self._first_ms = self.chance.choice(FIRST_MS)

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `connected` and `start`."""
        dial, form = self._dial, self._form
        start = {
            "stream_sid": self._stream,
            "call_sid": dial.call,
            "account_sid": dial.account,
            "from": dial.caller,
            "to": dial.called,
            "custom_parameters": dict(dial.parameters),
            "media_format": {
                "encoding": ENCODINGS[form.encoding],
                "sample_rate": str(form.rate),
                "bit_rate": f"{form.bytes_per_s * 8 // 1000}kbps",
            },
        }
        return [encoded({"event": "connected"}), self._message("start", start)]

    def media(self, frame: Frame) -> list[Message]:
        """Return `media`."""
        self._chunks += 1
        if self._began_ms is None:
            self._began_ms = frame.at_ms
        media = {
            "chunk": str(self._chunks),
            "timestamp": str(round(frame.at_ms - self._began_ms) + self._first_ms),
            "payload": base64.b64encode(frame.audio).decode(),
        }
        return [self._message("media", media)]

    def stop(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `stop`, after which Exotel closes."""
        self.over = True
        ids = {"call_sid": self._dial.call, "account_sid": self._dial.account}
        return [self._message("stop", ids | {"reason": "callended"})]

    def _message(self, event: str, body: dict[str, Any]) -> str:
        self._sequence += 1
        document = {"event": event, "sequence_number": str(self._sequence), "stream_sid": self._stream}
        return encoded(document | {event: body})

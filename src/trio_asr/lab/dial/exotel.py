"""Exotel AgentStream, its Stream applet: one mono stream of the call. Pure.

Facts per Exotel's pages "WebSocket protocol" and "Stream and Voicebot applet": names in snake case, numbers
as strings, about 100 ms a message, `stop` with a reason. The handshake is tried twice. The first timestamps
are from recorded traffic. A user and a password in the URL arrive as `Authorization: Basic`.
"""

from __future__ import annotations

from typing import Any

from trio_asr.lab.dial.events import Events
from trio_asr.lab.dial.platform import Message, Traits, encoded

ENCODINGS = {"linear16": "raw/slin", "mulaw": "audio/x-mulaw"}


class Exotel(Events):
    """A stream of a call."""

    TRAITS = Traits(
        encodings=("linear16", "mulaw"),
        rates=(8000, 16000, 24000),
        chunk_ms=100,
        clocked=True,
        numbered=True,
        retries=1,
    )

    FIRST_MS = (10, 12, 200)

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
        return [encoded({"event": "connected"}), self.message("start", start)]

    def stop(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `stop`, after which Exotel closes."""
        self.over = True
        ids = {"call_sid": self._dial.call, "account_sid": self._dial.account}
        return [self.message("stop", ids | {"reason": "callended"})]

    def message(self, event: str, body: dict[str, Any]) -> str:
        """Return a message, numbered."""
        document = {"event": event, "sequence_number": str(self.count()), "stream_sid": self._stream}
        return encoded(document | {event: body})

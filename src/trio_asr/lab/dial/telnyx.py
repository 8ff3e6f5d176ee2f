"""Telnyx' media streaming, of one track or of both. Pure.

Facts per Telnyx' pages "Media Streaming over WebSockets" and "Stream call media over WebSocket": names in
snake case, numbers as strings, `chunk` counted by track, no order promised; the audio is in the codec of the
call's leg. The start says nothing of tracks.
"""

from __future__ import annotations

import base64
from typing import Any

from trio_asr.lab.dial.events import Events
from trio_asr.lab.dial.platform import Message, Traits, encoded

CODECS = {"mulaw": "PCMU", "alaw": "PCMA"}


class Telnyx(Events):
    """A stream of a call."""

    TRAITS = Traits(
        encodings=("mulaw", "alaw"),
        rates=(8000,),
        chunk_ms=20,
        channels=2,
        legs=("inbound", "outbound"),
        clocked=True,
        numbered=True,
    )

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `connected` and `start`."""
        form = {"encoding": CODECS[self._form.encoding], "sample_rate": 8000, "channels": 1}
        state = base64.b64encode(encoded(dict(self._dial.parameters)).encode()).decode()
        start = self._ids() | {"call_session_id": f"s-{self._dial.call}"} | self.told() | {
            "tags": [], "client_state": state, "media_format": form,
        }  # fmt: skip
        return [encoded({"event": "connected", "version": "1.0.0"}), self.message("start", start)]

    def stop(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `stop`, after which Telnyx closes."""
        self.over = True
        return [self.message("stop", self._ids())]

    def _ids(self) -> dict[str, Any]:
        return {"user_id": self._dial.account, "call_control_id": self._dial.call}

    def message(self, event: str, body: dict[str, Any]) -> str:
        """Return a message, numbered."""
        document = {"event": event, "sequence_number": str(self.count()), "stream_id": self._stream}
        return encoded(document | {event: body})

"""Plivo's audio streaming, and Vobiz', which copied it. Pure.

Facts per Plivo's page "Audio streaming" and recorded traffic: no `connected`; numbers are numbers, but the
time, in milliseconds of the epoch, is a text; what the application gives as extra headers is one text; the
end is that of the socket. Vobiz sends the caller alone, in mu-law.
"""

from __future__ import annotations

from typing import Any

from trio_asr.lab.dial.events import Events
from trio_asr.lab.dial.platform import Message, Platform, Traits, encoded
from trio_asr.lab.dial.settings import Dial

ENCODINGS = {"linear16": "audio/x-l16", "mulaw": "audio/x-mulaw"}


class Plivo(Events):
    """A stream of a call."""

    TRAITS = Traits(
        encodings=("linear16", "mulaw"),
        rates=(8000, 16000),
        chunk_ms=20,
        channels=2,
        legs=("inbound", "outbound"),
        clocked=True,
        numbered=True,
    )

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        self._epoch_ms = 0

    def headers(self, wall: float, nonce: str) -> dict[str, str]:  # noqa: ARG002 - it shows no credentials
        """Return none, and note the time."""
        self._epoch_ms = round(wall * 1000)
        return {}

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `start`."""
        start = {
            "callId": self._dial.call,
            "streamId": self._stream,
            "accountId": self._dial.account,
            "tracks": self.TRAITS.legs[: self._form.channels],
            "mediaFormat": {"encoding": ENCODINGS[self._form.encoding], "sampleRate": self._form.rate},
        }
        return [self._message({"event": "start", "start": start})]

    def medium(self, leg: int, chunk: int, at_ms: int, audio: str) -> str:
        """Return `media`."""
        time = str(self._epoch_ms + at_ms)
        media = {"track": self.TRAITS.legs[leg], "timestamp": time, "chunk": chunk, "payload": audio}
        return self._message({"event": "media", "streamId": self._stream, "media": media})

    def _message(self, document: dict[str, Any]) -> str:
        pairs = self.told() | dict(self._dial.parameters)
        extra = ";".join(f"{name}={value}" for name, value in pairs.items()) or "{}"
        return encoded({"sequenceNumber": self.count() - 1} | document | {"extra_headers": extra})


class Vobiz(Plivo):
    """A stream of a call: as a rule its first audio comes before the start."""

    TRAITS = Traits(("mulaw",), (8000,), chunk_ms=20, legs=("inbound",), clocked=True, numbered=True)

"""Twilio Media Streams, one-way (`<Start><Stream>`), with one track or with both. Pure.

Facts per Twilio's pages "Media Streams", "WebSocket messages" and "TwiML Stream": `connected`, `start`,
`media`, `stop`; all numbers are strings; `sequenceNumber` counts what comes after `connected` from 1; `chunk`
counts from 1, here for each track, as SignalWire's page on its copy of the protocol says; `timestamp` is in
milliseconds of the stream. From recorded sessions are the first timestamp, which is seldom 0, the jitter of
the others, and the 200 ms that arrive with `start`.
"""

from __future__ import annotations

from typing import Any

from trio_asr.lab.dial.events import Events
from trio_asr.lab.dial.platform import Message, Platform, Traits, encoded
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.dial.signing import twilio_signature


class Twilio(Events):
    """A stream of a call."""

    TRAITS = Traits(
        encodings=("mulaw",),
        rates=(8000,),
        chunk_ms=20,
        channels=2,
        legs=("inbound", "outbound"),
        burst_ms=200,
        clocked=True,
        numbered=True,
    )

    FIRST_MS = range(8, 172)
    JITTER_MS = 2

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        self._sid = f"MZ{self._stream}"

    def headers(self, wall: float, nonce: str) -> dict[str, str]:  # noqa: ARG002 - it signs no time
        """Return the signature, if there is an auth token."""
        if self._dial.secret is None:
            return {}
        return {"X-Twilio-Signature": twilio_signature(self._dial.secret, self._dial.signed_url)}

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `connected` and `start`.

        Twilio tells no numbers: who wants them has TwiML pass them as parameters, as is done here.
        """
        start = {
            "streamSid": self._sid,
            "accountSid": self._dial.account,
            "callSid": self._dial.call,
            "tracks": self.TRAITS.legs[: self._form.channels],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": self.told() | dict(self._dial.parameters),
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [encoded(connected), self.message("start", start)]

    def stop(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return `stop`, after which Twilio closes."""
        self.over = True
        return [self.message("stop", {"accountSid": self._dial.account, "callSid": self._dial.call})]

    def message(self, event: str, body: dict[str, Any]) -> str:
        """Return a message, numbered."""
        document = {"event": event, "sequenceNumber": str(self.count()), "streamSid": self._sid}
        return encoded(document | {event: body})

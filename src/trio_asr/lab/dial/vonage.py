"""Vonage's Voice API with a WebSocket as endpoint: one text, then raw audio, as Infobip has it, too. Pure.

Facts per Vonage's page "WebSockets": the text has the type of the audio, and what the application gave as
headers; linear16 in messages of 20 ms; there is no other end than that of the socket. With a secret, the
request is signed by a JWT, as its webhooks are (page "Signed webhooks").
"""

from __future__ import annotations

from trio_asr.lab.dial.platform import Message, Platform, Traits, encoded
from trio_asr.lab.dial.signing import json_web_token


class Vonage(Platform):
    """A socket that takes part in a conversation: it hears all others."""

    TRAITS = Traits(("linear16",), (8000, 16000, 24000), chunk_ms=20)

    def headers(self, wall: float, nonce: str) -> dict[str, str]:
        """Return the JWT, if there is a secret."""
        dial = self._dial
        if dial.secret is None:
            return {}
        claims = {"iss": "Vonage", "iat": int(wall), "jti": nonce, "application_id": dial.account}
        return {"Authorization": f"Bearer {json_web_token(dial.secret, claims)}"}

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return the text, which names the call as an application has to have it done."""
        dial = self._dial
        told = {"call_uuid": dial.call, "from": dial.caller, "to": dial.called} | dict(dial.parameters)
        form = {"event": "websocket:connected", "content-type": f"audio/l16;rate={self._form.rate}"}
        return [encoded(form | {name: value for name, value in told.items() if value})]

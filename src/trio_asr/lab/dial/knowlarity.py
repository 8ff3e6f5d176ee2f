"""Knowlarity's stream: one text, then raw audio of 16 kHz. Pure.

Facts per Verloop's page "Knowlarity integration (WebSocket)".
"""

from __future__ import annotations

from trio_asr.lab.dial.platform import Message, Platform, Traits, encoded


class Knowlarity(Platform):
    """A stream of a call: the caller alone."""

    TRAITS = Traits(("linear16",), (16000,), chunk_ms=20)

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return the text that tells the call."""
        dial = self._dial
        told = {"uuid": dial.call, "sample_rate": self._form.rate, "from": dial.caller, "to": dial.called}
        metadata = {"event": "websocket:connected", "call_type": "inbound"} | dict(dial.parameters)
        return [encoded(told | {"campaign": "", "metadata": metadata})]

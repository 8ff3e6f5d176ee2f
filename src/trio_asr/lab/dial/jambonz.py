"""The `listen` of jambonz, and the fork of FreeSWITCH below it: one text, then raw audio. Pure.

Facts per jambonz' page "listen" and drachtio's module mod_audio_fork: the subprotocol must be accepted; the
text of jambonz tells the call, with what the application adds merged into it; FreeSWITCH's is whatever the
dialplan has. Audio is linear16, little-endian; in stereo the caller is on the left. There is no other end
than that of the socket.
"""

from __future__ import annotations

from typing import Any

from trio_asr.lab.dial.platform import Message, Platform, Traits, encoded

RATES = (8000, 16000, 24000, 32000, 48000)


class FreeSwitch(Platform):
    """A fork of a call's media, by mod_audio_fork."""

    TRAITS = Traits(("linear16",), (*RATES, 64000), 20, channels=2, subprotocols=("audio.drachtio.org",))

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return the metadata."""
        return [encoded(self._metadata() | dict(self._dial.parameters))]

    def _metadata(self) -> dict[str, Any]:
        """Return what a dialplan must say for the audio to be understood."""
        dial = self._dial
        told = {
            "callSid": dial.call,
            "from": dial.caller,
            "to": dial.called,
            "sampleRate": self._form.rate,
            "mixType": "stereo" if self._form.channels == 2 else "mono",
        }
        return {name: value for name, value in told.items() if value}


class Jambonz(FreeSwitch):
    """A `listen` of a call."""

    TRAITS = Traits(("linear16",), RATES, 20, channels=2, subprotocols=("audio.jambonz.org",))

    def _metadata(self) -> dict[str, Any]:
        """Return what jambonz tells of every call."""
        own = {"accountSid": self._dial.account, "direction": "inbound", "callId": f"sip-{self._stream}"}
        return own | super()._metadata()

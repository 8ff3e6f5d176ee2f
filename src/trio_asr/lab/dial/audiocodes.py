"""AudioCodes' Bot API by WebSocket: a session, and a stream of base64 for each participant. Pure.

Facts per AudioCodes' pages "Streaming mode" and "Agent assist", and its own SDK for bots: `session.initiate`
offers formats, of which `session.accepted` names one; each stream is begun and stopped by a message that is
answered; `participant` is said where there are several; the token goes as `Authorization: Bearer`. No page
says how long a message's audio is, or how long an answer may take: 20 ms and 5 s are this caller's own.
"""

from __future__ import annotations

import base64
import math
from typing import Any

from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message, Platform, Traits, Unfit, decoded, encoded
from trio_asr.lab.dial.settings import Dial

ANSWER_S = 5.0
LINEAR = {8000: "lpcm16_8", 16_000: "lpcm16", 24_000: "lpcm16_24"}


class AudioCodes(Platform):
    """A session of a call: of two people's in agent assist, else of the caller's alone."""

    TRAITS = Traits(("linear16", "mulaw"), tuple(LINEAR), 20, channels=2, legs=("caller", "callee"))

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        if self._form.encoding == "mulaw" and self._form.rate != 8000:
            raise Unfit(f"audiocodes has no mulaw of {self._form.rate} Hz")
        names = self.TRAITS.legs if self._form.channels == 2 else ()
        self._participants = [{"participant": name} for name in names] or [{}]
        self._awaited = ["session.accepted"]
        self.ready = False

    def headers(self, wall: float, nonce: str) -> dict[str, str]:  # noqa: ARG002 - it signs nothing
        """Return the token, if there is one."""
        secret = self._dial.secret
        return {} if secret is None else {"Authorization": f"Bearer {secret.reveal()}"}

    def hello(self, now: float) -> list[Message]:
        """Return `session.initiate`, which offers the recording's format: with a header of WAV, and raw."""
        self.alarm = now + ANSWER_S
        told = {
            "botName": "assist",
            "caller": self._dial.caller,
            "expectAudioMessages": True,
            "supportedMediaFormats": [f"wav/{self._media_format}", f"raw/{self._media_format}"],
        }
        return [self._message("session.initiate", **(told | dict(self._dial.parameters)))]

    def media(self, frame: Frame) -> list[Message]:
        """Return `userStream.chunk`."""
        audio = base64.b64encode(frame.audio).decode()
        return [self._message("userStream.chunk", audioChunk=audio, **self._participants[frame.leg])]

    def hear(self, message: Message, now: float) -> list[Message]:
        """Go on where an answer was awaited: to the streams, to the audio, or to the end."""
        said = decoded(message)
        kind = said.get("type")
        if kind == "session.error":
            return self._leave(f"session.error: {said.get('reason')}")
        if kind not in self._awaited:
            return []
        self._awaited.remove(kind)
        if kind == "session.accepted":
            return self._accepted(said.get("mediaFormat"), now)
        if self._awaited:
            return []
        self.alarm = math.inf
        if kind == "userStream.started":
            self.ready = True
            return []
        self.over = True
        return [self._message("session.end", reasonCode="client-disconnected", reason="Client Side")]

    def tick(self, now: float) -> list[Message]:  # noqa: ARG002
        """Give up what was not answered in time."""
        return self._leave(f"no {self._awaited[0]}")

    def stop(self, now: float) -> list[Message]:
        """Return the ends of the streams; that of the session follows their answers."""
        return self._streams("userStream.stop", "userStream.stopped", now)

    @property
    def _media_format(self) -> str:
        return "mulaw" if self._form.encoding == "mulaw" else LINEAR[self._form.rate]

    def _accepted(self, chosen: object, now: float) -> list[Message]:
        if chosen != f"raw/{self._media_format}":
            return self._leave("the media format chosen is not that of the audio")
        parameters = {"caller": self._dial.caller, "callee": self._dial.called}
        activity = {"type": "event", "name": "start", "id": self._stream, "parameters": parameters}
        started = self._streams("userStream.start", "userStream.started", now)
        return [self._message("activities", activities=[activity]), *started]

    def _streams(self, kind: str, answer: str, now: float) -> list[Message]:
        self._awaited, self.alarm = [answer] * len(self._participants), now + ANSWER_S
        return [self._message(kind, **participant) for participant in self._participants]

    def _leave(self, complaint: str) -> list[Message]:
        self.complaint, self.over, self.alarm = complaint, True, math.inf
        return []

    def _message(self, kind: str, **fields: Any) -> str:
        return encoded({"type": kind, "conversationId": self._dial.call} | fields)

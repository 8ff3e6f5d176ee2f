"""Genesys AudioHook: transactions in JSON, and interleaved PCMU once the server has opened. Pure.

Facts per Genesys' pages "AudioHook protocol reference", "Session walkthrough" and "Security": every message
has the next number of its side and the last one heard of the other; positions are in samples of the session's
audio, as durations of ISO 8601; what was lost is told as `discarded`; `opened` must come within 5 s, pings go
out after 1 s and then every 5 s, each to be answered before the next; `closed` must
come within 10 s. Frames of 200 ms are those of the
reference implementation's client.
"""

from __future__ import annotations

import base64
import math
import uuid
from typing import Any
from urllib.parse import urlsplit

from trio_asr.config import Secret
from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message, Platform, Traits, Unfit, decoded, encoded
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.dial.signing import genesys_signature
from trio_asr.lab.rig.legs import separated

OPENED_S, CLOSED_S = 5.0, 10.0
FIRST_PING_S, PING_S = 1.0, 5.0
EXPIRES_S = 30
BOTH, OUTSIDE, INSIDE = ["external", "internal"], ["external"], ["internal"]
DEFAULT_PORTS = {"wss": 443, "ws": 80}


class Genesys(Platform):
    """A session of a conversation."""

    TRAITS = Traits(("mulaw",), (8000,), chunk_ms=200, channels=2)

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        if dial.secret is not None and not _is_base64(dial.secret):
            raise Unfit("genesys' client secret is in base64")
        self._session = str(uuid.UUID(hex=self._stream))
        self._seq = self._heard = self._ping = 0
        self._began: int | None = None  # the call's sample that is the session's first
        self._position = 0  # in samples
        self._closing = False
        self._channels = BOTH if self._form.channels == 2 else OUTSIDE  # as the server chose
        self.ready = False

    def headers(self, wall: float, nonce: str) -> dict[str, str]:
        """Return who calls, signed if there is a secret."""
        dial, url = self._dial, urlsplit(self._dial.signed_url)
        named = {
            "Audiohook-Organization-Id": dial.account,
            "Audiohook-Session-Id": self._session,
            "Audiohook-Correlation-Id": str(uuid.uuid5(uuid.UUID(self._session), "correlation")),
            "X-API-KEY": dial.key,
        }
        if dial.secret is None:
            return named
        port = "" if url.port in (None, DEFAULT_PORTS.get(url.scheme)) else f":{url.port}"
        components = {
            "@request-target": (url.path or "/") + (f"?{url.query}" if url.query else ""),
            "@authority": f"{url.hostname}{port}",
        } | {name.lower(): value for name, value in named.items()}
        return named | genesys_signature(dial.secret, components, int(wall), int(wall) + EXPIRES_S, nonce)

    def hello(self, now: float) -> list[Message]:
        """Return `open`, which offers what there is: both channels together, or one of them."""
        self.alarm = now + OPENED_S
        dial = self._dial
        participant = str(uuid.uuid5(uuid.UUID(self._session), "participant"))
        parameters = {
            "organizationId": dial.account,
            "conversationId": dial.call,
            "participant": {"id": participant, "ani": dial.caller, "aniName": "", "dnis": dial.called},
            "media": self._offers(),
            "language": "en-US",
        } | ({"customConfig": dict(dial.parameters)} if dial.parameters else {})
        return [self._message("open", parameters)]

    def media(self, frame: Frame) -> list[Message]:
        """Return the audio of the channels that the server chose, after what was discarded before it."""
        if self._closing:
            return []
        if self._began is None:
            self._began = frame.first
        missing = frame.first - self._began - self._position
        told: list[Message] = []
        if missing:
            span = {"start": self._duration(self._position), "discarded": self._duration(missing)}
            self._position += missing
            told.append(self._message("discarded", span))
        self._position += frame.samples
        if len(self._channels) == self._form.channels:
            return [*told, frame.audio]
        return [*told, separated(self._form, frame.audio)[BOTH.index(self._channels[0])]]

    def hear(self, message: Message, now: float) -> list[Message]:
        """Answer the server, as far as an answer is due."""
        said = decoded(message)
        if said.get("seq") != self._heard + 1:
            return self._fail(400, f"seq is {said.get('seq')!r} after {self._heard}", now)
        self._heard += 1
        parameters = said.get("parameters") or {}
        match said.get("type"):
            case "opened" if not self.ready:
                return self._opened(parameters.get("media"), now)
            case "pong" if said.get("clientseq") == self._ping:
                self.acked, self._ping = self.acked + 1, 0
            case "pong":
                return self._fail(400, f"clientseq of a pong is {said.get('clientseq')!r}", now)
            case "closed":
                self.over, self.alarm = True, math.inf
            case "disconnect":
                told = f"disconnect: {parameters.get('reason')}"
                self.complaint = f"{told}, {parameters['info']}" if parameters.get("info") else told
                return self._close("disconnect", now)
        return []

    def tick(self, now: float) -> list[Message]:
        """Return a ping, or give up what was not answered in time."""
        if self._closing:
            self.over, self.alarm, self.complaint = True, math.inf, self.complaint or "no closed"
            return []
        if not self.ready:
            return self._fail(408, "no opened", now)
        if self._ping:
            return self._fail(408, "no pong", now)
        self.alarm = now + PING_S
        ping = self._message("ping", {})
        self._ping = self._seq
        return [ping]

    def stop(self, now: float) -> list[Message]:
        """Return `close`, which the server answers by `closed`."""
        return self._close("end", now)

    def _offers(self) -> list[dict[str, Any]]:
        choices = [BOTH, OUTSIDE, INSIDE] if self._form.channels == 2 else [OUTSIDE, INSIDE]
        return [{"type": "audio", "format": "PCMU", "channels": one, "rate": 8000} for one in choices]

    def _opened(self, chosen: object, now: float) -> list[Message]:
        if not isinstance(chosen, list) or len(chosen) != 1 or chosen[0] not in self._offers():
            return self._fail(400, "the media chosen were not offered", now)
        self._channels, self.ready, self.alarm = chosen[0]["channels"], True, now + FIRST_PING_S
        return []

    def _fail(self, code: int, reason: str, now: float) -> list[Message]:
        if self._closing:
            return []
        self.complaint = reason
        return [self._message("error", {"code": code, "message": reason}), *self._close("error", now)]

    def _close(self, reason: str, now: float) -> list[Message]:
        if self._closing:
            return []
        self._closing, self.alarm = True, now + CLOSED_S
        return [self._message("close", {"reason": reason})]

    def _message(self, kind: str, parameters: dict[str, Any]) -> str:
        self._seq += 1
        return encoded(
            {
                "version": "2",
                "type": kind,
                "id": self._session,
                "seq": self._seq,
                "serverseq": self._heard,
                "position": self._duration(self._position),
                "parameters": parameters,
            }
        )

    def _duration(self, samples: int) -> str:
        return f"PT{samples / self._form.rate:.6f}".rstrip("0").rstrip(".") + "S"


def _is_base64(secret: Secret) -> bool:
    try:
        base64.b64decode(secret.reveal(), validate=True)
    except ValueError:
        return False
    return True

"""Asterisk's AudioSocket: frames over TCP, a UUID first, then audio of 20 ms, until a hangup. Pure.

Facts per Asterisk's page "AudioSocket": a type, a length in two bytes with the high one first, a payload. The
type of audio says its rate; the server's audio is played to the caller.
"""

from __future__ import annotations

import hashlib
import uuid
from urllib.parse import urlsplit

from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message, Platform, Traits
from trio_asr.lab.dial.settings import Dial

HANGUP, UUID = 0x00, 0x01
TYPES = {
    8000: 0x10, 12_000: 0x11, 16_000: 0x12, 24_000: 0x13, 32_000: 0x14, 44_100: 0x15, 48_000: 0x16,
    96_000: 0x17,
}  # fmt: skip


class AudioSocket(Platform):
    """A connection of a call. The last part of the URL's path, if there is one, is a secret half of its UUID.

    The other half is the call's id, if that has 16 hexadecimal digits, or else made of it. Without a secret
    the id itself should be a UUID.
    """

    TRAITS = Traits(("linear16",), tuple(TYPES), chunk_ms=20, tcp=True)

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        self._heard = b""

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return the UUID."""
        return [_frame(UUID, self._uuid())]

    def media(self, frame: Frame) -> list[Message]:
        """Return the audio in a frame."""
        return [_frame(TYPES[self._form.rate], frame.audio)]

    def hear(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002
        """Take frames of the server: audio is for the caller's ear, a hangup is the end."""
        assert isinstance(message, bytes)
        self._heard += message
        while len(self._heard) >= 3:
            end = 3 + int.from_bytes(self._heard[1:3], "big")
            if len(self._heard) < end:
                break
            if self._heard[0] == HANGUP:
                self.complaint = self.complaint or ("" if self.over else "hung up")
                self.over = True
            else:
                self.acked += 1
            self._heard = self._heard[end:]
        return []

    def stop(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return the hangup, after which Asterisk closes."""
        self.over = True
        return [_frame(HANGUP, b"")]

    def _uuid(self) -> bytes:
        secret = urlsplit(self._dial.url).path.rpartition("/")[2]
        call = self._dial.call
        if not secret:
            try:
                return uuid.UUID(call).bytes
            except ValueError:
                return uuid.uuid5(uuid.NAMESPACE_OID, call).bytes
        try:
            half = bytes.fromhex(call)
        except ValueError:
            half = b""
        if len(half) != 8:
            half = hashlib.sha256(call.encode()).digest()[:8]
        return bytes.fromhex(secret) + half


def _frame(kind: int, payload: bytes) -> bytes:
    return bytes([kind]) + len(payload).to_bytes(2, "big") + payload

"""Asterisk's AudioSocket: frames of a type and a payload, of which the first says a UUID.

A message is here a frame without its length: the byte of its type, and what it carries. The type of audio
says its rate. Asterisk's page: "AudioSocket".
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_asr.ingest.dialect import UNSUPPORTED, Audio, Begin, Effect, Finish, Odd, Refusal
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES, Whole
from trio_asr.wire.audio_format import audio_format

HANGUP, UUID, DTMF, ERROR = 0x00, 0x01, 0x03, 0xFF
# Hz of linear16 by the type. The type 0x18, of 192 kHz, is more than the stream takes.
RATES = {
    0x10: 8_000, 0x11: 12_000, 0x12: 16_000, 0x13: 24_000, 0x14: 32_000, 0x15: 44_100, 0x16: 48_000,
    0x17: 96_000,
}  # fmt: skip
_TOO_FAST = 0x18
_UUID_BYTES, _TOKEN_BYTES = 16, 8


class AudioSocket:
    """The reading of one connection. With `keyed` the first half of the UUID is a secret, not an id."""

    def __init__(self, *, keyed: bool) -> None:
        self._keyed = keyed
        self._uuid = b""
        self._type: int | None = None  # of the audio
        self._whole = Whole(2)
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._over = False

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:  # noqa: ARG002
        """Return what a frame means, in order.

        Raises:
            Refusal: It cannot be used.
        """
        kind = message[0]
        if self._over:
            return (Odd("late"),)
        if kind in RATES or kind == _TOO_FAST:
            return self._hear_audio(kind, message)
        if kind == UUID:
            return self._hear_uuid(message[1:])
        if kind == HANGUP:
            self._over = True
            return (Finish("hangup"),)
        if kind == DTMF:
            return ()
        return (Odd("told" if kind == ERROR else "event"),)

    def stored(self, number: int) -> str | None:  # noqa: ARG002
        """Return None: nobody waits for it."""
        return None

    def leave(self, reason: str) -> str | None:  # noqa: ARG002
        """Return None: the shell says the hangup, which is no text."""
        return None

    def _hear_uuid(self, uuid: bytes) -> Sequence[Effect]:
        if len(uuid) != _UUID_BYTES:
            raise Refusal("call_id", f"a UUID of {len(uuid)} bytes")
        if self._uuid:
            if uuid == self._uuid:
                return (Odd("start_again"),)
            raise Refusal("call_id", "a second UUID")
        self._uuid = uuid
        if not any(uuid):
            self._over = True
            return (Begin("", audio_format(8_000), probe=True),)
        early, self._early = self._early, []
        return [effect for held in early for effect in self._hear_audio(held[0], held)]

    def _hear_audio(self, kind: int, message: bytes) -> Sequence[Effect]:
        if kind == _TOO_FAST:
            raise Refusal("sample_rate", "sample rate 192000 cannot be taken", UNSUPPORTED)
        if not self._uuid:
            self._early_bytes += len(message)
            if self._early_bytes > MOST_EARLY_BYTES:
                raise Refusal("early", f"more than {MOST_EARLY_BYTES} bytes of audio before the UUID")
            self._early.append(message)
            return (Odd("early"),)
        effects: list[Effect] = []
        if self._type is None:
            self._type = kind
            effects.append(Begin(self._call, audio_format(RATES[kind])))
        elif kind != self._type:
            raise Refusal("format", f"audio of type {kind:#04x} after {self._type:#04x}", UNSUPPORTED)
        if len(message) == 1:
            return [*effects, Odd("empty")]
        if self._whole or len(message) % 2 == 0:
            effects.append(Odd("incomplete"))
        if audio := self._whole.take(message[1:]):
            effects.append(Audio(audio))
        return effects

    @property
    def _call(self) -> str:
        """The id: the UUID as Asterisk writes it, or the half of it that is no secret, in hex digits."""
        if self._keyed:
            return self._uuid[_TOKEN_BYTES:].hex()
        digits = self._uuid.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

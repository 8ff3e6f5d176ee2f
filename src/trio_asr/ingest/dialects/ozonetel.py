"""Ozonetel's KooKoo: audio as numbers in JSON, each message with its own rate.

Pages: Ozonetel, "ozonetel-ai-sdk" (README) and "STREAM_IMPLEMENTATION" of its portal. The start says nothing
of the format, and the first message of a call is of another rate than the others (16 kHz before 8 kHz). So a
call begins with its second message of audio, and has its rate.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from trio_asr.ingest.dialect import UNSUPPORTED, Audio, Effect, Lost, Odd, Refusal
from trio_asr.ingest.dialects.media_events import MediaEvents, Platform
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.frames import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from trio_asr.wire.salvage import UNREADABLE

KOOKOO = Platform(call=("ucid",), account=(), default=audio_format(8000), custom=("xheaders",))
MOST_STRAY_MS = 1000  # of another rate than the call's, in a row: then it is no stray message

_Sample = Annotated[int, msgspec.Meta(ge=-32_768, le=32_767)]


class _Data(msgspec.Struct, gc=False, rename="camel"):
    samples: list[_Sample]
    sample_rate: Annotated[int, msgspec.Meta(ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)]
    channel_count: Literal[1] = 1
    bits_per_sample: Literal[16] = 16


class _Message(msgspec.Struct, gc=False):
    event: Literal["media"]
    data: _Data


_decode = msgspec.json.Decoder(_Message, strict=False).decode


class Ozonetel(MediaEvents):
    """The reading of one socket."""

    def __init__(self) -> None:
        super().__init__(KOOKOO)
        self._start_held: dict[str, Any] | None = None
        self._held: list[tuple[bytes, int]] = []  # audio and its rate, before the call begins
        self._held_bytes = 0
        self._stray_ms = 0.0

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:
        """Return what a message means, in order. A text is in UTF-8, not yet checked.

        Raises:
            Refusal: It cannot be used.
        """
        try:
            data = _decode(message).data
        except UNREADABLE:
            return super().hear(message, text=text)
        samples = array("h", data.samples)
        if sys.byteorder == "big":
            samples.byteswap()
        audio = samples.tobytes()
        if self._over:
            return (Odd("late"),)
        if not audio:
            return (Odd("empty"),)
        if self._begun is not None:
            return self._taken(audio, data.sample_rate)
        return self._hold(audio, data.sample_rate)

    def _hold(self, audio: bytes, rate: int) -> Sequence[Effect]:
        self._held_bytes += len(audio)
        if self._held_bytes > MOST_EARLY_BYTES:
            raise Refusal("early", f"more than {MOST_EARLY_BYTES} bytes of media before the start")
        self._held.append((audio, rate))
        if self._start_held is None:
            return (Odd("early"),)
        return self._open() if len(self._held) > 1 else ()

    def _start(self, document: dict[str, Any]) -> Sequence[Effect]:
        if self._begun is not None:
            return super()._start(document)
        self._start_held = document
        return self._open() if len(self._held) > 1 else ()

    def _open(self) -> Sequence[Effect]:
        """Begin the call, in the rate of the second message if there is one."""
        assert self._start_held is not None
        rates = [rate for _, rate in self._held[:2]] or [KOOKOO.default.rate]
        format_ = {"encoding": "linear16", "sampleRate": rates[-1]}
        effects = list(super()._start(self._start_held | format_))
        held, self._held = self._held, []
        if len(held) > 1 and held[0][1] != held[1][1]:
            effects.append(Odd("rate"))
            del held[0]
        for audio, rate in held:
            effects += self._taken(audio, rate)
        return effects

    def _taken(self, audio: bytes, rate: int) -> Sequence[Effect]:
        assert self._begun is not None
        if rate == self._begun.format.rate:
            self._stray_ms = 0.0
            return (Audio(audio),)
        lost_ms = audio_format(rate).ms(len(audio))
        self._stray_ms += lost_ms
        if self._stray_ms > MOST_STRAY_MS:
            raise Refusal("format", f"the rate changes to {rate} Hz within a call", UNSUPPORTED)
        return (Odd("rate"), Lost(lost_ms))

    def _media(self, document: dict[str, Any], size: int) -> Sequence[Effect]:  # noqa: ARG002
        return (Odd("payload"),)

    def _end(self, event: str, body: object) -> Sequence[Effect]:
        if self._begun is None and self._start_held is not None:
            return [*self._open(), *super()._end(event, body)]
        return super()._end(event, body)

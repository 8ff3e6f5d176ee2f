"""Asterisk's channel driver chan_websocket, which dials out: one text, then raw frames of a codec. Pure.

Facts per Asterisk's page "WebSocket" (channel drivers): the subprotocol is `media`; events are texts of a
name and pairs; the close is the end.
"""

from __future__ import annotations

from trio_asr.lab.dial.platform import Message, Platform, Traits
from trio_asr.wire.audio_format import Encoding

FORMATS: dict[tuple[Encoding, int], str] = {
    ("mulaw", 8000): "ulaw", ("alaw", 8000): "alaw", ("linear16", 8000): "slin",
    ("linear16", 12_000): "slin12", ("linear16", 16_000): "slin16", ("linear16", 24_000): "slin24",
    ("linear16", 32_000): "slin32", ("linear16", 44_100): "slin44", ("linear16", 48_000): "slin48",
}  # fmt: skip


class Asterisk(Platform):
    """A channel of a call."""

    TRAITS = Traits(
        ("mulaw", "alaw", "linear16"),
        tuple(sorted({rate for _, rate in FORMATS})),
        chunk_ms=20,
        subprotocols=("media",),
    )

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return MEDIA_START."""
        form, size = self._form, self._form.bytes_per_s // 50
        told = {
            "connection_id": f"media-{self._stream[:8]}",
            "channel": f"WebSocket/asr/0x{self._stream[8:16]}",
            "channel_id": self._dial.call,
            "format": FORMATS[form.encoding, form.rate],
            "optimal_frame_size": size,
            "ptime": 20,
        }
        return [" ".join(["MEDIA_START", *(f"{name}:{value}" for name, value in told.items())])]

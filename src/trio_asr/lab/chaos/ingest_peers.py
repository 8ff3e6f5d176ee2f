"""Bad peers of an ingest: those that say next to nothing, and those that say too much."""

from __future__ import annotations

from trio_asr.lab.chaos.bad_peers import Talk, drip, frame, hold, pour, request
from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message
from trio_asr.lab.dial.twilio import Twilio
from trio_asr.lab.rig.callers import dialled
from trio_asr.wire.audio_format import audio_format

TEXT, BINARY, PING = 1, 2, 9  # opcodes (RFC 6455, 11.8)
BLOCK = 64 * 1024
TWILIO = request("/twilio")


def _framed(*messages: Message) -> bytes:
    return b"".join(
        frame(TEXT, message.encode()) if isinstance(message, str) else frame(BINARY, message)
        for message in messages
    )


def _much(data: bytes) -> bytes:
    return data * (BLOCK // len(data) + 1)


def _call(name: str) -> tuple[bytes, bytes]:
    """Return the beginning of a call, and a message of its audio."""
    call = dialled(5000, audio_format(8000, "mulaw"), 0.02, platform="twilio", url="", call=name)
    platform = Twilio(call.dial)
    hello = _framed(*platform.hello(0))
    return hello, _framed(*platform.media(Frame(0, 0, 160, 0, call.dial.recording.audio, 0)))


_HELLO, _MEDIA = _call("bad-call")
_CUT = len(TWILIO) // 2

#: What says little: nothing, half a request, half a message, no start, no audio after it.
SLOW: tuple[Talk, ...] = (
    hold(b""),
    drip(TWILIO[:_CUT], b"x"),
    drip(TWILIO, frame(PING, b"")),
    drip(TWILIO + _HELLO[:9], b"x"),
    hold(TWILIO + _HELLO),
    drip(TWILIO + b"\x01\xff" + (200_000).to_bytes(8) + bytes(4), b"x"),
)
#: What says too much: nonsense of every kind, and a call whose audio comes as fast as it is taken.
FLOOD: tuple[Talk, ...] = (
    pour(b"", b"\0" * BLOCK),
    pour(TWILIO, _much(frame(TEXT, b"{" * 100))),
    pour(TWILIO, _much(frame(PING, b"?" * 100))),
    pour(TWILIO, _much(frame(BINARY, bytes(300_000)))),
    pour(TWILIO, _much(b"\x01\x80" + bytes(4))),
    pour(request("/generic"), _much(frame(BINARY, bytes(160)))),
    pour(TWILIO, _much(_MEDIA)),
    pour(TWILIO + _HELLO, _much(_MEDIA)),
)

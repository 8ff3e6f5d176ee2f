"""Frames as packed Redis commands, made cheaply: a call's documents differ in three places only.

What is the same in all of them is taken from one that was written as every producer writes it.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

import msgspec

from trio_asr.client.audio import Recording
from trio_asr.client.producer import Call, Entries
from trio_asr.lab.load.plan import Plan
from trio_asr.lab.rig.legs import ROLES, stamped

TENANT = "load"
_pack = msgspec.msgpack.Encoder().encode

#: Returns the document of a frame from its seq, its timestamp in ms and its audio.
Writer = Callable[[int, int, bytes], bytes]


class Frames:
    """The frames of one call, in order. Their audio is generated a second at a time."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.left = plan.frames(number)
        form = self._format = plan.format
        roles = ROLES if form.channels > 1 else ()
        self._call = Call(plan.name(number), Recording(b"", form), TENANT, roles, plan.entries)
        self._number = number
        self._seq = 0
        self._size = plan.frame_samples * form.width
        self._block = plan.frame_samples * max(1, 1000 // plan.frame_ms)
        self._audio = b""
        self._at = 0
        field, document = self._call.cut(0, 0, 0, 0)
        packed = plan.entries is Entries.MSGPACK
        self._write = _msgpack(document, self._size) if packed else _json(document)
        place = plan.places.of(self._call.interaction_id)
        self._frame_xadd, self._end_stream = _xadd(place + plan.audio_stream, field), place + plan.end_stream

    def next(self, timestamp_ms: int) -> bytes:
        """Return the command that adds the next frame."""
        if self._at >= len(self._audio):
            start = self._seq * self._size // self._format.width
            self._audio, self._at = stamped(self._format, self._number, start, self._block), 0
        audio = self._audio[self._at : self._at + self._size]
        self._at += self._size
        self._seq += 1
        self.left -= 1
        data = self._write(self._seq, timestamp_ms, audio)
        return b"%b$%d\r\n%b\r\n" % (self._frame_xadd, len(data), data)

    def end(self, timestamp_ms: int) -> bytes:
        """Return the command that ends the call."""
        field, data = self._call.end(timestamp_ms)
        return b"%b$%d\r\n%b\r\n" % (_xadd(self._end_stream, field), len(data), data)


def _json(document: bytes) -> Writer:
    """Return a writer of documents like this one, whose numbers are 0 and whose audio is empty."""
    before, after = document.split(b'0,"timestamp_ms":0')
    after = after.removesuffix(b'"}')

    def write(seq: int, timestamp_ms: int, audio: bytes) -> bytes:
        text = binascii.b2a_base64(audio, newline=False)
        return b'%b%d,"timestamp_ms":%d%b%b"}' % (before, seq, timestamp_ms, after, text)

    return write


def _msgpack(document: bytes, size: int) -> Writer:
    """Likewise, with `size` bytes of audio."""
    key = _pack("timestamp_ms")
    before, after = document.split(_pack(0) + key + _pack(0))
    after = after.removesuffix(_pack(b"")) + _pack(bytes(size)).removesuffix(bytes(size))

    def write(seq: int, timestamp_ms: int, audio: bytes) -> bytes:
        return b"".join((before, _pack(seq), key, _pack(timestamp_ms), after, audio))

    return write


def _xadd(stream: str, field: str) -> bytes:
    words = (b"XADD", stream.encode(), b"*", field.encode())
    return b"*5\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)

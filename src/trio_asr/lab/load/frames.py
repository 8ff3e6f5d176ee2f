"""Frames as packed Redis commands, made cheaply: a call's JSON differs in three places only."""

from __future__ import annotations

import binascii

from trio_asr.client.producer import Call
from trio_asr.lab.load.plan import Plan
from trio_asr.simulator.stamps import stamp

TENANT = "load"


class Frames:
    """The frames of one call, in order. Their audio is generated a second at a time."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.left = plan.frames(number)
        self._name = plan.name(number)
        self._number = number
        self._seq = 0
        self._size = 2 * plan.frame_samples
        self._block = plan.frame_samples * max(1, 1000 // plan.frame_ms)
        self._pcm = b""
        self._at = 0
        self._head = f'{{"tenant_id":"{TENANT}","interaction_id":"{self._name}","seq":'.encode()
        self._middle = b',"timestamp_ms":'
        self._rate = f',"sample_rate":{plan.rate},"encoding":"pcm16","audio":"'.encode()
        self._audio_xadd, self._end_xadd = _xadd(plan.audio_stream), _xadd(plan.end_stream)

    def next(self, timestamp_ms: int) -> bytes:
        """Return the command that adds the next frame."""
        if self._at >= len(self._pcm):
            start = self._seq * self._size // 2
            self._pcm, self._at = stamp(self._number, start, self._block), 0
        audio = binascii.b2a_base64(self._pcm[self._at : self._at + self._size], newline=False)
        self._at += self._size
        self._seq += 1
        self.left -= 1
        data = b'%b%d%b%d%b%b"}' % (self._head, self._seq, self._middle, timestamp_ms, self._rate, audio)
        return b"%b$%d\r\n%b\r\n" % (self._audio_xadd, len(data), data)

    def end(self, timestamp_ms: int) -> bytes:
        """Return the command that ends the call."""
        data = Call(self._name, b"", TENANT).end(timestamp_ms)
        return b"%b$%d\r\n%b\r\n" % (self._end_xadd, len(data), data)


def _xadd(stream: str) -> bytes:
    name = stream.encode()
    return b"*5\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$4\r\ndata\r\n" % (len(name), name)

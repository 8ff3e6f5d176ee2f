"""The WebSocket frames of a client (RFC 6455, section 5.2): whole messages out of the bytes of a socket.

A library that does all of the protocol takes 50 to 100 us a message, since each goes through several objects
and tasks, and a call of two legs brings a hundred messages a second. So messages are taken out here, and
unmasked in C. Everything else (pings, closes, what breaks the protocol) is left to the library, as it came.
"""

from __future__ import annotations

from typing import NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:  # its C part could not be built here
    from websockets.utils import apply_mask

_FIN, _RESERVED, _OPCODE, _MASKED = 0x80, 0x70, 0x0F, 0x80
_CONTINUATION, _TEXT, _BINARY, _PING, _PONG = 0, 1, 2, 9, 10
_WHOLE = (_FIN | _TEXT, _FIN | _BINARY)  # nearly all that comes
MAX_FRAGMENTS = 512  # frames of one message


class Received(NamedTuple):
    """A message of the application; a text is not yet known to be UTF-8."""

    payload: bytes
    text: bool


class ClientFrames:
    """The reader of one client's frames.

    With `given_up` the client has sent a close, or broke the protocol: the rest is the library's. `too_large`
    says what message was too large, once one was: nobody knows what comes after it.
    """

    __slots__ = ("_max_message", "_parts", "_rest", "_size", "_text", "count", "given_up", "too_large")

    def __init__(self, max_message: int) -> None:
        self.count = 0  # frames so far, of any kind
        self.given_up = False
        self.too_large = ""
        self._max_message = max_message  # in bytes
        self._rest = b""  # the beginning of a frame
        self._parts: list[bytes] = []  # of the unfinished message
        self._size = 0
        self._text = False

    def take(self, data: bytes | bytearray) -> tuple[list[Received], bytes]:
        """Return the messages that `data` completes, and the bytes that are the library's."""
        data = self._rest + data
        messages, left, at = list[Received](), list[bytes](), 0
        while not (self.given_up or self.too_large) and (head := _payload(data, at)) is not None:
            begin, end = head
            first, size = data[at], end - begin
            if size > self._max_message:
                self.too_large = f"a message of {size} bytes, of which {self._max_message} are allowed"
                break
            if end > len(data):
                break
            self.count += 1
            whole = first in _WHOLE and not self._parts
            if data[at + 1] & _MASKED and (whole or self._is_part(first)):
                payload = apply_mask(data[begin:end], data[begin - 4 : begin])
                if whole:
                    messages.append(Received(payload, first == _FIN | _TEXT))
                elif (message := self._joined(first, payload)) is not None:
                    messages.append(message)
            else:
                left.append(data[at:end])
                self.given_up = first & _OPCODE not in (_PING, _PONG)
            at = end
        self._rest = b"" if self.too_large else bytes(data[at:])
        if self.given_up:
            left.append(self._rest)
            self._rest = b""
        return messages, b"".join(left)

    def _is_part(self, first: int) -> bool:
        """Return whether a frame is a message of the application or the next part of one."""
        opcode = first & _OPCODE
        if first & _RESERVED:
            return False  # compressed, for example, which was not agreed on
        return opcode == _CONTINUATION if self._parts else opcode in (_TEXT, _BINARY)

    def _joined(self, first: int, payload: bytes) -> Received | None:
        """Take a fragment; return the message that it completes."""
        if not self._parts:
            self._text, self._size = first & _OPCODE == _TEXT, 0
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > self._max_message or len(self._parts) > MAX_FRAGMENTS:
            self.too_large = (
                f"a message of over {self._max_message} bytes, or in over {MAX_FRAGMENTS} fragments"
            )
            self._parts = []
            return None
        if not first & _FIN:
            return None
        whole = Received(b"".join(self._parts), self._text)
        self._parts = []
        return whole


def _payload(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `at` begins and ends; None if its head is not complete."""
    if len(data) < at + 2:
        return None
    length, begin = data[at + 1] & 0x7F, at + 2
    if length > 125:
        size = 2 if length == 126 else 8
        begin += size
        if len(data) < begin:
            return None
        length = int.from_bytes(data[begin - size : begin], "big")
    if data[at + 1] & _MASKED:
        begin += 4
    return begin, begin + length

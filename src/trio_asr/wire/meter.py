"""A meter of received WebSocket frames: it bounds their rate and size, and checks that they are frames.

RFC 6455, section 5.2, defines the format. A peer may send meaningless valid frames as fast as the network
takes them: pings, each of which wants an answer, or empty fragments. Every frame and every read costs time of
the event loop, which belongs to all calls. So each connection has a token bucket of them.
"""

from __future__ import annotations

BURST = 1000  # frames and reads at once; enough for the results of minutes of audio
PER_S = 200.0  # frames and reads a second, sustained; a busy connection has 10
MAX_FRAGMENTS = 512  # frames of one message
_CONTINUATION, _CLOSE = 0, 8
_KNOWN = frozenset({0, 1, 2, 8, 9, 10})
ABNORMAL, TOO_BIG = 1006, 1009


class Offence(Exception):
    """A breach by the peer that ends the connection. `code` is the close code that is reported for it."""

    def __init__(self, reason: str, code: int = ABNORMAL) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Meter:
    """The meter of one connection. `max_message` is in bytes, `now` in seconds on a monotonic clock."""

    __slots__ = (
        "_allowance",
        "_at",
        "_code",
        "_fragments",
        "_head",
        "_left",
        "_max_message",
        "_size",
        "close_code",
    )

    def __init__(self, max_message: int, now: float) -> None:
        self.close_code: int | None = None  # of the close frame that was received
        self._max_message = max_message
        self._allowance, self._at = float(BURST), now
        self._head = b""  # the head of a frame, as far as it has arrived
        self._left = 0  # bytes of the present frame's payload still to come
        self._fragments = self._size = 0  # frames and bytes of the unfinished message
        self._code: bytes | None = None  # the beginning of a close frame's payload

    def take(self, data: bytes | bytearray, now: float) -> None:
        """Meter the bytes of one read. `now` is in seconds.

        Raises:
            Offence: The peer sends too much, or no WebSocket frames. The rest of `data` was not looked at.
        """
        self._allowance = min(BURST, self._allowance + (now - self._at) * PER_S) - 1
        self._at = now
        at, end = 0, len(data)
        while at < end:
            if self._left:
                step = min(self._left, end - at)
                if self._code is not None:
                    self._closing(bytes(data[at : at + step]))
                self._left -= step
                at += step
                continue
            size = self._frame(self._head + bytes(data[at : at + 10]))
            if not size:
                self._head += bytes(data[at:end])
                return
            at += size - len(self._head)
            self._head = b""
            self._allowance -= 1
            if self._allowance < 0:
                raise Offence(f"a flood: more than {PER_S:.0f} frames a second")
        if self._allowance < 0:
            raise Offence(f"a flood: more than {PER_S:.0f} reads a second")

    def _frame(self, head: bytes) -> int:
        """Begin a frame; return the size of its head in bytes, or 0 if the head is not complete."""
        if len(head) < 2:
            return 0
        length, size = head[1] & 0x7F, 2
        if length > 125:
            size = 4 if length == 126 else 10
            if len(head) < size:
                return 0
            length = int.from_bytes(head[2:size], "big")
        opcode, final = head[0] & 0x0F, bool(head[0] & 0x80)
        if head[0] & 0x70 or opcode not in _KNOWN or head[1] & 0x80:
            raise Offence("what it sends is no WebSocket frame")
        if opcode >= _CLOSE:
            self._control(opcode, length, final)
        else:
            self._part(opcode, length, final)
        self._left = length
        return size

    def _control(self, opcode: int, length: int, final: bool) -> None:
        if length > 125 or not final:
            raise Offence("what it sends is no WebSocket frame")
        if opcode == _CLOSE:
            self._code = b""
            self.close_code = 1005 if not length else None

    def _part(self, opcode: int, length: int, final: bool) -> None:
        if (opcode == _CONTINUATION) != (self._fragments > 0):
            raise Offence("fragments of a message that do not belong together")
        self._fragments += 1
        self._size += length
        if self._size > self._max_message:
            raise Offence(f"a message of more than {self._max_message} bytes", TOO_BIG)
        if self._fragments > MAX_FRAGMENTS:
            raise Offence(f"a message in more than {MAX_FRAGMENTS} pieces")
        if final:
            self._fragments = self._size = 0

    def _closing(self, payload: bytes) -> None:
        code = self._code
        if code is not None and len(code) < 2:
            self._code = code = (code + payload)[:2]
            if len(code) == 2:
                self.close_code = int.from_bytes(code, "big")

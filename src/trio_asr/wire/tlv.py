"""The frames of Asterisk's AudioSocket: a type (one byte), a length (two, big-endian) and so many bytes.

Asterisk's page: "AudioSocket".
"""

from __future__ import annotations

from typing import NamedTuple

HEAD_BYTES = 3


class Tlv(NamedTuple):
    """One frame: its type, and what it carries, up to 65,535 bytes."""

    type: int
    payload: bytes


class TlvReader:
    """The frames of one connection, in whatever pieces its bytes come."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes | bytearray) -> list[Tlv]:
        """Return the frames that are whole with these bytes, in order. The rest waits for more."""
        data = self._rest + bytes(data)
        frames: list[Tlv] = []
        at = 0
        while len(data) - at >= HEAD_BYTES:
            end = at + HEAD_BYTES + int.from_bytes(data[at + 1 : at + HEAD_BYTES], "big")
            if end > len(data):
                break
            frames.append(Tlv(data[at], data[at + HEAD_BYTES : end]))
            at = end
        self._rest = data[at:]
        return frames


def write_tlv(kind: int, payload: bytes = b"") -> bytes:
    """Return a frame of a type (0-255) with at most 65,535 bytes.

    Raises:
        OverflowError: The type or the length does not fit.
    """
    return kind.to_bytes(1, "big") + len(payload).to_bytes(2, "big") + payload

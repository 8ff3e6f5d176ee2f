"""Bytes as producers put them into text: base64 in all its wrappings, and lists of numbers."""

from __future__ import annotations

import binascii
import re
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

import msgspec

_BOM = b"\xef\xbb\xbf"
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_DATA_URL = re.compile(rb"data:[^,]{0,200};base64,", re.IGNORECASE)
_FOLD = re.compile(rb"[\t\r\n]\s*")
_PADDED = re.compile(rb"(?<==)(?!=)")  # where the padding of a piece ends
_Bytes = list[Annotated[int, msgspec.Meta(ge=0, le=255)]]


def from_base64(text: str) -> bytes:
    """Return the bytes of base64, however it is wrapped.

    It may be without padding, URL-safe, percent-encoded, in lines, or in a data: URL. Pieces that were padded
    each by itself may be joined.

    Raises:
        ValueError: It has bad characters, or so many that no bytes make them.
    """
    with suppress(ValueError):  # nearly always, where a platform sends it
        return binascii.a2b_base64(text, strict_mode=True)
    plain = text.encode()
    if b"%" in plain:
        plain = unquote_to_bytes(plain)
    plain = plain.removeprefix(_BOM).rstrip()
    if url := _DATA_URL.match(plain):
        plain = plain[url.end() :]
    plain = _without_blanks(plain).translate(_FROM_URL_SAFE).rstrip(b"=")
    *padded, last = _PADDED.split(plain)
    last += b"=" * (-len(last) % 4)
    return b"".join([binascii.a2b_base64(piece, strict_mode=True) for piece in (*padded, last)])


def from_numbers(value: Any) -> bytes:
    """Return the bytes of a list of their values, or of what JSON.stringify makes of Node's Buffer.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, dict) and value.get("type") == "Buffer":
        value = value.get("data")
    return bytes(msgspec.convert(value, _Bytes))


def _without_blanks(plain: bytes) -> bytes:
    """Return base64 in one line.

    A blank stands only between whole groups of four: elsewhere it was a "+" before a form was decoded, and
    without that all bytes behind it would be others.
    """
    plain = _FOLD.sub(b"", plain)
    if b" " not in plain:
        return plain
    pieces = plain.split()
    if any(len(piece) % 4 for piece in pieces):
        raise ValueError("a blank within a group of four")
    return b"".join(pieces)

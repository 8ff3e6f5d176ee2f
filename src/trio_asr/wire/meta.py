"""What a producer says about a call (`meta`): kept as it came, and read only where an event is to carry it.

Events are JSON for anybody to read. MessagePack holds more than JSON: bytes, times, extensions, keys of any
kind, NaN. Bad `meta` costs no audio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from trio_asr.wire.extensions import extension

MAX_META_BYTES = 4096  # as it stands in the entry
MAX_META_DEPTH = 16  # objects and lists in one another, itself included
NO_META = msgspec.Raw()
PLATFORM = "platform"  # our ingest says under this key who brought the call
# What people are shown of a call's origin: a word before it, and the keys that may have it.
_ORIGIN = (("", (PLATFORM,)), ("from ", ("from", "ani")), ("to ", ("to", "dnis")))
MAX_SHOWN = 64  # characters of each
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)
_from_json = msgspec.json.Decoder().decode
_from_message_pack = msgspec.msgpack.Decoder(ext_hook=extension).decode


class BadMeta(Exception):
    """Meta that no event can carry. The message says why, and nothing of what is in it."""


def detached(meta: msgspec.Raw) -> msgspec.Raw:
    """Return a copy: a decoded `Raw` is a view, and keeps its whole entry in memory.

    Of meta that is too long only as much is copied as shows that.
    """
    return msgspec.Raw(bytes(memoryview(meta)[: MAX_META_BYTES + 1]))


def read_meta(meta: msgspec.Raw) -> dict[str, Any]:
    """Return the meta of a frame as an object that JSON can hold, empty if the frame has none.

    Raises:
        BadMeta: It is too long, not an object, nested too deep, or holds what JSON cannot.
    """
    data = bytes(meta)
    if len(data) > MAX_META_BYTES:
        raise BadMeta(f"meta has more than {MAX_META_BYTES} bytes")
    if not data:
        return {}
    try:
        # No JSON begins with a byte of 128 or more, and every map and list of MessagePack does.
        value = _from_json(data) if data[0] < 0x80 else _from_message_pack(data)
    except _UNREADABLE:
        raise BadMeta("meta cannot be decoded") from None
    except RecursionError:
        raise BadMeta(f"meta is nested deeper than {MAX_META_DEPTH} levels") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadMeta("meta is not an object")
    _check(value, MAX_META_DEPTH)
    return value


def origin(meta: Mapping[str, Any]) -> str:
    """Return where a call comes from, as far as its meta says, such as "twilio, from +49301 to +49402"."""
    platform, *numbers = (
        next(
            (
                f"{word}{meta[key][:MAX_SHOWN]}"
                for key in keys
                if isinstance(meta.get(key), str) and meta[key]
            ),
            "",
        )
        for word, keys in _ORIGIN
    )
    return ", ".join(filter(None, (platform, " ".join(filter(None, numbers)))))


def _check(value: object, levels: int) -> None:
    """Check that JSON can hold a value, with at most `levels` objects and lists in one another."""
    if isinstance(value, dict | list):
        if not levels:
            raise BadMeta(f"meta is nested deeper than {MAX_META_DEPTH} levels")
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise BadMeta("meta has a key that is not a string")
        for inner in value.values() if isinstance(value, dict) else value:
            _check(inner, levels - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadMeta("meta has a number that is not finite")
    elif not isinstance(value, str | int | float | None):
        raise BadMeta(f"meta has a value of the type {type(value).__name__}")

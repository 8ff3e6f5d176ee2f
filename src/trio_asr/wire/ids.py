"""Stream entry ids: the one clock that audio, call ends and checkpoints share.

An id is Redis' own text form, ``"<milliseconds>-<sequence>"``; ids of one server are ordered across its
streams, which is what lets an end of a call be placed among the call's frames.
"""

from __future__ import annotations

import re
from typing import Any

EntryId = str

ORIGIN: EntryId = "0-0"
_FORM = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)
_PART = 2**64  # each part of an id is an unsigned integer of 64 bits


def key(entry_id: EntryId) -> int:
    """Map an id to an int of the same order (the sequence part is 64 bits wide)."""
    ms, _, seq = entry_id.partition("-")
    return (int(ms) << 64) | int(seq or 0)


def id_of(value: int) -> EntryId:
    """Return the id of a `key`."""
    return f"{value >> 64}-{value & (2**64 - 1)}"


def milliseconds(entry_id: EntryId) -> int:
    """Return the server's clock when the entry was added, in epoch milliseconds."""
    return int(entry_id.partition("-")[0])


def earlier(entry_id: EntryId, by_ms: int) -> EntryId:
    """Return the first possible id of the moment `by_ms` before `entry_id`."""
    return f"{max(0, milliseconds(entry_id) - by_ms)}-0"


def before(entry_id: EntryId) -> EntryId:
    """Return the greatest id below `entry_id`, so that an exclusive read from it includes `entry_id`."""
    return id_of(max(0, key(entry_id) - 1))


def field(fields: list[bytes], name: bytes) -> bytes | None:
    """Return the value of the first field called `name`."""
    for i in range(0, len(fields) - 1, 2):
        if fields[i] == name:
            return fields[i + 1]
    return None


def is_id(text: str) -> bool:
    """Say whether `text` is an id in full form, as Redis writes them."""
    return bool(_FORM.fullmatch(text)) and all(int(part) < _PART for part in text.split("-"))


def show(value: Any, limit: int = 80) -> str:
    """Return `value`, which came out of a JSON document, as it may stand in a reason: one line, cut.

    Of what has an inside it says what it is: how deep or long that may be is not known.
    """
    if isinstance(value, dict | list):
        text = "an object" if isinstance(value, dict) else "a list"
    elif isinstance(value, int) and abs(value) >= _PART:
        text = "a number of more than 64 bits"
    else:
        text = repr(value[:limit] if isinstance(value, str) else value)
    return text if len(text) <= limit else text[: limit - 3] + "..."

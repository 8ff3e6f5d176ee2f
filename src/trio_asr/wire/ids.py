"""Stream entry ids: the one clock that audio, ends of calls and checkpoints share.

An id has Redis's own text form, `"<milliseconds>-<sequence>"`. The ids of one server are ordered across its
streams. That is how the end of a call finds its position among the call's frames.
"""

from __future__ import annotations

import re
from typing import Any

EntryId = str

ORIGIN: EntryId = "0-0"
_FORM = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)
_PART = 2**64  # each part of an id is an unsigned integer of 64 bits


def key(entry_id: EntryId) -> int:
    """Map an id to an integer of the same order. The low 64 bits are the sequence."""
    ms, _, seq = entry_id.partition("-")
    return (int(ms) << 64) | int(seq or 0)


def id_of(value: int) -> EntryId:
    """Return the id that `key` maps to `value`."""
    return f"{value >> 64}-{value & (2**64 - 1)}"


def milliseconds(entry_id: EntryId) -> int:
    """Return the time by the server's clock when the entry was added, in epoch milliseconds."""
    return int(entry_id.partition("-")[0])


def earlier(entry_id: EntryId, by_ms: int) -> EntryId:
    """Return the lowest id of the time `by_ms` milliseconds before `entry_id`."""
    return f"{max(0, milliseconds(entry_id) - by_ms)}-0"


def before(entry_id: EntryId) -> EntryId:
    """Return the greatest id below `entry_id`, so that an exclusive read from it includes `entry_id`."""
    return id_of(max(0, key(entry_id) - 1))


def field(fields: list[bytes], name: bytes) -> bytes | None:
    """Return the value of the first field called `name`; `fields` alternates names and values."""
    for i in range(0, len(fields) - 1, 2):
        if fields[i] == name:
            return fields[i + 1]
    return None


def is_id(text: str) -> bool:
    """Return whether `text` is an id in full form, as Redis writes it."""
    return bool(_FORM.fullmatch(text)) and all(int(part) < _PART for part in text.split("-"))


def show(value: Any, limit: int = 80) -> str:
    """Return a value from a document in a form fit for a reason: one line, at most `limit` characters.

    Objects and lists are named, not shown: they may be of any depth and length.
    """
    if isinstance(value, dict | list):
        text = "an object" if isinstance(value, dict) else "a list"
    elif isinstance(value, int) and abs(value) >= _PART:
        text = "a number of more than 64 bits"
    else:
        text = repr(value[:limit] if isinstance(value, str | bytes) else value)
    return text if len(text) <= limit else text[: limit - 3] + "..."

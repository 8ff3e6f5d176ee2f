"""Consumer groups on the input streams. Ours has no consumers; its position is advanced to show the lag.

So any consumer in it belongs to another program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import redis.exceptions

from trio_asr.bus.base import BusForbids, Consumer
from trio_asr.bus.connection import Command
from trio_asr.bus.line import Steps, granted
from trio_asr.wire import ids
from trio_asr.wire.ids import EntryId


def consumers_of(group: str, streams: Sequence[str]) -> Steps[list[Consumer]]:
    """Find the consumers of a group on these streams.

    Raises:
        BusForbids: Our user may not ask.
        redis.RedisError: No answer.
    """
    found: list[Consumer] = []
    for stream in streams:
        there = yield from _there(("XINFO", "CONSUMERS", stream, group))
        found += [Consumer(stream, group, _text(one[b"name"]), one[b"idle"]) for one in there]
    return found


def neighbours_of(group: str, stream: str) -> Steps[list[Consumer]]:
    """Find the consumers of all other groups on a stream.

    Raises:
        BusForbids: Our user may not ask.
        redis.RedisError: No answer.
    """
    there = yield from _there(("XINFO", "GROUPS", stream))
    found: list[Consumer] = []
    for name in (_text(one[b"name"]) for one in there):
        if name != group:
            found += yield from consumers_of(name, [stream])
    return found


def move(group: str, to: Sequence[tuple[str, EntryId]]) -> Steps[None]:
    """Set the position of a group on each stream; create the group and the stream if they do not exist.

    Raises:
        redis.RedisError: No answer, or a refusal.
    """
    moved = yield [("XGROUP", "SETID", stream, group, position) for stream, position in to]
    new = [place for place, reply in zip(to, moved, strict=True) if isinstance(reply, redis.ResponseError)]
    if new:
        granted((yield [("XGROUP", "CREATE", stream, group, at, "MKSTREAM") for stream, at in new]))


def trim(group: str, stream: str, floor: EntryId) -> Steps[None]:
    """Delete what lies below the floor, and what every other group has acknowledged.

    Raises:
        redis.RedisError: No answer, or a refusal.
    """
    (groups,) = granted((yield [("XINFO", "GROUPS", stream)]))
    others = [one for one in map(_named, groups) if _text(one[b"name"]) != group]
    keep = ids.key(floor)
    if others:
        # Asked whatever XINFO has said: that was a moment ago, and the groups' consumers go on reading.
        pending = granted((yield [("XPENDING", stream, one[b"name"]) for one in others]))
        for one, (_, oldest, *_) in zip(others, pending, strict=True):
            keep = min(keep, ids.key(one[b"last-delivered-id"].decode()))
            if oldest is not None:
                keep = min(keep, ids.key(oldest.decode()))
    granted((yield [("XTRIM", stream, "MINID", "~", ids.id_of(keep))]))


def _there(command: Command) -> Steps[list[dict[bytes, Any]]]:
    """Return the answer, an empty list if the stream or the group does not exist."""
    (reply,) = yield [command]
    if isinstance(reply, redis.exceptions.NoPermissionError):
        raise BusForbids(str(reply)) from reply
    return [] if isinstance(reply, redis.ResponseError) else [_named(one) for one in reply]


def _named(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")

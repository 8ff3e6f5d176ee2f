"""Consumer groups on the input streams. Ours has no consumers; its position is advanced to show the lag.

So any consumer in it belongs to another program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import redis
import redis.exceptions

from trio_asr.bus.base import BusForbids, Consumer
from trio_asr.wire import ids
from trio_asr.wire.ids import EntryId


def consumers_of(client: redis.Redis, group: str, streams: Sequence[str]) -> list[Consumer]:
    """Return the consumers of a group on these streams.

    Raises:
        BusForbids: Our user may not ask.
        redis.RedisError: No answer.
    """
    found: list[Consumer] = []
    for stream in streams:
        answer = _there(functools.partial(client.xinfo_consumers, stream, group))
        found += [Consumer(stream, group, _text(one["name"]), one["idle"]) for one in answer]
    return found


def neighbours_of(client: redis.Redis, group: str, stream: str) -> list[Consumer]:
    """Return the consumers of all other groups on a stream.

    Raises:
        BusForbids: Our user may not ask.
        redis.RedisError: No answer.
    """
    names = [_text(one["name"]) for one in _there(functools.partial(client.xinfo_groups, stream))]
    return [one for name in names if name != group for one in consumers_of(client, name, [stream])]


def move(client: redis.Redis, stream: str, group: str, to: EntryId) -> None:
    """Set the position of a group; create the group and the stream if they do not exist.

    Raises:
        redis.RedisError: No answer, or a refusal.
    """
    try:
        client.xgroup_setid(stream, group, to)
    except redis.ResponseError:
        client.xgroup_create(stream, group, to, mkstream=True)


def needed_by_others(client: redis.Redis, group: str, stream: str, floor: EntryId) -> EntryId:
    """Return the first entry that the stream must keep: the floor, or an earlier one for another group.

    Raises:
        redis.RedisError: No answer, or a refusal.
    """
    keep = ids.key(floor)
    for one in client.xinfo_groups(stream):
        name = _text(one["name"])
        if name == group:
            continue
        keep = min(keep, ids.key(one["last-delivered-id"].decode()))
        # Asked whatever XINFO has said: that was a moment ago, and the group's consumers go on reading.
        oldest = client.xpending(stream, name)["min"]
        if oldest is not None:
            keep = min(keep, ids.key(oldest.decode()))
    return ids.id_of(keep)


def _there(ask: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the answer, an empty list if the stream or the group does not exist."""
    try:
        return cast("list[dict[str, Any]]", ask())
    except redis.exceptions.NoPermissionError as error:
        raise BusForbids(str(error)) from error
    except redis.ResponseError:
        return []


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")

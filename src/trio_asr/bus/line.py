"""A connection for many commands at a time.

redis-py's connection without the pipeline on top of it, which takes one from the pool and checks, counts and
times it for every round: where a round is a few commands, that costs more than they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

Command = Sequence[str | bytes | int]


class Line:
    """One connection of a pool's kind, made when it is first needed, and anew after an error."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._connection: Any = pool.make_connection()  # half of its methods have no types

    def ask(self, *commands: Command, raise_on_error: bool = True) -> list[Any]:
        """Send commands in one go and return their replies, as they came.

        Raises:
            redis.ConnectionError, redis.TimeoutError: no answer; what was applied is not known.
            redis.ResponseError: the first refusal. Without `raise_on_error` it is that command's reply.
        """
        connection = self._connection
        connection.connect()
        if self._is_stale():
            connection.disconnect()  # sending connects again
        connection.send_packed_command(connection.pack_commands(commands))
        replies = [self._reply() for _ in commands]
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, redis.ResponseError):
                    raise reply
        return replies

    def close(self) -> None:
        self._connection.disconnect()

    def _is_stale(self) -> bool:
        """Say whether the server has hung up, as it may on a client that was silent for long."""
        try:
            return bool(self._connection.can_read())  # what nobody asked for
        except (redis.RedisError, OSError):
            return True

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as refusal:
            return refusal

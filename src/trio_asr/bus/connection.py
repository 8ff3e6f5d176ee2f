"""A connection for many commands at a time.

redis-py's connection without the pipeline on top of it, which takes one from the pool and checks, counts and
times it for every round: where a round is a few commands, that costs more than they do.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import redis
import redis.exceptions
from redis.connection import DefaultParser

Command = Sequence[str | bytes | int]


class ReplyTooLargeError(redis.ConnectionError):
    """More came than was asked to be taken; the connection is closed, nothing of it was used."""


class Script:
    """A Lua script of this package: its text, and the name under which the server keeps it."""

    def __init__(self, name: str) -> None:
        self.text = resources.files("trio_asr.bus").joinpath(name).read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def on(self, keys: Sequence[str], *args: str | bytes | int) -> Command:
        """Return the command that runs it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


class PipelinedConnection:
    """One connection of a pool's kind, made when it is first needed, and anew after an error.

    With `most_bytes` a round whose replies are larger fails: how large entries of a stream are shows only
    when they come.
    """

    def __init__(self, url: str, options: dict[str, Any], most_bytes: int = 0) -> None:
        self._most_bytes = most_bytes
        self._left = [most_bytes]
        if most_bytes:
            options = options | {"parser_class": functools.partial(_BoundedParser, self._left)}
        pool = redis.ConnectionPool.from_url(url, **options)
        self._connection: Any = pool.make_connection()  # half of its methods have no types

    def ask(self, *commands: Command, raise_on_error: bool = True) -> list[Any]:
        """Send commands in one go and return their replies, as they came.

        Raises:
            redis.ConnectionError, redis.TimeoutError: no answer; what was applied is not known.
            ReplyTooLargeError: there are more bytes of it than allowed.
            redis.ResponseError: the first refusal. Without `raise_on_error` it is that command's reply.
        """
        connection = self._connection
        self._left[0] = self._most_bytes
        connection.connect()
        if self._is_stale():
            connection.disconnect()  # sending connects again
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            replies = [self._reply() for _ in commands]
        except BaseException:
            connection.disconnect()  # what is still to come would be taken for the next answers
            raise
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, redis.ResponseError):
                    raise reply
        return replies

    def run(self, script: Script, keys: Sequence[str], *args: str | bytes | int) -> Any:
        """Run one script, loaded first if the server does not have it; raises as `ask` does."""
        (reply,) = self.ask(script.on(keys, *args), raise_on_error=False)
        if isinstance(reply, redis.exceptions.NoScriptError):
            self.ask(("SCRIPT", "LOAD", script.text))
            (reply,) = self.ask(script.on(keys, *args))
        if isinstance(reply, redis.ResponseError):
            raise reply
        return reply

    def close(self) -> None:
        """Hang up; the next command connects again."""
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


class _BoundedParser(DefaultParser):  # type: ignore[misc, valid-type]
    """The library's parser on a socket that gives only so much."""

    def __init__(self, left: list[int], socket_read_size: int) -> None:
        super().__init__(socket_read_size=socket_read_size)
        self._left = left

    def on_connect(self, connection: Any, **kwargs: Any) -> None:
        super().on_connect(connection, **kwargs)
        self._sock: Any = _BoundedSocket(connection._sock, self._left)  # noqa: SLF001 - it has no other way in


class _BoundedSocket:
    """A socket of which at most `left` bytes are received."""

    def __init__(self, sock: Any, left: list[int]) -> None:
        self._sock, self._left = sock, left

    def recv_into(self, buffer: Any, *args: Any) -> int:
        received: int = self._sock.recv_into(buffer, *args)
        self._left[0] -= received
        if self._left[0] < 0:
            raise ReplyTooLargeError("the reply is larger than allowed")
        return received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

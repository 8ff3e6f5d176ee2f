"""A connection that sends many commands in one round trip.

It is redis-py's connection without the pipeline on top. The pipeline takes a connection from the pool, and
checks, counts and times it in every round; where a round is a few commands, that costs more than they do.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import redis
import redis.exceptions
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.retry import Retry

SOCKET_TIMEOUT_S = 3.0
Command = Sequence[str | bytes | int]


_TEXTS: dict[str, str] = {}  # of the scripts, by their SHA-1


class ReplyTooLargeError(redis.ConnectionError):
    """A reply above the size limit; the connection is closed, and nothing of the reply was used."""


class Script:
    """A Lua script of this package: its text, and the SHA-1 under which the server caches it."""

    def __init__(self, name: str) -> None:
        self.text = resources.files("trio_asr.bus").joinpath(name).read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        _TEXTS[self.sha] = self.text

    def on(self, keys: Sequence[str], *args: str | bytes | int) -> Command:
        """Return the command that runs the script."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


class PipelinedConnection:
    """A connection to Redis, opened when it is first needed, and again after an error. Blocking.

    With `most_bytes`, a round whose replies are larger fails: the size of a stream's entries is not known
    until they arrive.
    """

    def __init__(self, url: str, options: dict[str, Any], most_bytes: int = 0) -> None:
        self._most_bytes = most_bytes
        self._left = [most_bytes]
        if most_bytes:
            options = options | {"parser_class": functools.partial(_BoundedParser, self._left)}
        pool = redis.ConnectionPool.from_url(url, **options)
        self._connection: Any = pool.make_connection()  # half of its methods have no types

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands in one go and return their replies, in order; a refusal is an exception among them.

        Scripts that the server does not have are loaded: none of those ran, and they are sent again.

        Raises:
            redis.ConnectionError, redis.TimeoutError: No answer; which commands took effect is unknown.
            ReplyTooLargeError: The replies are larger than `most_bytes`.
            redis.ResponseError: The server takes no scripts.
        """
        replies = self._round_trip(commands)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
        if unknown:
            again = [commands[i] for i in unknown]
            texts = {_TEXTS[str(command[1])] for command in again}
            for reply in self._round_trip([("SCRIPT", "LOAD", text) for text in texts]):
                if isinstance(reply, redis.ResponseError):
                    raise reply
            for i, reply in zip(unknown, self._round_trip(again), strict=True):
                replies[i] = reply
        return replies

    def _round_trip(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        self._left[0] = self._most_bytes
        connection.connect()
        if self._is_stale():
            connection.disconnect()  # sending connects again
        try:
            # Packed here: the library looks at every argument again, which costs more than all the rest.
            connection.send_packed_command([b"".join(map(_packed, commands))])
            return [self._reply() for _ in commands]
        except BaseException:
            connection.disconnect()  # late replies would be taken for those to the next commands
            raise

    def close(self) -> None:
        """Disconnect; the next command connects again."""
        self._connection.disconnect()

    def _is_stale(self) -> bool:
        """Return whether the server has disconnected, as it may do to a client that was idle for long."""
        try:
            return bool(self._connection.can_read())  # a reply that nobody asked for
        except (redis.RedisError, OSError):
            return True

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as refusal:
            return refusal


def _packed(command: Command) -> bytes:
    words: Any = tuple(command)  # its stub knows tuples of one only
    packed: bytes = pack_command(words)
    return packed


class _BoundedParser(DefaultParser):  # type: ignore[misc, valid-type]
    """The library's parser, on a socket with a byte limit."""

    def __init__(self, left: list[int], socket_read_size: int) -> None:
        super().__init__(socket_read_size=socket_read_size)
        self._left = left

    def on_connect(self, connection: Any, **kwargs: Any) -> None:
        """Put the byte limit between the parser and the connection's socket."""
        super().on_connect(connection, **kwargs)
        self._sock: Any = _BoundedSocket(connection._sock, self._left)  # noqa: SLF001 - it has no other way in


class _BoundedSocket:
    """A socket that receives at most `left[0]` bytes."""

    def __init__(self, sock: Any, left: list[int]) -> None:
        self._sock, self._left = sock, left

    def recv_into(self, buffer: Any, *args: Any) -> int:
        """Receive into a buffer.

        Raises:
            ReplyTooLargeError: More bytes came than the limit allows.
        """
        received: int = self._sock.recv_into(buffer, *args)
        self._left[0] -= received
        if self._left[0] < 0:
            raise ReplyTooLargeError("the reply is larger than allowed")
        return received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def options(block_s: float = 0.0) -> dict[str, Any]:
    """Return how a connection is to be made on which commands may block for `block_s` seconds."""
    return {
        "socket_timeout": SOCKET_TIMEOUT_S + block_s,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "protocol": 2,
        "client_name": "trio-asr",
    }

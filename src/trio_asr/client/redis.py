"""Redis for the command-line tools: one attempt per command, and errors that an operator can read."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from trio_asr.config import ConfigError, mask_url, usable

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
TIMEOUT_S = 5.0
PAGE = 5000

Entry = tuple[bytes, dict[bytes, bytes]]


class RedisFailure(Exception):
    """A failure to reach Redis, or a refused command; the message is one line."""


def connect(url: str) -> redis.Redis:
    """Return a client that never retries: redis-py would send a timed-out XADD a second time.

    Raises:
        RedisFailure: The daemon would not take the URL.
    """
    return redis.Redis.from_url(_usable(url), **_options())


def connect_fleet(url: str) -> Any:
    """Return such a client of what a fleet lies on: one server, or the cluster that it is in. Blocks.

    Raises:
        RedisFailure: The daemon would not take the URL, or nobody answers.
    """
    client = connect(url)
    with redis_failure(url):
        try:
            info: Any = client.info("cluster")
        except redis.exceptions.NoPermissionError:
            return client
        if not info.get("cluster_enabled"):
            return client
        client.close()
        return redis.RedisCluster.from_url(_usable(url), require_full_coverage=False, **_options())


def _usable(url: str) -> str:
    try:
        return usable("redis.url", url)
    except ConfigError as error:  # redis-py's own words may quote a password
        raise RedisFailure(str(error)) from None


def _options() -> dict[str, Any]:
    return {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
    }


@contextlib.contextmanager
def redis_failure(url: str) -> Iterator[None]:
    """Turn what redis-py raises in the block into `RedisFailure`.

    Raises:
        RedisFailure: A command failed; the message says which server.
    """
    try:
        yield
    except redis.RedisError as error:
        raise RedisFailure(f"Redis at {mask_url(url)}: {error}") from error


def entries(client: redis.Redis, stream: str, since: str = "-") -> Iterator[Entry]:
    """Read the entries of a stream in order, a page at a time."""
    while True:
        page: Any = client.xrange(stream, min=since, count=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        since = "(" + page[-1][0].decode()


def data(client: redis.Redis, stream: str, since: str = "-") -> list[bytes]:
    """Return the field `data` of each entry of a stream, in order."""
    return [fields.get(b"data", b"") for _, fields in entries(client, stream, since)]

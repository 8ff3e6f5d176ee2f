"""What every suite may use: a real Valkey server of this session's own, never one that happens to run."""

from __future__ import annotations

import itertools
import signal
from typing import TYPE_CHECKING

import pytest
import redis

from trio_asr.tools.embedded import EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A shell that starts the tests in the background has them, and all they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DATABASES = 64
_numbers = itertools.cycle(range(DATABASES))


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """The session's server. Shared: a test that kills, pauses or fills one asks `new_valkey` for its own."""
    with EmbeddedValkey(options={"databases": str(DATABASES)}) as server:
        yield server


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """An empty database of the session's server; each test gets the next number."""
    url = f"redis://127.0.0.1:{valkey.port}/{next(_numbers)}"
    client = redis.Redis.from_url(url)
    try:
        client.flushdb()
    finally:
        client.close()
    return url


@pytest.fixture
def new_valkey() -> Iterator[Callable[..., EmbeddedValkey]]:
    """Starts servers of the test's own; takes the arguments of `EmbeddedValkey`."""
    servers: list[EmbeddedValkey] = []

    def start(**settings: object) -> EmbeddedValkey:
        server = EmbeddedValkey(**settings)  # type: ignore[arg-type]
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()

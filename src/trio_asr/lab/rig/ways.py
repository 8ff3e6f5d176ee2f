"""A member's own way to each server of a cluster, which can be cut and joined again: a forwarder in between.

Each member has a loopback address of its own, with the ports of the servers. A server tells its clients where
all of them are; on the way to a member that becomes the member's address.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from trio_asr.lab.rig.valkey import HOST

if TYPE_CHECKING:
    from trio_asr.lab.rig.valkey import EmbeddedValkey

MOST_MEMBERS = 8  # their addresses are as long as the servers'
CHUNK = 65_536


class Ways:
    """The ways of some members, with a letter each for a name, to some servers, by their place."""

    def __init__(self, servers: Sequence[EmbeddedValkey] = (), names: str = "") -> None:
        if len(names) > MOST_MEMBERS:
            raise ValueError(f"{len(names)} members are more than {MOST_MEMBERS}")
        self._servers = servers
        self._hosts = {name: f"127.0.0.{number}" for number, name in enumerate(names, 2)}
        self._joined: dict[tuple[str, int], trio.Event] = {}  # of the ways that are cut

    def url(self, name: str) -> str | None:
        """Return the URL by which a member learns of all servers; None if it has no way of its own."""
        host = self._hosts.get(name)
        return host and f"redis://{host}:{self._servers[0].port}/0"

    def cut(self, name: str, number: int) -> None:
        """Let nothing pass any more, either way. Connections stay open, and new ones are taken."""
        self._joined.setdefault((name, number), trio.Event())

    def join(self, name: str, number: int) -> None:
        """Let everything pass again, first of all what was sent meanwhile."""
        self._joined.pop((name, number)).set()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Forward until cancelled."""
        async with trio.open_nursery() as nursery:
            for name, host in self._hosts.items():
                for number, server in enumerate(self._servers):
                    forward = partial(self._forward, (name, number), server.port, host)
                    await nursery.start(partial(trio.serve_tcp, forward, server.port, host=host))
            task_status.started()

    async def _forward(self, way: tuple[str, int], port: int, host: str, client: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream(HOST, port) as server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, way, client, server, nursery.cancel_scope, bytes)
                await self._pump(way, server, client, nursery.cancel_scope, Announced(host))

    async def _pump(
        self,
        way: tuple[str, int],
        source: trio.SocketStream,
        sink: trio.SocketStream,
        both: trio.CancelScope,
        changed: Callable[[bytes], bytes],
    ) -> None:
        """Pass on what comes; the end of one direction is that of both."""
        with suppress(trio.BrokenResourceError):
            while data := await source.receive_some(CHUNK):
                while way in self._joined:
                    await self._joined[way].wait()
                await sink.send_all(changed(data))
        both.cancel()


class Announced:
    """Answers in which the servers' address is replaced by another one, of the same length."""

    def __init__(self, host: str) -> None:
        self._from, self._to = (b"$%d\r\n%b\r\n" % (len(one), one.encode()) for one in (HOST, host))
        self._kept = b""

    def __call__(self, data: bytes) -> bytes:
        """Return what may be passed on; the beginning of an address is kept until the rest has come."""
        data = (self._kept + data).replace(self._from, self._to)
        # No answer ends like that, so that nobody waits for what is kept.
        most = next((n for n in range(len(self._from) - 1, 0, -1) if data.endswith(self._from[:n])), 0)
        self._kept = data[len(data) - most :]
        return data[: len(data) - most]


@asynccontextmanager
async def ways(servers: Sequence[EmbeddedValkey], names: str) -> AsyncIterator[Ways]:
    """Forward for members while the block runs."""
    found = Ways(servers, names)
    async with trio.open_nursery() as nursery:
        await nursery.start(found.serve)
        yield found
        nursery.cancel_scope.cancel()

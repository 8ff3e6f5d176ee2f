"""A TCP server with one fixed answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio


@asynccontextmanager
async def serve_answer(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve one answer to every client; yield the port and the requests received."""
    asked: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            asked.append(await stream.receive_some())
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()

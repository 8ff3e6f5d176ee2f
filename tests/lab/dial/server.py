"""A scripted server: trio-websocket on memory streams, which notes what it hears and when."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from websockets.uri import WebSocketURI

Script = Callable[["Heard", WebSocketConnection], Awaitable[None]]


@dataclass
class Heard:
    """One socket: its request, and each message with the seconds since the server was made."""

    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    offered: tuple[str, ...] = ()
    messages: list[tuple[float, str | bytes]] = field(default_factory=list)
    code: int | None = None

    @property
    def texts(self) -> list[dict[str, Any]]:
        return [json.loads(m) for _, m in self.messages if isinstance(m, str)]

    @property
    def audio(self) -> bytes:
        return b"".join(m for _, m in self.messages if isinstance(m, bytes))

    @property
    def times(self) -> list[float]:
        return [round(at, 3) for at, _ in self.messages]


class Server:
    """Serves every connection by `script`, and then listens; `refuse` has statuses for the first ones."""

    def __init__(
        self,
        nursery: trio.Nursery,
        script: Script | None = None,
        refuse: tuple[int, ...] = (),
        subprotocol: str | None = None,
    ) -> None:
        self._nursery, self._script, self._refuse = nursery, script, list(refuse)
        self._subprotocol = subprotocol
        self.sockets: list[Heard] = []
        self.requests = 0
        self._began = trio.current_time()

    async def reach(self, url: WebSocketURI) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self.serve, theirs)
        return ours

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        self.requests += 1
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            if self._refuse:
                await request.reject(self._refuse.pop(0), body=b"not you")
                await stream.aclose()
            else:
                await self._hear(request)
            nursery.cancel_scope.cancel()

    async def _hear(self, request: WebSocketRequest) -> None:
        heard = Heard(
            request.path,
            {name.decode().lower(): value.decode() for name, value in request.headers},
            request.proposed_subprotocols,
        )
        self.sockets.append(heard)
        socket = await request.accept(subprotocol=self._subprotocol)
        try:
            if self._script is not None:
                await self._script(heard, socket)
            while True:
                await self.listen(heard, socket)
        except ConnectionClosed as closed:
            heard.code = closed.reason.code if closed.reason else None

    async def listen(self, heard: Heard, socket: WebSocketConnection) -> str | bytes:
        """Note the next message, and return it."""
        message = await socket.get_message()
        heard.messages.append((trio.current_time() - self._began, message))
        return message

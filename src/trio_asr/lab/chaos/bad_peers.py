"""Bad peers of a server: they come from an address of their own, and come again when they are turned away."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn

import trio

ADDRESS = "127.0.0.2"
AGAIN_S = 0.1
DRIP_S = 1.0

Talk = Callable[[trio.SocketStream], Awaitable[None]]


async def persist(port: int, talk: Talk) -> NoReturn:
    """Connect to a port and talk; again whenever that is over."""
    while True:
        with suppress(OSError, trio.BrokenResourceError):
            stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=ADDRESS)
            async with stream:
                await talk(stream)
        await trio.sleep(AGAIN_S)


def hold(data: bytes) -> Talk:
    """Return what says this, and then waits for the end."""

    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(data)
        while await stream.receive_some():
            pass

    return talk


def drip(data: bytes, drop: bytes) -> Talk:
    """Return what says this, and then a drop a second, for ever."""

    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(data)
        while True:
            await trio.sleep(DRIP_S)
            await stream.send_all(drop)

    return talk


def pour(data: bytes, flood: bytes) -> Talk:
    """Return what says this, and then the same again and again, as fast as it is taken; it reads nothing."""

    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(data)
        while True:
            await stream.send_all(flood)

    return talk


def request(path: str) -> bytes:
    """Return the request for a WebSocket."""
    key = base64.b64encode(b"of a bad peer...").decode()
    lines = (
        f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame (RFC 6455, 5.2), whose mask changes nothing."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xff" + size.to_bytes(8) if size >= 1 << 16 else b"\xfe" + size.to_bytes(2)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload

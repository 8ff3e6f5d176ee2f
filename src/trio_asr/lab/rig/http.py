"""HTTP to the rig's own processes, with a body."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

TIMEOUT_S = 10.0


async def request(port: int, method: str, path: str, document: Any = None) -> tuple[int, Any]:
    """One request with a JSON body; status and decoded JSON (status 0 when nobody answers)."""
    body = b"" if document is None else msgspec.json.encode(document)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with trio.move_on_after(TIMEOUT_S):
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(head.encode("ascii") + body)
                answer = b"".join([chunk async for chunk in stream])
        except (OSError, trio.BrokenResourceError):
            return 0, None
        start, _, payload = answer.partition(b"\r\n\r\n")
        status = start.split(b" ", 2)[1:2]
        return (int(status[0]), msgspec.json.decode(payload)) if status else (0, None)
    return 0, None

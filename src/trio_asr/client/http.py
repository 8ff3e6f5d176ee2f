"""One question to a server of ours."""

from __future__ import annotations

import trio


async def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """One HTTP request to a local server: status and body; status 0 when nobody answers."""
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError:
        await trio.lowlevel.checkpoint()
        return 0, ""
    async with stream:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        try:
            await stream.send_all(request.encode("ascii"))
            answer = b"".join([chunk async for chunk in stream])
        except trio.BrokenResourceError:
            return 0, ""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    return int(status[0]) if status else 0, body.decode(errors="replace")

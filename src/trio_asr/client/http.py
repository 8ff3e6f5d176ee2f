"""A minimal HTTP client on h11: one request, one response."""

from __future__ import annotations

from urllib.parse import urlsplit

import h11
import trio


class NoAnswer(Exception):
    """No server, or none that speaks HTTP; the message says why."""


async def ask(url: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    """Return the status and body of one response. Redirects are not followed and proxies are ignored.

    Raises:
        NoAnswer: There is no response, or only part of one.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NoAnswer("this is no URL of HTTP")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [
            ("Host", parts.netloc.rpartition("@")[2]),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        connection = h11.Connection(h11.CLIENT)
        request = h11.Request(method=method, target=target, headers=headers)
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        wire = b"".join(connection.send(event) or b"" for event in events)
        if parts.scheme == "http":
            stream: trio.abc.Stream = await trio.open_tcp_stream(parts.hostname, parts.port or 80)
        else:
            stream = await trio.open_ssl_over_tcp_stream(
                parts.hostname, parts.port or 443, https_compatible=True
            )
        async with stream:
            await stream.send_all(wire)
            return await _answer(connection, stream)
    except (OSError, ValueError, trio.BrokenResourceError, h11.ProtocolError) as error:
        raise NoAnswer(str(error) or repr(error.__cause__ or error)) from error


async def _answer(connection: h11.Connection, stream: trio.abc.Stream) -> tuple[int, bytes]:
    status, body = 0, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(body)


async def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """Return the status and text of a local server's response; the status is 0 if there is none."""
    name = f"[{host}]" if ":" in host else host
    try:
        status, body = await ask(f"http://{name}:{port}{path}")
    except NoAnswer:
        return 0, ""
    return status, body.decode(errors="replace")

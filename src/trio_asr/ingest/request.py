"""The request that opens a socket, as it came."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl, unquote

from trio_asr.ingest.dialect import Request

_UPGRADE = b"\r\nupgrade:"
_ORIGIN = re.compile(r"^(?:wss?|https?)://[^/?]*", re.IGNORECASE)


def is_upgrade(head: bytes) -> bool:
    """Return whether a request asks for a WebSocket, rather than for a page."""
    return _UPGRADE in head.lower()


def answer_to_plain(head: bytes, health: bytes) -> bytes:
    """Return the answer to a request for a page: load balancers ask, and the original had `/health` here."""
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    status, kind, body = b"426 Upgrade Required", b"text/plain", b"a WebSocket is wanted here\n"
    if path in (b"/", b"/health"):
        status, kind, body = b"200 OK", b"application/json", health
    return (
        b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        % (status, kind, len(body))
    ) + (b"" if method == b"HEAD" else body)


def request_of(
    target: str, headers: Iterable[tuple[bytes, bytes]], subprotocols: Sequence[str], address: str
) -> Request:
    """Return a request. Whatever its bytes are, no exception is raised: they are the peer's.

    The target may be a whole URL (RFC 9112, 3.2.2). A header that comes several times is a list in parts (RFC
    9110, 5.3): proxies add their lines of X-Forwarded-For so.
    """
    target = _ORIGIN.sub("", target) or "/"
    path, _, query = target.partition("?")
    joined = dict[str, str]()
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return Request(
        target,
        unquote(path, errors="replace"),
        dict(parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=None)),
        joined,
        tuple(subprotocols),
        address,
    )

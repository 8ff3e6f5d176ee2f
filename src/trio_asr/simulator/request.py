"""One HTTP request to the control API: read within bounds, accepted from this machine's own programs only.

A page in a browser on this machine could reach the API too, from a foreign origin, or under a name of its own
that it points to 127.0.0.1. So a request has to name a loopback host, and must not come from a page of
another origin.

It is parsed by hand, not by h11. h11 rejects a missing or repeated Host as a syntax error before anybody can
ask whose it is, answers an overlong Content-Length with 400 and not 413, and needs as many lines around it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import trio

MAX_HEAD: Final = 16 * 1024
MAX_BODY: Final = 64 * 1024
_DIGITS: Final = 9  # of a length: more digits are more than MAX_BODY


class Bad(Exception):
    """A request that is refused; `status` and the text are the response."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Request:
    """A request that was accepted."""

    method: str
    path: str
    body: bytes


async def read(stream: trio.abc.ReceiveStream) -> Request | None:
    """Read one request; return None if there is none at all.

    Raises:
        Bad: The request is malformed, too large, incomplete or not allowed.
    """
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > MAX_HEAD:
            raise Bad(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head is above {MAX_HEAD} bytes")
        if not await _more(stream, data):
            if not data:
                return None
            raise Bad(HTTPStatus.BAD_REQUEST, "the request ends before its head does")
    method, path, headers = _head(bytes(data[:end]))
    _let_in(headers)
    length = _length(headers)
    while len(data) < end + 4 + length:
        if not await _more(stream, data):
            raise Bad(HTTPStatus.BAD_REQUEST, "the request ends before its body does")
    return Request(method, path, bytes(data[end + 4 : end + 4 + length]))


async def _more(stream: trio.abc.ReceiveStream, data: bytearray) -> bool:
    part = await stream.receive_some(MAX_HEAD)
    data += part
    return bool(part)


Headers = dict[str, list[str]]


def _head(head: bytes) -> tuple[str, str, Headers]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Bad(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1")
    headers: Headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise Bad(HTTPStatus.BAD_REQUEST, "a line of the head is no header")
        headers.setdefault(name.lower(), []).append(value.strip())
    return words[0], words[1], headers


def _let_in(headers: Headers) -> None:
    hosts = headers.get("host", [])
    if len(hosts) != 1 or not is_loopback(hosts[0]):
        raise Bad(HTTPStatus.FORBIDDEN, "ask for 127.0.0.1, [::1] or localhost: Host names another, or none")
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in headers.get("origin", ())):
        raise Bad(HTTPStatus.FORBIDDEN, "a page of another origin asks")
    if any(site not in ("none", "same-origin") for site in headers.get("sec-fetch-site", ())):
        raise Bad(HTTPStatus.FORBIDDEN, "a page of another site asks")


def is_loopback(host: str) -> bool:
    """Return whether a Host header is a loopback address or localhost, with or without a port."""
    name, bracket, port = host[1:].partition("]") if host.startswith("[") else (host, "", "")
    if not bracket:
        name, _, port = host.partition(":")
    port = port.removeprefix(":")
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name.lower() == "localhost":
        return not bracket
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback and (address.version == 6) == bool(bracket)


def _length(headers: Headers) -> int:
    if "transfer-encoding" in headers:
        raise Bad(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length: other encodings are not read")
    lengths = set(headers.get("content-length", ()))
    if not lengths:
        return 0
    text = lengths.pop()
    if lengths or not (text.isascii() and text.isdigit()):
        raise Bad(HTTPStatus.BAD_REQUEST, "Content-Length is not one whole number")
    if len(text.lstrip("0")) > _DIGITS or int(text) > MAX_BODY:
        raise Bad(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is above {MAX_BODY} bytes")
    return int(text)

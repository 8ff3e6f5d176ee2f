"""Checks of hosts, ports and Deepgram's URL: what the code that dials or listens could not use, in words."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

MAX_HOST, MAX_LABEL = 253, 63  # characters; every resolver refuses more
DEEPGRAM_PATH = "/v1/listen"

_LABEL = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LABEL}}}")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([^:]*))?")


def host_problem(host: str) -> str | None:
    """Return why `host` is neither a name nor an address (IPv6 without brackets), or None if it is one."""
    return next(_ipv6_problems(host) if ":" in host else _name_problems(host), None)


def _ipv6_problems(host: str) -> Iterator[str]:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        yield "the host is no address of IPv6"


def _name_problems(host: str) -> Iterator[str]:
    labels = host.removesuffix(".").split(".")
    if not host.isascii():
        yield "the host has characters beyond ASCII: write its xn-- form"
    if len(host) > MAX_HOST or any(len(label) > MAX_LABEL for label in labels):
        yield f"the host is too long: at most {MAX_HOST} characters, {MAX_LABEL} between two dots"
    if not all(labels):
        yield "the host has nothing between two dots, or is missing"
    if not all(map(_LABEL.fullmatch, labels)):
        yield "the host has characters that no name has"
    if labels[-1].isdigit():
        try:
            socket.inet_aton(host)
        except OSError:
            yield "the host is no address of IPv4"


def authority_problem(authority: str, *, host_needed: bool = True) -> str | None:
    """Return why this is not `host` or `host:port`, with an IPv6 address in brackets, or None if it is."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return "host and port cannot be told apart: an address of IPv6 stands in brackets, as in [::1]:6379"
    host, port = found[1], found[2]
    if port is not None and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        return "the port must be a number from 1 to 65535"
    if host.startswith("["):
        inside = host[1:-1]
        return host_problem(inside) if ":" in inside else "only an address of IPv6 stands in brackets"
    return host_problem(host) if host or host_needed else None


def deepgram_problem(url: str) -> str | None:
    """Return why no connection could be made with this URL, or None if one could."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it raises if it is not a port
    except ValueError:
        parts = None
    authority = url.partition("://")[2].partition("/")[0]
    if problem := authority_problem(authority):
        return problem
    if parts is None:
        return "it is no URL"
    if not (parts.path.isascii() and parts.path.isprintable()):
        return "the path has characters beyond ASCII: write them percent-encoded"
    if "\\" in parts.path:
        return "the path has a backslash: between its parts stands /"
    deepgrams = (parts.hostname or "").removesuffix(".").endswith("deepgram.com")
    if not parts.path or (deepgrams and not parts.path.strip("/")):
        return f"it has no path; Deepgram's is {DEEPGRAM_PATH}"
    return None

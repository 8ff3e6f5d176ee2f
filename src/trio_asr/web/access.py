"""Access control: who may see what. Pure: the caller provides the request and the time.

A request is *trusted* if it carries the token. It is *local* if it comes from a loopback address and asks for
this machine by a loopback name. A web page whose own name points at 127.0.0.1 does not do that, and neither
does a proxy on this machine. Anything else is *outside*.
"""

from __future__ import annotations

import enum
import hmac
import ipaddress
from collections import OrderedDict

from werkzeug.datastructures import Headers

from trio_asr.config import Secret

# A leaky bucket of strikes per address: so many wrong tokens at once, then one every so many seconds.
STRIKES = 10
RECOVERY_S = 6.0
MAX_PEERS = 1000  # addresses remembered; beyond, the one with the oldest strike is forgotten
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via")


class Access(enum.Enum):
    """What a request may see."""

    TRUSTED = "trusted"
    LOCAL = "local"
    OUTSIDE = "outside"
    WRONG = "wrong"  # a wrong token
    BARRED = "barred"  # too many strikes from that address


class Guard:
    """The judge of requests, with its memory of strikes."""

    def __init__(self, token: Secret | None) -> None:
        self.has_token = token is not None
        self._token = b"" if token is None else token.reveal().encode()
        self._strikes: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def judge(self, peer: str, headers: Headers, now: float) -> Access:
        """Return what a request from the address `peer` may see. A wrong token is a strike."""
        given = headers.get("Authorization")
        if given is None:
            return Access.LOCAL if is_local(peer, headers) else Access.OUTSIDE
        network = _network(peer)
        if self._level(network, now) > STRIKES - 1:
            return Access.BARRED
        scheme, _, token = given.partition(" ")
        right = hmac.compare_digest(token.strip().encode(), self._token)
        if right and self.has_token and scheme.lower() == "bearer":
            return Access.TRUSTED
        self._strike(network, now)
        return Access.WRONG

    def _level(self, network: str, now: float) -> float:
        level, at = self._strikes.get(network, (0.0, now))
        return max(0.0, level - (now - at) / RECOVERY_S)

    def _strike(self, network: str, now: float) -> None:
        self._strikes[network] = self._level(network, now) + 1, now
        self._strikes.move_to_end(network)
        while len(self._strikes) > MAX_PEERS:
            self._strikes.popitem(last=False)


def is_local(peer: str, headers: Headers) -> bool:
    """Return whether a request comes from this machine, not through a proxy or by a borrowed name."""
    address = _address(peer)
    if address is None or not address.is_loopback:
        return False
    return is_loopback_name(headers.get("Host", "")) and not any(name in headers for name in FORWARDED)


def is_loopback_name(host: str) -> bool:
    """Return whether a Host header is a loopback name or address."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    address = _address(name)
    return address.is_loopback if address is not None else name.lower() == "localhost"


def is_cross_site(headers: Headers) -> bool:
    """Return whether another site's page asks. It cannot read the answer, but would hold a connection."""
    return headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return address if mapped is None else mapped


def _network(peer: str) -> str:
    """Return the network that one guesser is assumed to control: an IPv4 address, or a /64 of IPv6."""
    address = _address(peer)
    if address is None or address.version == 4:
        return peer if address is None else str(address)
    return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))

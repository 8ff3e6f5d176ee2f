"""Addresses of peers: networks that they may belong to, and who is behind a proxy. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address


class Networks:
    """Some networks. Each is written as an address or, as in `10.0.0.0/8`, as a network."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(one) for one in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def address_of(text: str) -> Address | None:
    """Return an address as a socket or a proxy writes it, or None if it is none.

    There may be a port behind it, and brackets or quotes around it. One of IPv4 inside IPv6 is of IPv4.
    """
    text = text.strip(' \t"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def peer_of(address: str, forwarded_for: str, proxies: Networks) -> Address | None:
    """Return who is at the other end: whom the last proxy that is not ours names, or is.

    `address` is the socket's. Each of our `proxies` adds the address of its own peer to the right of
    `X-Forwarded-For`; what stands left of a peer that is none of them may be anybody's invention.
    """
    peer = address_of(address)
    for hop in reversed(forwarded_for.split(",")):
        if peer not in proxies or (named := address_of(hop)) is None:
            break
        peer = named
    return peer

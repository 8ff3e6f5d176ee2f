"""Limits on HTTP clients: who may be connected, and how often pages are made. Pure: `now` is given.

The pages are for a scraper, a probe and a few viewers; the process is for calls. So there is a bound on all
connections and one on those from one address. At a bound, a newcomer evicts a client: the one that has owed a
request for longest, else the one that has had most answers. A client that waits for its first answer, or is
being answered, is not evicted.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

MAX_CLIENTS = 100
MAX_PER_PEER = 50  # one address may be many people behind a proxy, but not everybody
FILES_SHARE = 4  # clients may have at most one in four of the process's file descriptors
# The last descriptors that the process may open are not for pages, but for calls, Redis and the resolver.
RESERVED_FILES = 32
ALWAYS = 4  # clients that are admitted even then: somebody has to see why calls fail
# A token bucket for requests: that many at once, then that many a second: a fifth of a core, at 2 ms each.
BURST = 100
PER_SECOND = 100.0


@dataclass(eq=False)
class Client:
    """A connected client. `peer` is its address.

    `waiting` is the time since which it has owed a request, or None while it is being answered. `asked` is
    set while a request waits for its turn. `answered` counts its earlier requests.
    """

    peer: str
    waiting: float | None
    asked: bool = False
    answered: int = 0

    @property
    def is_local(self) -> bool:
        """Whether the client is on this machine."""
        try:
            return ipaddress.ip_address(self.peer).is_loopback
        except ValueError:
            return False


class Clients:
    """The connected clients. `files` is the number of descriptors that the process may have open."""

    def __init__(self, files: int) -> None:
        self.most = max(ALWAYS, min(MAX_CLIENTS, files // FILES_SHARE))
        self._last_file = files - RESERVED_FILES
        self._connected: dict[Client, None] = {}

    def __len__(self) -> int:
        return len(self._connected)

    def admit(self, client: Client, file: int) -> list[Client] | None:
        """Admit a client whose connection has the descriptor `file`; return those that are evicted for it.

        The caller closes their connections. None means that the client is not admitted. Descriptors are given
        out from the lowest, so a high one shows that all below it are in use.
        """
        if file >= self._last_file and len(self._connected) >= ALWAYS:
            return None
        out = []
        peers = Counter(one.peer for one in self._connected)
        if peers[client.peer] >= MAX_PER_PEER or len(self._connected) >= self.most:
            victim = self._victim(client, peers)
            if victim is None:
                return None
            self.remove(victim)
            out.append(victim)
        self._connected[client] = None
        return out

    def remove(self, client: Client) -> None:
        """Remove a client, if it is still there."""
        self._connected.pop(client, None)

    def _victim(self, newcomer: Client, peers: Counter[str]) -> Client | None:
        """Return the client to evict for a newcomer, or None if there is none.

        It has the newcomer's address if that has too many clients, else it is of the largest group. Clients
        on this machine are evicted for each other only.
        """
        waiting = [
            one for one in self._connected if one.waiting is not None and (one.answered or not one.asked)
        ]
        if peers[newcomer.peer] >= MAX_PER_PEER:
            waiting = [one for one in waiting if one.peer == newcomer.peer]
        elif not newcomer.is_local:
            waiting = [one for one in waiting if not one.is_local]
        return min(waiting, key=lambda one: _rank(one, peers), default=None)


def _rank(client: Client, peers: Counter[str]) -> tuple[bool, int, bool, int, float]:
    """Return the sort key of a client; the lowest is evicted first."""
    return client.is_local, -peers[client.peer], client.asked, -client.answered, client.waiting or 0.0


class Pace:
    """A token bucket for requests: `BURST` at once, then `PER_SECOND`, first in, first out."""

    def __init__(self) -> None:
        self._next = 0.0

    def turn(self, now: float) -> float:
        """Take a token; return the time of its turn, in seconds, which may be in the past."""
        self._next = max(self._next, now - BURST / PER_SECOND) + 1 / PER_SECOND
        return self._next

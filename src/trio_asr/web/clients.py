"""Who may be connected, and how often the pages are made. Pure: the caller brings the time.

The pages are for a scraper, a probe and some who watch; the process is for calls. So connections have a bound
in all and one per address, and a newcomer finds a place: that of whoever has owed its request the longest,
else that of whoever was answered most. Who waits for a first answer, or is being answered, is left in peace.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

MAX_CLIENTS = 100
MAX_PER_PEER = 50  # one address may be a whole house behind a proxy, but not all there is
FILES_SHARE = 4  # no more than one in so many of the process's files, however few those are
# So many of the process's last files are not taken for pages: they are for calls, Redis and the resolver.
RESERVED_FILES = 32
ALWAYS = 4  # connections that are let in even so: whoever looks should see why no call finds a file
# Requests answered: so many at once, then so many a second. At 2 ms each that is a fifth of a core at most.
BURST = 100
PER_SECOND = 100.0


@dataclass(eq=False)
class Client:
    """One connection's client. `waiting` is since when nothing is answered on it; None while something is.

    `asked`: a request is there and waits for its turn. `answered`: how many there were before.
    """

    peer: str
    waiting: float | None
    asked: bool = False
    answered: int = 0

    @property
    def is_local(self) -> bool:
        """Whether the peer is on this machine."""
        try:
            return ipaddress.ip_address(self.peer).is_loopback
        except ValueError:
            return False


class Clients:
    """The places there are. `files` is how many files the process may have open."""

    def __init__(self, files: int) -> None:
        self.most = max(ALWAYS, min(MAX_CLIENTS, files // FILES_SHARE))
        self._last_file = files - RESERVED_FILES
        self._connected: dict[Client, None] = {}

    def __len__(self) -> int:
        return len(self._connected)

    def admit(self, client: Client, file: int) -> list[Client] | None:
        """Take a place for a connection with this descriptor; None if there is none.

        Descriptors are given out from the lowest, so a high one tells that all below it are in use. What
        comes back are those who lose theirs for it: the caller closes their connections.
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
        """Give a place back, if it is still there."""
        self._connected.pop(client, None)

    def _victim(self, newcomer: Client, peers: Counter[str]) -> Client | None:
        """Who goes: of the newcomer's own kind if those are too many, else of the largest crowd.

        Others never push out who is on this machine.
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
    """Whose place is given up first."""
    return client.is_local, -peers[client.peer], client.asked, -client.answered, client.waiting or 0.0


class Pace:
    """When a request may be answered: `BURST` at once, then `PER_SECOND`, first come, first served."""

    def __init__(self) -> None:
        self._next = 0.0

    def turn(self, now: float) -> float:
        """Return the moment of the next request's turn; it may lie behind."""
        self._next = max(self._next, now - BURST / PER_SECOND) + 1 / PER_SECOND
        return self._next

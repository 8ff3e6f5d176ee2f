"""The places of an ingest: how many sockets may be open, of all, of each route and of each address."""

from __future__ import annotations

from collections import Counter


class Places:
    """The sockets that are open. 0 is no limit for those of an address or a route."""

    def __init__(self, most: int, most_of_address: int) -> None:
        self.open = 0
        self._most, self._most_of_address = most, most_of_address
        self._of: Counter[tuple[str, str | int]] = Counter()

    @property
    def full(self) -> bool:
        """Whether there is no place for another socket."""
        return self.open >= self._most

    def address_full(self, address: str) -> bool:
        """Return whether there is no place for another socket of an address."""
        return 0 < self._most_of_address <= self._of["address", address]

    def route_full(self, route: int, most: int) -> bool:
        """Return whether there is no place for another socket of a route, which any number stands for."""
        return 0 < most <= self._of["route", route]

    def enter(self, address: str, route: int) -> None:
        """Count a socket of an address and a route."""
        self._of["address", address] += 1
        self._of["route", route] += 1

    def leave(self, address: str, route: int) -> None:
        """Count a socket that is gone."""
        for key in (("address", address), ("route", route)):
            self._of[key] -= 1
            if not self._of[key]:
                del self._of[key]

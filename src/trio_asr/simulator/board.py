"""Faults switched at run time: by rules for future connections, by a strike for open ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from trio_asr.simulator.faults import Faults
from trio_asr.simulator.query import Pairs


class Victim(Protocol):
    """An open connection that a strike can hit."""

    def strike(self, faults: Faults) -> None:
        """Start these faults now; their times count from now."""
        ...


@dataclass(frozen=True)
class Rule:
    """The `faults` of each connection whose query has all of `match`."""

    match: Mapping[str, str]
    faults: Faults

    def applies(self, query: Pairs) -> bool:
        """Return whether the rule covers a connection with this query."""
        return all(value in query.get(name, ()) for name, value in self.match.items())


class Board:
    """The rules and the open connections. `always` are the faults where no rule applies."""

    def __init__(self, always: Faults | None = None) -> None:
        self.rules: list[Rule] = []
        self._always = always or Faults()
        self._open: dict[int, Victim] = {}

    def faults_for(self, index: int, query: Pairs) -> Faults:
        """Return the faults of a new connection: those of the most specific rule that applies."""
        del index
        return next((rule.faults for rule in self.rules if rule.applies(query)), self._always)

    def set(self, rule: Rule, most: int = 100) -> None:
        """Add a rule, replacing one with the same `match`.

        Raises:
            ValueError: There are `most` rules already.
        """
        kept = [other for other in self.rules if dict(other.match) != dict(rule.match)]
        if len(kept) >= most:
            raise ValueError(f"there are {most} rules already")
        self.rules = sorted([*kept, rule], key=lambda rule: -len(rule.match))

    def clear(self) -> None:
        """Drop all rules."""
        self.rules = []

    @contextmanager
    def open(self, index: int, victim: Victim) -> Iterator[None]:
        """Register an open connection for strikes while the block runs."""
        self._open[index] = victim
        try:
            yield
        finally:
            del self._open[index]

    def strike(self, faults: Faults, only: Collection[int] | None = None) -> int:
        """Apply faults to all open connections, or to some of them; return how many were hit."""
        struck = [one for index, one in self._open.items() if only is None or index in only]
        for victim in struck:
            victim.strike(faults)
        return len(struck)

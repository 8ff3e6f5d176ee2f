"""Faults switched while the simulator runs: by rules for connections to come, by a strike for open ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from trio_asr.simulator.faults import Faults
from trio_asr.simulator.query import Pairs


class Victim(Protocol):
    """An open connection that faults can be put upon."""

    def strike(self, faults: Faults) -> None:
        """Let these faults begin now, their times counted from now."""
        ...


@dataclass(frozen=True)
class Rule:
    """``faults`` for each connection whose query has all of ``match``."""

    match: Mapping[str, str]
    faults: Faults

    def applies(self, query: Pairs) -> bool:
        """Whether a connection with this query is meant."""
        return all(value in query.get(name, ()) for name, value in self.match.items())


class Board:
    """The rules, and the connections that are open. ``always`` is what no rule speaks of."""

    def __init__(self, always: Faults | None = None) -> None:
        self.rules: list[Rule] = []
        self._always = always or Faults()
        self._open: dict[int, Victim] = {}

    def faults_for(self, index: int, query: Pairs) -> Faults:
        """Which faults a new connection has: those of the rule that matches most closely."""
        del index
        return next((rule.faults for rule in self.rules if rule.applies(query)), self._always)

    def set(self, rule: Rule, most: int = 100) -> None:
        """Add a rule, in place of one that matches the same.

        Raises ValueError if there are `most` already.
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
        """Hold an open connection where a strike finds it."""
        self._open[index] = victim
        try:
            yield
        finally:
            del self._open[index]

    def strike(self, faults: Faults, only: Collection[int] | None = None) -> int:
        """Put faults upon the connections open now, or some of them; how many were struck."""
        struck = [one for index, one in self._open.items() if only is None or index in only]
        for victim in struck:
            victim.strike(faults)
        return len(struck)

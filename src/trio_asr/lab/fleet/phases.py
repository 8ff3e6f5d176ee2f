"""What an operator does to a fleet, played on the virtual clock, and what each part of it cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from trio_asr.lab.fleet.simulation import Simulation

START_S, CALM_S = 60, 180  # for a cold start, and after whatever else is done
BATCHES, BATCH_S, SURGE_S = 10, 40, 20  # of a deploy: so many, so far apart, the old leave so long after


@dataclass(frozen=True, slots=True)
class Phase:
    """What a part of the play cost.

    `unowned_s` is the longest that a shard was nobody's. `worst` is the most shards that a member had at the
    end, `peak` the most that moved within a second. `needed` is how many had to move.
    """

    name: str
    moves: int
    needed: int
    unowned_s: float
    worst: int
    peak: int


class Play:
    """A fleet that starts, rests, grows by a tenth, is deployed anew, and loses members."""

    def __init__(self, shards: int, members: int, seed: int, lease_s: float, idle_s: int) -> None:
        self._fleet = Simulation(shards, seed, lease_s)
        self._size, self._idle_s = members, idle_s

    def phases(self) -> Iterator[Phase]:
        """Play it, and yield each part when it is over."""
        fleet, shards = self._fleet, self._fleet.shards
        for number in range(self._size):
            fleet.at(3 * number / self._size, partial(fleet.join, f"m{number}"))
        yield self._phase("cold start", START_S, shards)
        fleet.run(fleet.now + CALM_S)
        yield self._phase("idle", self._idle_s, 0)
        more = math.ceil(self._size / 10)
        for number in range(more):
            fleet.join(f"x{number}")
        yield self._phase(f"+{more} members", CALM_S, round(shards * more / len(fleet.members)))
        yield self._phase("deploy, surge 10 %", self._deploy() + CALM_S, shards)
        for name, part in (("crash of 5 %", 20), ("crash of a third", 3)):
            lost = list(fleet.members)[: max(1, len(fleet.members) // part)]
            held = sum(len(fleet.members[one].held) for one in lost)
            for one in lost:
                fleet.crash(one)
            yield self._phase(name, CALM_S, held)

    def _deploy(self) -> int:
        fleet, old = self._fleet, list(self._fleet.members)
        size = math.ceil(len(old) / BATCHES)
        for number, first in enumerate(range(0, len(old), size)):
            begin = fleet.now + number * BATCH_S
            for name in old[first : first + size]:
                fleet.at(begin, partial(fleet.join, f"{name}'", generation="2"))
                fleet.at(begin + SURGE_S, partial(fleet.drain, name))
        return BATCHES * BATCH_S

    def _phase(self, name: str, seconds: int, needed: int) -> Phase:
        fleet, begin, before = self._fleet, self._fleet.now, len(self._fleet.dark)
        fleet.run(begin + seconds)
        moves = fleet.moved(begin)
        dark = [lasted for _, lasted, _ in fleet.dark[before:]]
        dark += [fleet.now - since for since in fleet.unowned.values()]
        peak = max(Counter(int(when) for when, _ in moves).values(), default=0)
        return Phase(name, len(moves), needed, max(dark, default=0.0), fleet.spread()[1], peak)

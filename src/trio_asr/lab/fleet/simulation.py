"""A fleet on a virtual clock: the real rules, members that join, leave and crash, leases that run out."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.core.fleet.pulling import REST_S, Pulling
from trio_asr.core.fleet.view import HEIR, View

BEAT_S, STEP_S, BEAT_TTL_S = 0.5, 1.0, 4.0
VIEW_S = 0.25  # members look at beats this old, besides the age of the beats themselves
ACQUIRE_S, HANDOVER_S = (0.005, 0.05), (0.4, 0.9)


@dataclass
class Member:
    """One simulated worker."""

    name: str
    incarnation: str
    generation: str
    capacity: int
    pulling: Pulling
    held: dict[int, float] = field(default_factory=dict[int, float])  # since when
    handing: set[int] = field(default_factory=set[int])
    wants: frozenset[int] = frozenset()
    draining_at: float | None = None
    alive: bool = True

    def beat(self, now: float) -> Beat:
        """Return what it says of itself now."""
        return Beat(
            member=self.name,
            incarnation=self.incarnation,
            generation=self.generation,
            capacity=self.capacity,
            draining=None if self.draining_at is None else now - self.draining_at,
            held={shard: Load(rested_s=now - since) for shard, since in self.held.items()},
            handing=frozenset(self.handing),
            wants=self.wants,
        )


class Simulation:
    """The fleet. `at` schedules what an operator does; `run` plays it."""

    def __init__(self, shards: int, seed: int = 1, lease_s: float = 5.0) -> None:
        self.now = 0.0
        self.shards, self._lease_s = shards, lease_s
        self.members: dict[str, Member] = {}
        self.moves: list[tuple[float, int]] = []
        self.unowned: dict[int, float] = dict.fromkeys(range(shards), 0.0)  # since when
        self.dark: list[tuple[float, float, int]] = []  # when owned again, for how long it was not, the shard
        self._beats: dict[str, tuple[float, Beat]] = {}
        self._leases: dict[int, tuple[str, float]] = {}  # holder, and until when if it is dead
        self._heirs: dict[int, str] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._view: tuple[float, View] | None = None

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Let something happen at a time."""
        heapq.heappush(self._events, (when, next(self._count), do))

    def run(self, until: float) -> None:
        """Play all that happens up to a time."""
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = until

    # -- what an operator does ---------------------------------------------------------------------------

    def join(self, name: str, capacity: int = 700, generation: str = "1") -> None:
        member = Member(name, f"{name}@{self.now}", generation, capacity, Pulling(name))
        self.members[name] = member
        self._beat(member)
        self.at(self.now + self._random.uniform(0, STEP_S), lambda: self._step(member))

    def crash(self, name: str) -> None:
        member = self.members.pop(name)
        member.alive = False
        for shard in member.held:
            until = self.now + self._random.uniform(0.9 * self._lease_s, self._lease_s)
            self._leases[shard] = name, until
            self.unowned.setdefault(shard, self.now)
        member.held.clear()

    def drain(self, name: str) -> None:
        self.members[name].draining_at = self.now

    # -- what members do ---------------------------------------------------------------------------------

    def _beat(self, member: Member) -> None:
        if member.alive:
            self._beats[member.name] = self.now, member.beat(self.now)
            self.at(self.now + BEAT_S, lambda: self._beat(member))

    def _seen(self) -> View:
        if self._view is None or self.now - self._view[0] >= VIEW_S:
            for name, (when, _) in list(self._beats.items()):
                if self.now - when > BEAT_TTL_S:
                    del self._beats[name]
            leases = [self._holder(shard) for shard in range(self.shards)]
            self._view = self.now, View(leases, [beat for _, beat in self._beats.values()])
        return self._view[1]

    def _holder(self, shard: int) -> str:
        holder, until = self._leases.get(shard, ("", 0.0))
        return holder if self.now < until else ""

    def _step(self, member: Member) -> None:
        if not member.alive:
            return
        self.at(self.now + STEP_S, lambda: self._step(member))
        step = member.pulling.step(member.beat(self.now), self._seen(), self.now)
        member.wants = step.wants
        for shard in step.acquire:
            self.at(self.now + self._random.uniform(*ACQUIRE_S), partial(self._acquire, member, shard))
        for shard, heir in step.hand_over:
            member.handing.add(shard)
            self.at(
                self.now + self._random.uniform(*HANDOVER_S), partial(self._hand_over, member, shard, heir)
            )
        if member.draining_at is not None and not member.held:
            self._leave(member)

    def _leave(self, member: Member) -> None:
        member.alive = False
        self.members.pop(member.name, None)
        self._beats.pop(member.name, None)

    def _acquire(self, member: Member, shard: int) -> None:
        if not member.alive:
            return
        if self._holder(shard) not in ("", HEIR + member.name):
            member.pulling.lost(self.now)
            return
        member.pulling.won()
        self._take(member, shard, self.now - REST_S)

    def _take(self, member: Member, shard: int, since: float) -> None:
        self._leases[shard] = member.name, float("inf")
        member.held[shard] = since
        self.moves.append((self.now, shard))
        unowned = self.unowned.pop(shard, None)
        if unowned is not None:
            self.dark.append((self.now, self.now - unowned, shard))

    def _hand_over(self, member: Member, shard: int, heir: str) -> None:
        if not member.alive or shard not in member.held:
            return
        member.handing.discard(shard)
        del member.held[shard]
        to = self.members.get(heir)
        if to is None or to.draining_at is not None:
            self._leases[shard] = HEIR + heir, self.now + 2.0
            self.unowned.setdefault(shard, self.now)
        else:
            self._take(to, shard, self.now)
            to.wants = to.wants - {shard}

    # -- what is found -----------------------------------------------------------------------------------

    def moved(self, begin: float, end: float = float("inf")) -> list[tuple[float, int]]:
        return [move for move in self.moves if begin <= move[0] < end]

    def spread(self) -> tuple[int, int]:
        held = [len(member.held) for member in self.members.values() if member.draining_at is None]
        return min(held), max(held)

"""A fleet on a virtual clock: the real rules, members that join, leave and crash, leases that run out."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from trio_asr.bus.base import HEIR_MS
from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.core.fleet.pulling import REST_S, Pulling
from trio_asr.core.fleet.view import HEIR, View
from trio_asr.worker.beating import BEAT_S, BEAT_TTL_MS
from trio_asr.worker.member import LEAVING_STEP_S, STEP_S

CAPACITY = 700  # calls; all members have the same
VIEW_S = 0.5  # the age of a view, besides that of the beats in it: what a member sees is up to 1 s old
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
    calls: int = 0  # of all its shards

    def beat(self, now: float, calls: Sequence[int]) -> Beat:
        """Return what it says of itself now. `calls` are those of each shard of the fleet."""
        return Beat(
            member=self.name,
            incarnation=self.incarnation,
            generation=self.generation,
            capacity=self.capacity,
            draining=None if self.draining_at is None else now - self.draining_at,
            held={shard: Load(now - since, calls[shard]) for shard, since in self.held.items()},
            handing=frozenset(self.handing),
            wants=self.wants,
        )


class Simulation:
    """The fleet, with the calls of each shard. `at` schedules what an operator does; `run` plays it.

    The same seed gives the same course. Times are in seconds from 0.
    """

    def __init__(self, calls: Sequence[int], seed: int = 1, lease_s: float = 5.0) -> None:
        self.now = 0.0
        self.calls = calls
        self.worst_calls = 0  # the most that any member has had
        self.random = random.Random(seed)  # noqa: S311 - it must repeat itself
        self.members: dict[str, Member] = {}
        self.moves: list[tuple[float, int]] = []
        self.unowned: dict[int, float] = dict.fromkeys(range(len(calls)), 0.0)  # since when
        self.dark: list[tuple[float, float]] = []  # when a shard was owned again, and for how long it was not
        self._beats: dict[str, tuple[float, Beat]] = {}
        self._leases: dict[int, tuple[str, float]] = {}  # holder, and until when if it is dead
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._view: tuple[float, View] | None = None
        self._lease_s = lease_s
        self._away_until = 0.0

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

    def join(self, name: str, generation: str = "1") -> None:
        """Start a member; its first step is within a second."""
        member = Member(name, f"{name}@{self.now}", generation, CAPACITY, Pulling(name))
        self.members[name] = member
        self._beat(member)
        self.at(self.now + self.random.uniform(0, STEP_S), lambda: self._step(member))

    def crash(self, name: str) -> None:
        """Kill a member: its leases run out, its last beat stays until it expires."""
        member = self.members.pop(name)
        member.alive = False
        for shard in member.held:
            until = self.now + self.random.uniform(0.9, 1.0) * self._lease_s
            self._leases[shard] = name, until
            self.unowned.setdefault(shard, self.now)
        member.held.clear()

    def drain(self, name: str) -> None:
        """Stop a member in order."""
        self.members[name].draining_at = self.now

    def control_away(self, seconds: float) -> None:
        """Let nobody read or write beats; leases are renewed all the same."""
        self._away_until = self.now + seconds

    def settle(self) -> None:
        """Give all shards to the members there are, evenly, as if they had been there for long."""
        members = list(self.members.values())
        for shard in range(len(self.calls)):
            self._take(members[shard % len(members)], shard, self.now - REST_S)

    # -- what members do ---------------------------------------------------------------------------------

    def _beat(self, member: Member) -> None:
        if member.alive:
            if self.now >= self._away_until:
                self._beats[member.name] = self.now, member.beat(self.now, self.calls)
            self.at(self.now + BEAT_S, lambda: self._beat(member))

    def _seen(self) -> View:
        if self._view is None or self.now - self._view[0] >= VIEW_S:
            for name, (when, _) in list(self._beats.items()):
                if self.now - when > BEAT_TTL_MS / 1000:
                    del self._beats[name]
            leases = [self._holder(shard) for shard in range(len(self.calls))]
            self._view = self.now, View(leases, [beat for _, beat in self._beats.values()])
        return self._view[1]

    def _holder(self, shard: int) -> str:
        holder, until = self._leases.get(shard, ("", 0.0))
        return holder if self.now < until else ""

    def _step(self, member: Member) -> None:
        if not member.alive:
            return
        pause = STEP_S if member.draining_at is None else LEAVING_STEP_S
        self.at(self.now + pause, lambda: self._step(member))
        if self.now < self._away_until:
            return
        step = member.pulling.step(member.beat(self.now, self.calls), self._seen(), self.now)
        member.wants = step.wants
        for shard in step.acquire:
            self.at(self.now + self.random.uniform(*ACQUIRE_S), partial(self._acquire, member, shard))
        for shard, heir in step.hand_over:
            member.handing.add(shard)
            self.at(
                self.now + self.random.uniform(*HANDOVER_S), partial(self._hand_over, member, shard, heir)
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
        member.calls += self.calls[shard]
        self.worst_calls = max(self.worst_calls, member.calls)
        self.moves.append((self.now, shard))
        unowned = self.unowned.pop(shard, None)
        if unowned is not None:
            self.dark.append((self.now, self.now - unowned))

    def _hand_over(self, member: Member, shard: int, heir: str) -> None:
        if not member.alive or shard not in member.held:
            return
        member.handing.discard(shard)
        del member.held[shard]
        member.calls -= self.calls[shard]
        to = self.members.get(heir)
        if to is None or to.draining_at is not None:
            self._leases[shard] = HEIR + heir, self.now + HEIR_MS / 1000
            self.unowned.setdefault(shard, self.now)
        else:
            self._take(to, shard, self.now)
            to.wants = to.wants - {shard}

    # -- what is found -----------------------------------------------------------------------------------

    def moved(self, begin: float) -> list[tuple[float, int]]:
        """Return the moves since a time: when, and which shard."""
        return [move for move in self.moves if move[0] >= begin]

    def unowned_s(self, begin: float) -> float:
        """Return the longest that a shard was nobody's, of those owned again since a time or not yet."""
        over = [seconds for when, seconds in self.dark if when >= begin]
        return max([*over, *(self.now - since for since in self.unowned.values())], default=0.0)

    def spread(self) -> tuple[int, int]:
        """Return the fewest and the most shards of the members that stay."""
        held = [len(member.held) for member in self.members.values() if member.draining_at is None]
        return min(held), max(held)

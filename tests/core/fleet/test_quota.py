"""The limits of all members together never exceed the maximum, whoever joins, leaves or dies."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from trio_asr.core.fleet.beat import Beat
from trio_asr.core.fleet.quota import DEAD_S, QUIET_S, Quota
from trio_asr.core.fleet.view import View

MAXIMUM = 100


def beat(
    name: str, limit: int = 0, *, capacity: int = 10, connections: int = 0, draining: bool = False
) -> Beat:
    return Beat(
        member=name, incarnation=name, capacity=capacity, limit=limit, connections=connections,
        draining=1.0 if draining else None,
    )  # fmt: skip


def view(*beats: Beat) -> View:
    return View([""], beats)


def test_one_alone_takes_all_once_it_is_sure() -> None:
    quota, me = Quota(), beat("a")
    assert quota.step(me, view(me), MAXIMUM, 10.0) == 0
    assert quota.step(me, view(me, beat("b")), MAXIMUM, 10.5) == 0
    assert quota.step(me, view(me), MAXIMUM, 11.0) == 0
    assert quota.step(me, view(me), MAXIMUM, 10.9 + QUIET_S) == 0
    assert quota.step(me, view(me), MAXIMUM, 11.0 + QUIET_S) == MAXIMUM


def test_the_share_is_by_capacity() -> None:
    quota, me = Quota(), beat("a", capacity=30)
    seen = view(me, beat("b", capacity=10))
    quota.step(me, seen, MAXIMUM, 0.0)
    assert quota.step(me, seen, MAXIMUM, QUIET_S) == 75


def test_who_was_stopped_for_a_while_begins_again_with_what_it_has() -> None:
    """The others have taken its part meanwhile."""
    quota, me = Quota(), beat("a")
    alone = view(me)
    quota.step(me, alone, MAXIMUM, 0.0)
    assert quota.step(me, view(me, beat("b", 50)), MAXIMUM, QUIET_S) == 0
    assert quota.step(me, view(me, beat("b", 50)), MAXIMUM, 2 * QUIET_S) == 50
    awake = 2 * QUIET_S + 60
    assert quota.step(me, view(me, beat("b", 100, connections=100)), MAXIMUM, awake) == 0


def test_a_newcomer_gets_what_the_others_leave() -> None:
    quota, me = Quota(), beat("c")
    seen = view(beat("a", 50), beat("b", 50), me)
    quota.step(me, seen, MAXIMUM, 0.0)
    assert quota.step(me, seen, MAXIMUM, QUIET_S) == 0
    assert quota.step(me, view(beat("a", 33), beat("b", 50), me), MAXIMUM, QUIET_S + 1) == 17
    assert (
        quota.step(me, view(beat("a", 0), beat("b", 45), me), MAXIMUM, QUIET_S + 1) == 22
    )  # a's part is a's
    assert quota.step(me, view(beat("a", 33), beat("b", 33), me), MAXIMUM, QUIET_S + 2) == 33


def test_a_limit_is_lowered_at_once_but_not_below_what_is_open() -> None:
    quota, me = Quota(), beat("a")
    quota.step(me, view(me), MAXIMUM, 0.0)
    assert quota.step(me, view(me), MAXIMUM, QUIET_S) == MAXIMUM
    busy = beat("a", 100, connections=80)
    assert quota.step(busy, view(busy, beat("b")), MAXIMUM, 10.0) == 80
    busy = beat("a", 100, connections=40)
    assert quota.step(busy, view(busy, beat("b")), MAXIMUM, 11.0) == 50


def test_the_dead_are_counted_for_a_while() -> None:
    quota, me = Quota(), beat("a")
    both = view(me, beat("b", 50))
    quota.step(me, both, MAXIMUM, 0.0)
    assert quota.step(me, both, MAXIMUM, 5.0) == 50
    assert quota.step(me, view(me), MAXIMUM, 6.0) == 50
    assert quota.step(me, view(me), MAXIMUM, 5.0 + DEAD_S - 0.1) == 50
    assert quota.step(me, view(me), MAXIMUM, 5.0 + DEAD_S) == MAXIMUM


def test_who_leaves_keeps_what_is_open() -> None:
    quota, me = Quota(), beat("a")
    quota.step(me, view(me), MAXIMUM, 0.0)
    assert quota.step(me, view(me), MAXIMUM, QUIET_S) == MAXIMUM
    leaving = beat("a", 100, connections=30, draining=True)
    assert quota.step(leaving, view(leaving, beat("b")), MAXIMUM, 10.0) == 30
    leaving = beat("a", 30, connections=10, draining=True)
    assert quota.step(leaving, view(leaving, beat("b")), MAXIMUM, 11.0) == 10


# -- any course ----------------------------------------------------------------------------------------------


@dataclass
class Member:
    name: str
    capacity: int
    quota: Quota = field(default_factory=Quota)
    connections: int = 0
    draining: bool = False
    dead_at: float | None = None

    def beat(self) -> Beat:
        limit = max(self.quota.limit, self.connections)
        return beat(
            self.name, limit, capacity=self.capacity, connections=self.connections, draining=self.draining
        )


class Fleet:
    """Beats every 0.5 s, steps every second at a phase of each member's, views up to 1 s old."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.members: list[Member] = []
        self.beats: list[tuple[float, dict[str, Beat]]] = [(0.0, {})]

    def second(self) -> None:
        for _ in range(10):
            self.now = round(self.now + 0.1, 1)
            alive = [member for member in self.members if member.dead_at is None]
            if round(self.now * 10) % 5 == 0:
                self.beats.append((self.now, self._seen_by_the_bus()))
            for index, member in enumerate(alive):
                if round(self.now * 10) % 10 == index * 3 % 10:
                    self._step(member)
            self._check()

    def _seen_by_the_bus(self) -> dict[str, Beat]:
        fresh = [m for m in self.members if m.dead_at is None or self.now - m.dead_at < 4]
        last = self.beats[-1][1]
        return {m.name: m.beat() if m.dead_at is None else last.get(m.name, m.beat()) for m in fresh}

    def _step(self, member: Member) -> None:
        old = self.chance.choice([0.0, 0.5, 1.0])
        seen = next((beats for at, beats in reversed(self.beats) if at <= self.now - old), {})
        member.quota.step(member.beat(), view(*seen.values()), MAXIMUM, self.now)
        if member.draining:
            member.connections = max(0, member.connections - self.chance.randrange(10))
        else:  # calls come and go; at the limit the others wait
            wanted = member.connections + self.chance.randrange(-20, 20)
            member.connections = max(0, min(wanted, max(member.quota.limit, member.connections)))

    def _check(self) -> None:
        # The connections of the dead are closed once Deepgram notices: within the time for which they count.
        in_force = [max(m.quota.limit, m.connections) for m in self.members if m.dead_at is None]
        assert sum(in_force) <= MAXIMUM


@settings(max_examples=examples(200))
@given(
    st.lists(st.tuples(st.sampled_from(["join", "die", "leave", "wait"]), st.integers(0, 25)), max_size=12),
    st.integers(0, 1000),
)
def test_the_sum_of_all_limits_never_exceeds_the_maximum(course: list[tuple[str, int]], seed: int) -> None:
    fleet = Fleet(seed)
    for number, (what, seconds) in enumerate([("join", 5), *course, ("join", 60)]):
        alive = [member for member in fleet.members if member.dead_at is None]
        if what == "join":
            fleet.members.append(Member(f"m{number}", fleet.chance.choice([5, 10, 20])))
        elif alive and what == "die":
            fleet.chance.choice(alive).dead_at = fleet.now
        elif alive and what == "leave":
            fleet.chance.choice(alive).draining = True
        for _ in range(seconds):
            fleet.second()
            for member in fleet.members:
                if member.draining and member.connections == 0 and member.dead_at is None:
                    member.dead_at = fleet.now - 4  # its beat is removed
    working = [member for member in fleet.members if member.dead_at is None and not member.draining]
    total = sum(member.capacity for member in working)
    if not any(member.draining and member.dead_at is None for member in fleet.members):
        assert [member.quota.limit for member in working] == pytest.approx(
            [MAXIMUM * member.capacity / total for member in working], abs=1
        )

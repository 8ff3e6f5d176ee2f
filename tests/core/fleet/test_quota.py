"""Limits of connections: claimed before they are used, never above the maximum, used up at peace."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from trio_asr.core.fleet.beat import Beat
from trio_asr.core.fleet.quota import Quota
from trio_asr.core.fleet.view import View

TTL_S = 4.0


def beat(
    name: str, limit: int = 0, capacity: int = 1, connections: int = 0, draining: float | None = None
) -> Beat:
    return Beat(
        member=name,
        incarnation="1",
        limit=limit,
        capacity=capacity,
        connections=connections,
        draining=draining,
    )


def view(*beats: Beat) -> View:
    return View([""], beats)


def test_a_claim_is_announced_at_once_and_in_force_after_2_s() -> None:
    quota, me = Quota("a", 100), beat("a")
    quota.step(me, view(), 0.0)
    assert (quota.limit, quota.announced) == (0, 100)
    quota.step(me, view(me), 1.99)
    assert quota.limit == 0
    quota.step(me, view(me), 2.0)
    assert (quota.limit, quota.announced) == (100, 100)


def test_who_sees_a_newcomer_lowers_its_limit_at_once_but_not_below_what_is_open() -> None:
    quota = Quota("a", 100)
    for now in (0.0, 2.0):
        quota.step(beat("a"), view(), now)
    quota.step(beat("a", connections=70), view(beat("b")), 3.0)
    assert (quota.limit, quota.announced) == (70, 70)
    quota.step(beat("a", connections=40), view(beat("b")), 4.0)
    assert (quota.limit, quota.announced) == (50, 50)


def test_a_claim_that_no_longer_fits_is_withdrawn() -> None:
    quota = Quota("b", 100)
    quota.step(beat("b"), view(beat("a", 50)), 0.0)
    assert quota.announced == 50
    quota.step(beat("b"), view(beat("a", 80)), 2.0)
    assert (quota.limit, quota.announced) == (0, 20)
    quota.step(beat("b"), view(beat("a", 80)), 4.0)
    assert quota.limit == 20


def test_the_dead_are_counted_for_10_s() -> None:
    quota = Quota("b", 100)
    quota.step(beat("b"), view(beat("a", 60)), 0.0)
    assert quota.announced == 40
    quota.step(beat("b"), view(), 9.9)
    assert (quota.limit, quota.announced) == (40, 40)
    quota.step(beat("b"), view(), 10.0)
    assert (quota.limit, quota.announced) == (40, 100)


def test_the_aim_is_a_share_by_capacity() -> None:
    quota = Quota("b", 100)
    quota.step(beat("b", capacity=300), view(beat("a", capacity=100)), 0.0)
    assert quota.announced == 75


def test_who_drains_only_lowers() -> None:
    quota = Quota("b", 100)
    for now in (0.0, 2.0):
        quota.step(beat("b"), view(), now)
    quota.step(beat("b", connections=30, draining=0.0), view(beat("a")), 3.0)
    assert (quota.limit, quota.announced) == (30, 30)


@dataclass
class Fleet:
    """Members that beat every 0.5 s and look at what was there up to 1 s ago."""

    maximum: int
    now: float = 0.0
    quotas: dict[str, Quota] = field(default_factory=dict[str, Quota])
    draining: dict[str, float] = field(default_factory=dict[str, float])
    open: dict[str, int] = field(default_factory=dict[str, int])
    dead: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    beats: dict[str, tuple[float, Beat]] = field(default_factory=dict[str, tuple[float, Beat]])
    past: list[list[Beat]] = field(default_factory=list[list[Beat]])

    def tick(self, age: int) -> None:
        """Go on by 0.25 s; all look at what was there `age` ticks ago."""
        self.now += 0.25
        self.past.append([one for when, one in self.beats.values() if self.now - when < TTL_S])
        seen = View([""], self.past[max(0, len(self.past) - 1 - age)])
        for index, (name, quota) in enumerate(self.quotas.items()):
            quota.step(self._beat(name), seen, self.now)
            self.open[name] = quota.limit
            if (round(self.now * 4) + index) % 2:
                self.beats[name] = self.now, self._beat(name)
        assert sum(quota.limit for quota in self.quotas.values()) <= self.maximum

    def _beat(self, name: str) -> Beat:
        drained = self.draining.get(name)
        return beat(
            name,
            self.quotas[name].announced,
            connections=self.open.get(name, 0) if drained is None else 0,
            draining=None if drained is None else self.now - drained,
        )

    def crash(self, name: str) -> None:
        del self.quotas[name]

    def leave(self, name: str) -> None:
        del self.quotas[name]
        self.beats.pop(name, None)


STEPS = st.lists(st.tuples(st.sampled_from("jjcdl...."), st.integers(0, 4), st.integers(1, 30)), max_size=30)


@settings(max_examples=100, deadline=None)
@given(STEPS, st.integers(1, 200))
def test_the_limits_never_exceed_the_maximum(steps: list[tuple[str, int, int]], maximum: int) -> None:
    fleet, started = Fleet(maximum), 0
    for what, age, ticks in steps:
        names = list(fleet.quotas)
        if what == "j" and len(names) < 6:
            started += 1
            fleet.quotas[f"m{started}"] = Quota(f"m{started}", maximum)
        elif names and what == "c":
            fleet.crash(names[age % len(names)])
        elif names and what == "d":
            fleet.draining.setdefault(names[age % len(names)], fleet.now)
        elif names and what == "l":
            fleet.leave(names[age % len(names)])
        for _ in range(ticks):
            fleet.tick(age)


@given(st.integers(1, 6), st.integers(1, 200), st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_at_peace_they_are_used_up_but_for_rounding(members: int, maximum: int, age: int) -> None:
    fleet = Fleet(maximum)
    for i in range(members + 1):
        fleet.quotas[f"m{i}"] = Quota(f"m{i}", maximum)
        for _ in range(8):
            fleet.tick(age)
    fleet.crash("m0")
    fleet.open = dict.fromkeys(fleet.open, 0)
    for _ in range(160):
        fleet.open = dict.fromkeys(fleet.open, 0)
        fleet.tick(age)
    assert [quota.limit for quota in fleet.quotas.values()] == [maximum // members] * members

"""What happens to a fleet in its life, each played from peace on, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from trio_asr.lab.fleet.simulation import Simulation

BEGIN_S = 30.0  # all is quiet until then
AFTER_S = 120.0  # how long is looked at what follows
SURGE_DRAIN_S = 5.0  # an old member drains so long after its successor has started
ROUND_S = 40.0  # between two tenths of a deployment
DOWN_S = 15.0  # without surge: between the stop of the old and the start of the new
HOT = 20  # a hot shard has so many times the calls of another


@dataclass(frozen=True, slots=True)
class Shape:
    """A fleet to be simulated: its size, the calls on it, and the length of an idle time in minutes."""

    calls: int = 100_000
    members: int = 200
    shards: int = 2048
    seed: int = 1
    lease_ms: int = 5000
    minutes: float = 60.0

    @property
    def tenth(self) -> int:
        """A tenth of the members, at least one."""
        return max(1, self.members // 10)

    def spread(self, hot: bool = False) -> list[int]:
        """Return the calls of each shard: as many everywhere, but for a hot one."""
        calls = [self.calls // self.shards + (i < self.calls % self.shards) for i in range(self.shards)]
        if hot:
            calls[0] *= HOT
        return calls


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a scene. Times in seconds; `per_shard` are moves per shard that had to move."""

    scene: str
    moves: int
    per_shard: float | None
    unowned_s: float
    peace_s: float
    spread: tuple[int, int]
    worst_calls: int
    handshakes: int  # the most in any second of the fleet


def play(shape: Shape, tell: Callable[[str], object] = lambda _: None) -> list[Row]:
    """Play all scenes; `tell` hears the name of each before it begins."""
    rows = []
    for name, scene in SCENES.items():
        tell(name)
        rows.append(scene(name, shape))
    return rows


# -- the scenes --------------------------------------------------------------------------------------------


def _cold_start(name: str, shape: Shape) -> Row:
    fleet = Simulation(shape.spread(), shape.seed, shape.lease_ms / 1000)
    for i in range(shape.members):
        fleet.at(fleet.random.uniform(0, 3), partial(fleet.join, f"m{i}"))
    return _row(name, fleet, 0.0, AFTER_S, shape.shards)


def _idle(name: str, shape: Shape) -> Row:
    return _row(name, _peace(shape), BEGIN_S, shape.minutes * 60, 0)


def _growth(name: str, shape: Shape) -> Row:
    fleet, more = _peace(shape), shape.tenth
    for i in range(more):
        fleet.at(BEGIN_S, partial(fleet.join, f"n{i}"))
    return _row(name, fleet, BEGIN_S, AFTER_S, shape.shards * more / (shape.members + more))


def _crash(part: int, name: str, shape: Shape) -> Row:
    fleet = _peace(shape)
    names = list(fleet.members)[: max(1, shape.members // part)]
    lost = sum(len(fleet.members[one].held) for one in names)
    for one in names:
        fleet.at(BEGIN_S, partial(fleet.crash, one))
    return _row(name, fleet, BEGIN_S, AFTER_S, lost)


def _deploy(surge: bool, name: str, shape: Shape) -> Row:
    fleet, when = _peace(shape), BEGIN_S
    old = list(fleet.members)
    for first in range(0, len(old), shape.tenth):
        for one in old[first : first + shape.tenth]:
            fleet.at(when + (SURGE_DRAIN_S if surge else 0.0), partial(fleet.drain, one))
            fleet.at(when + (0.0 if surge else DOWN_S), partial(fleet.join, f"{one}'", "2"))
        when += ROUND_S
    return _row(name, fleet, BEGIN_S, when - BEGIN_S + AFTER_S, shape.shards)


def _control_away(name: str, shape: Shape) -> Row:
    fleet = _peace(shape)
    fleet.at(BEGIN_S, partial(fleet.control_away, 30.0))
    return _row(name, fleet, BEGIN_S, AFTER_S, 0)


def _hot_shard(name: str, shape: Shape) -> Row:
    return _row(name, _peace(shape, hot=True), BEGIN_S, AFTER_S, 0)


SCENES: dict[str, Callable[[str, Shape], Row]] = {
    "cold start": _cold_start,
    "idle": _idle,
    "10 % more members": _growth,
    "5 % crash": partial(_crash, 20),
    "a third crashes": partial(_crash, 3),
    "deploy with surge": partial(_deploy, True),
    "deploy without surge": partial(_deploy, False),
    "control away 30 s": _control_away,
    "hot shard": _hot_shard,
}

# -- how they are played -----------------------------------------------------------------------------------


def _peace(shape: Shape, hot: bool = False) -> Simulation:
    """Return a fleet that has been at rest since long before `BEGIN_S`."""
    fleet = Simulation(shape.spread(hot), shape.seed, shape.lease_ms / 1000)
    for i in range(shape.members):
        fleet.join(f"m{i}")
    fleet.settle()
    fleet.run(BEGIN_S)
    return fleet


def _row(name: str, fleet: Simulation, begin: float, seconds: float, must: float) -> Row:
    """Play on, and count. `must` is how many shards have to move."""
    fleet.run(begin + seconds)
    moves = fleet.moved(begin)
    return Row(
        name,
        len(moves),
        round(len(moves) / must, 2) if must else None,
        round(fleet.unowned_s(begin), 1),
        round(max((when for when, _ in moves), default=begin) - begin, 1),
        fleet.spread(),
        fleet.worst_calls,
        _peak(moves, fleet.calls),
    )


def _peak(moves: Sequence[tuple[float, int]], calls: Sequence[int]) -> int:
    dials = Counter[int]()
    for when, shard in moves:
        dials[int(when)] += calls[shard]
    return max(dials.values(), default=0)

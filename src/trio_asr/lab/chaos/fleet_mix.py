"""Faults of a fleet in an order that a seed tells, on one Redis and on a cluster, for as long as asked."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trio_asr.lab.chaos.cluster_rows import freeze, freeze_long, hand_over, replace_primary
from trio_asr.lab.chaos.cluster_run import FAILED_OVER_S, NODE_TIMEOUT_MS
from trio_asr.lab.chaos.fleet_rows import freeze_redis, kill
from trio_asr.lab.chaos.fleet_run import CALLS, OWNED_AGAIN_S, SHARDS, Deed, FleetRun, fleet_row
from trio_asr.lab.chaos.mix import SETTLE_S, Mix, random_calls
from trio_asr.lab.chaos.slots import at_once, key_by_key, move_shards
from trio_asr.lab.rig.feeder import Mode

if TYPE_CHECKING:
    from trio_asr.lab.chaos.row import Row

NAMES = "abcd"  # of members; all but one of them are there
ANY = 10_000  # moves, and connections of a call
SEED, MINUTES = 1, 3.0  # of the rows of the table: time for each fault once
PAUSE_S = (0.5, 6.0)  # between two faults
ASLEEP_S = (1.0, 12.0)


def _absent(fleet: FleetRun) -> str:
    return next(name for name in NAMES if name not in fleet.names)


async def _dies(fleet: FleetRun) -> None:
    """Kill a member; another one joins for it."""
    joins = _absent(fleet)
    await kill(fleet, fleet.chance.choice(fleet.names))
    await fleet.join(joins)


async def _leaves(fleet: FleetRun) -> None:
    """Let a member join, and another one go."""
    leaves = fleet.chance.choice(fleet.names)
    await fleet.join(_absent(fleet))
    await fleet.leave(leaves)


async def _sleeps(fleet: FleetRun) -> None:
    """Freeze a member, for less or more than a lease."""
    member = fleet.run.member(fleet.chance.choice(fleet.names))
    member.freeze()
    await trio.sleep(fleet.chance.uniform(*ASLEEP_S))
    member.thaw()


async def _restarts(fleet: FleetRun) -> None:
    """Kill Redis, and start it with its append-only file."""
    await fleet.run.valkey(partial(fleet.run.rig.valkey.restart, kill=True))


OF_MEMBERS: Mapping[str, Deed] = {
    "a member dies": _dies,
    "a member leaves": _leaves,
    "a member sleeps": _sleeps,
}
ON_REDIS: Mapping[str, Deed] = {
    **OF_MEMBERS,
    "Redis sleeps for 3 s": partial(freeze_redis, seconds=3.0),
    "Redis sleeps for 8 s": partial(freeze_redis, seconds=8.0),
    "Redis restarts": _restarts,
}
ON_A_CLUSTER: Mapping[str, Deed] = {
    **OF_MEMBERS,
    "a failover and back": hand_over,
    "a primary sleeps": freeze,
    "a primary sleeps too long": freeze_long,
    "a primary dies": replace_primary,
    "slots move": partial(move_shards, mover=at_once),
    "slots move key by key": partial(move_shards, mover=key_by_key),
}


async def _mix(fleet: FleetRun, deeds: Mapping[str, Deed], seed: int, seconds: float) -> None:
    """Do each of the deeds once, in any order, and again in another one, until the time is over."""
    fleet.chance = random.Random(seed)  # noqa: S311 (not for secrets)
    fleet.concerns(range(SHARDS))
    until = fleet.run.began + seconds - SETTLE_S
    with fleet.stalls():
        while trio.current_time() < until:
            for name in fleet.chance.sample([*deeds], len(deeds)):
                if trio.current_time() < until:
                    fleet.run.notes.append(name)
                    await deeds[name](fleet)
                    await fleet.owned_by(fleet.names, FAILED_OVER_S)
                    await trio.sleep(fleet.chance.uniform(*PAUSE_S))
    fleet.run.over()
    fleet.run.broken += [f"{name} has ended" for name in fleet.names if not fleet.run.member(name).running]


def _mixed(
    name: str, title: str, seed: int, minutes: float, *, deeds: Mapping[str, Deed], **more: Any
) -> Row:
    seconds = minutes * 60
    return fleet_row(
        f"{name}-{seed}",
        f"{title}, {minutes:g} minutes, seed {seed}",
        partial(_mix, deeds=deeds, seed=seed, seconds=seconds),
        NAMES[:-1],
        make=partial(random_calls, seed=seed, seconds=seconds, at_once=CALLS, modes=(Mode.PLAIN,)),
        seconds=seconds,
        moves=range(ANY),
        most=ANY,
        unfed_s=FAILED_OVER_S + OWNED_AGAIN_S,  # where a member dies, and then a node
        within=120,
        overlaps=True,  # of frozen owners
        **more,
    )


fleet_mix = partial(_mixed, "fleet-mix", "faults of a fleet at random", deeds=ON_REDIS)
cluster_mix = partial(
    _mixed,
    "cluster-mix",
    "faults of a fleet on a cluster at random",
    deeds=ON_A_CLUSTER,
    node_timeout_ms=NODE_TIMEOUT_MS,
    gone=True,
)

#: Rows of a seed and so many minutes, by name.
MIXES: Mapping[str, Mix] = {"fleet-mix": fleet_mix, "cluster-mix": cluster_mix}
ROWS = tuple(
    replace(MIXES[name](SEED, MINUTES), name=name, title=title)
    for name, title in (
        ("fleet-mix", "a fleet: members die, leave and freeze, and Redis with them, in a random order"),
        ("cluster-mix", "on a cluster: members and nodes die, freeze and are replaced in a random order"),
    )
)

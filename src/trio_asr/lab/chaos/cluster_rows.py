"""Faults of a fleet's cluster: nodes that die, freeze and hand over while calls go on.

Most are of one node, the last primary. The others keep the majority that promotes its replica.
"""

from __future__ import annotations

import math
from functools import partial

import trio

from trio_asr.bus.keys import FleetKeys
from trio_asr.bus.nodes import slot_of
from trio_asr.lab.chaos.cluster_run import (
    LAST,
    PRIMARIES,
    ask,
    cluster_of,
    cluster_row,
    has_copy,
    has_role,
    is_trusted,
    pair,
    port_of,
    shards_at,
)
from trio_asr.lab.chaos.fleet_rows import kill
from trio_asr.lab.chaos.fleet_run import OWNED_AGAIN_S, SHARDS, START_S, FleetRun
from trio_asr.lab.chaos.slots import at_once, key_by_key, move_shards

BRIEF_S = 3.0  # less than the node timeout
QUICK_S = 16.0
STALE_S = 2.0  # for which a primary sleeps on after it has been replaced
AWAY_S, CONTROL_AWAY_S = 15.0, 20.0
DIES_S = 5.0  # after the control is away
CUT_S, CUT_ROW_S = 20.0, 40.0
CUT_OWNED_S = OWNED_AGAIN_S + 3.0  # nobody is short of shards: they are taken as overdue


async def kill_primary(fleet: FleetRun) -> None:
    """Kill a primary; its replica is promoted."""
    primary, replica = await pair(fleet)
    fleet.concerns(await shards_at(fleet, primary))
    await fleet.run.valkey(cluster_of(fleet).servers[primary].kill)
    fleet.run.over()
    await has_role(fleet, replica, "master")


async def replace_primary(fleet: FleetRun) -> None:
    """Kill a primary; once its replica is promoted it comes back, without data, and is the replica."""
    primary, _ = await pair(fleet)
    await kill_primary(fleet)
    await fleet.run.valkey(cluster_of(fleet).servers[primary].start)
    await has_role(fleet, primary, "slave")
    await has_copy(fleet, primary)


async def hand_over(fleet: FleetRun) -> None:
    """Let a replica take over from its primary in order, and back again."""
    for _ in range(2):
        primary, replica = await pair(fleet)
        fleet.concerns(await shards_at(fleet, primary))
        await ask(fleet, replica, "CLUSTER", "FAILOVER")
        fleet.run.over()
        await has_role(fleet, replica, "master")
        await has_role(fleet, primary, "slave")


async def freeze(fleet: FleetRun) -> None:
    """Freeze a primary for less than the node timeout: it stays what it is."""
    primary, _ = await pair(fleet)
    fleet.concerns(await shards_at(fleet, primary))
    cluster_of(fleet).servers[primary].pause()
    await trio.sleep(BRIEF_S)
    cluster_of(fleet).servers[primary].resume()
    fleet.run.over()
    await has_role(fleet, primary, "master")


async def freeze_long(fleet: FleetRun) -> None:
    """Freeze a primary until its replica has taken over; once it wakes it is a replica."""
    primary, replica = await pair(fleet)
    fleet.concerns(await shards_at(fleet, primary))
    cluster_of(fleet).servers[primary].pause()
    fleet.run.over()
    await has_role(fleet, replica, "master")
    await trio.sleep(STALE_S)
    cluster_of(fleet).servers[primary].resume()
    await has_role(fleet, primary, "slave")
    await has_copy(fleet, primary)


async def _away(fleet: FleetRun, place: int, seconds: float, dies: str = "") -> None:
    """Freeze a primary and its replica, so that nobody serves their slots; a member may die meanwhile.

    They come back as they were. A replica that woke up by itself would take over within a moment, and what
    its primary had acknowledged in that moment would be gone.
    """
    primary, replica = await pair(fleet, place)
    servers = cluster_of(fleet).servers
    fleet.concerns(await shards_at(fleet, primary))
    await ask(fleet, replica, "CONFIG", "SET", "cluster-replica-no-failover", "yes")
    with fleet.stalls():
        until = trio.current_time() + seconds
        for number in (replica, primary):
            servers[number].pause()
        if dies:
            await trio.sleep(DIES_S)
            fleet.concerns(fleet.held_by(dies))
            await fleet.kill(dies)
        await trio.sleep_until(until)
        for number in (replica, primary):
            servers[number].resume()
        fleet.run.over()
        await is_trusted(fleet, primary)
        await has_role(fleet, primary, "master")
        await fleet.owned_by(fleet.names, OWNED_AGAIN_S)


async def _control(fleet: FleetRun) -> int:
    """Return the place of what members say to each other."""
    slot = slot_of(FleetKeys(fleet.run.rig.places.group).fleet)
    cluster = cluster_of(fleet)
    port = await trio.to_thread.run_sync(port_of, cluster, slot)
    return [server.port for server in cluster.servers].index(port) % PRIMARIES


async def _control_away(fleet: FleetRun, dies: str = "") -> None:
    """Freeze the servers of what members say to each other."""
    await _away(fleet, await _control(fleet), CONTROL_AWAY_S, dies)


async def _cut(fleet: FleetRun) -> None:
    """Cut one member from a node; the others take its shards there, and it goes on with the rest.

    It is the member with most shards on one node, but for the node of what members say to each other.
    """
    control, found = await _control(fleet), dict[tuple[int, str, int], set[int]]()
    for place in {*range(PRIMARIES)} - {control}:
        there = await shards_at(fleet, place)
        for name in fleet.names:
            own = {*there} & {*fleet.held_by(name)}
            found[len(own), name, place] = own
    count, name, place = most = max(found)
    own = found[most]
    short = math.ceil(SHARDS / len(fleet.names)) - len(fleet.held_by(name)) + count
    others = fleet.names.replace(name, "")
    ways = fleet.run.rig.ways
    fleet.run.notes.append(f"{name} cut from node {place}, with {count} of its shards")
    ways.cut(name, place)
    await fleet.become(
        f"its shards there held by {others}",
        lambda holders: all(holders[shard] and holders[shard] in others for shard in own),
        CUT_OWNED_S,
    )
    fleet.run.over()
    await fleet.run.at(START_S + CUT_S)
    ways.join(name, place)
    await fleet.owned_by(fleet.names, OWNED_AGAIN_S)
    await fleet.run.at(CUT_ROW_S)
    # It asks for as many others as it is short of by then. Calls in shards that stay notice nothing.
    moved = {shard for shard, moves in enumerate(fleet.owners.moves) if moves}
    if len(moved - own) > short:
        fleet.run.broken.append(f"{sorted(moved - own)} moved as well, more than the {short} it was short of")
    fleet.concerns(moved)


# While a node is away its leases may end. The former owner's sockets linger then, but receive nothing.
# Where it has been replaced, whoever is first takes the shards, and afterwards the members even out what
# each of them has.
ROWS = (
    cluster_row(
        "kill",
        "kill -9 of a primary",
        kill_primary,
        most=2,
        seconds=QUICK_S,
        quick=True,
        overlaps=True,
        gone=True,
    ),
    cluster_row("failover", "a planned failover, and back", hand_over),
    cluster_row("freeze-3s", "a primary frozen for 3 s", freeze, moves=range(1), most=0),
    cluster_row(
        "freeze-long",
        "a primary frozen until it is replaced, then awake",
        freeze_long,
        overlaps=True,
        gone=True,
    ),
    cluster_row(
        "node",
        "a primary and its replica frozen for 15 s",
        partial(_away, place=LAST, seconds=AWAY_S),
        most=2,
        unfed_s=AWAY_S + OWNED_AGAIN_S,
        seconds=40.0,
        overlaps=True,
    ),
    cluster_row(
        "control",
        "what members say to each other away for 20 s",
        _control_away,
        most=2,
        unfed_s=CONTROL_AWAY_S + OWNED_AGAIN_S,
        seconds=45.0,
        overlaps=True,
    ),
    cluster_row(
        "control-kill",
        "the same, and kill -9 of a member meanwhile",
        partial(_control_away, dies="a"),
        most=2,
        unfed_s=CONTROL_AWAY_S + OWNED_AGAIN_S,
        seconds=45.0,
        overlaps=True,
    ),
    cluster_row(
        "cut",
        "a member cut from one node for 20 s",
        _cut,
        ways=True,
        most=2,
        unfed_s=CUT_OWNED_S,
        seconds=CUT_ROW_S,
        overlaps=True,
    ),
    cluster_row(
        "slots",
        "the slots of a primary's shards moved to another, and back",
        partial(move_shards, mover=at_once),
        moves=range(1),
        most=0,
    ),
    cluster_row(
        "migrate",
        "the same slots moved key by key, each in 2 s, and back",
        partial(move_shards, mover=key_by_key),
        moves=range(1),
        most=0,
        seconds=40.0,
    ),
    cluster_row("member", "kill -9 of a member", partial(kill, names="a"), moves=range(2, 4)),
)

"""Faults of a fleet's cluster: nodes that die, freeze and hand over while calls go on.

Most are of one node, the last primary. The others keep the majority that promotes its replica.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
import trio

from trio_asr.bus.nodes import slot_of
from trio_asr.lab.chaos.fleet_rows import BUSY, SHARDS, Deed, FleetRun, fleet_row, kill
from trio_asr.lab.rig.cluster import SLOTS

if TYPE_CHECKING:
    from trio_asr.lab.chaos.row import Row
    from trio_asr.lab.rig.cluster import EmbeddedCluster

NODE_TIMEOUT_MS = 4_000
PRIMARIES = 3
LAST = PRIMARIES - 1
FAILED_OVER_S = NODE_TIMEOUT_MS / 1000 + 4.0  # the timeout, the vote, and what follows from it
BRIEF_S = 3.0  # less than the node timeout
QUICK_S = 16.0
STALE_S = 2.0  # for which a primary sleeps on after it has been replaced
BETWEEN_S, MIX_S = 4.0, 60.0
SEED = 1  # of the order of the mix
POLL_S = 0.05
FIRST_SLOT = SLOTS * LAST // PRIMARIES  # of the last primary


def _cluster(fleet: FleetRun) -> EmbeddedCluster:
    cluster = fleet.run.rig.cluster
    assert cluster is not None
    return cluster


def _role(cluster: EmbeddedCluster, number: int) -> str:
    with cluster.client(number) as client:
        return str(client.info("replication")["role"])


async def _has_role(fleet: FleetRun, number: int, role: str) -> None:
    """Wait until a server of the cluster, by its place in `servers`, is `master` or `slave`."""
    since = trio.current_time()
    with trio.move_on_after(FAILED_OVER_S * BUSY):
        while await trio.to_thread.run_sync(_role, _cluster(fleet), number) != role:  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        fleet.run.notes.append(f"node {number} is {role} after {trio.current_time() - since:.1f} s")
        return
    fleet.run.broken.append(f"node {number} is not {role} within {FAILED_OVER_S * BUSY:.0f} s")


async def _pair(fleet: FleetRun) -> tuple[int, int]:
    """Return the present primary of the last place, and its replica."""
    first = await trio.to_thread.run_sync(_role, _cluster(fleet), LAST)
    return (LAST, PRIMARIES + LAST) if first == "master" else (PRIMARIES + LAST, LAST)


async def kill_primary(fleet: FleetRun) -> None:
    """Kill a primary; its replica is promoted."""
    primary, replica = await _pair(fleet)
    await fleet.run.valkey(_cluster(fleet).servers[primary].kill)
    fleet.run.over()
    await _has_role(fleet, replica, "master")


async def _hand_over(fleet: FleetRun) -> None:
    """Let a replica take over from its primary in order, and back again."""
    for _ in range(2):
        primary, replica = await _pair(fleet)
        await _ask(fleet, replica, "CLUSTER", "FAILOVER")
        fleet.run.over()
        await _has_role(fleet, replica, "master")
        await _has_role(fleet, primary, "slave")


async def _ask(fleet: FleetRun, number: int, *words: Any) -> Any:
    return await trio.to_thread.run_sync(_command, _cluster(fleet), number, *words)


def _command(cluster: EmbeddedCluster, number: int, *words: Any) -> Any:
    with cluster.client(number) as client:
        return client.execute_command(*words)


async def _freeze(fleet: FleetRun) -> None:
    """Freeze a primary for less than the node timeout: it stays what it is."""
    primary, _ = await _pair(fleet)
    _cluster(fleet).servers[primary].pause()
    await trio.sleep(BRIEF_S)
    _cluster(fleet).servers[primary].resume()
    fleet.run.over()
    await _has_role(fleet, primary, "master")


async def _freeze_long(fleet: FleetRun) -> None:
    """Freeze a primary until its replica has taken over; once it wakes it is a replica."""
    primary, replica = await _pair(fleet)
    _cluster(fleet).servers[primary].pause()
    fleet.run.over()
    await _has_role(fleet, replica, "master")
    await trio.sleep(STALE_S)
    _cluster(fleet).servers[primary].resume()
    await _has_role(fleet, primary, "slave")


async def _move(fleet: FleetRun) -> None:
    """Move the slots of a primary's shards to another one, and back, each in one step."""
    primary, _ = await _pair(fleet)
    slots = [slot for prefix in fleet.run.rig.places.prefixes if (slot := slot_of(prefix)) >= FIRST_SLOT]
    for source, target in ((primary, 0), (0, primary)):
        for slot in slots:
            await _migrate(fleet, slot, source, target)
        fleet.run.over()


async def _migrate(fleet: FleetRun, slot: int, source: int, target: int) -> None:
    cluster = _cluster(fleet)
    name = await _ask(fleet, target, "CLUSTER", "MYID")
    try:
        await _ask(fleet, source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name)
    except redis.ResponseError as error:  # servers before Valkey 9 do not know it
        fleet.run.broken.append(f"slot {slot} does not move: {error}")
        return
    with trio.move_on_after(FAILED_OVER_S * BUSY):
        while await trio.to_thread.run_sync(_port, cluster, slot) != cluster.servers[target].port:  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        return
    fleet.run.broken.append(f"slot {slot} is not at node {target}")


def _port(cluster: EmbeddedCluster, slot: int) -> int:
    """Return the port of the server that has a slot, as the first server sees it."""
    ranges = _command(cluster, 0, "CLUSTER SLOTS")
    return int(next(node[1] for first, last, node, *_ in ranges if first <= slot <= last))


async def _mix(fleet: FleetRun) -> None:
    """Do all that leaves the cluster whole, in an order that the seed tells, and kill a primary at last."""
    deeds = [_hand_over, _freeze, _freeze_long, _move]
    random.Random(SEED).shuffle(deeds)  # noqa: S311 (not for secrets)
    for deed in (*deeds, kill_primary):
        await deed(fleet)
        await fleet.owned_by("abc", FAILED_OVER_S)
        await trio.sleep(BETWEEN_S)


def cluster_row(name: str, title: str, deed: Deed, *, moves: range = range(SHARDS), **more: Any) -> Row:
    """Return a row of a fleet on a cluster."""
    return fleet_row(
        f"cluster-{name}",
        f"on a cluster: {title}",
        deed,
        moves=moves,
        node_timeout_ms=NODE_TIMEOUT_MS,
        **more,
    )


# While a node is away its leases may end. The former owner's sockets linger then, but receive nothing.
# Whoever is first takes the shards, and afterwards the members even out what each of them has.
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
    cluster_row("failover", "a planned failover, and back", _hand_over),
    cluster_row("freeze-3s", "a primary frozen for 3 s", _freeze, moves=range(1), most=0),
    cluster_row(
        "freeze-long",
        "a primary frozen until it is replaced, then awake",
        _freeze_long,
        overlaps=True,
        gone=True,
    ),
    cluster_row(
        "slots", "the slots of a primary's shards moved to another, and back", _move, moves=range(1), most=0
    ),
    cluster_row("member", "kill -9 of a member", partial(kill, names="a", others="bc"), moves=range(2, 4)),
    cluster_row(
        "mix",
        "all of these in a random order, but for the member",
        _mix,
        moves=range(4 * SHARDS),
        most=4,
        seconds=MIX_S,
        overlaps=True,
        gone=True,
    ),
)

"""Slots of a cluster that move while calls are in them: in one step, or key by key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import redis
import trio

from trio_asr.bus.nodes import slot_of
from trio_asr.lab.chaos.cluster_run import PRIMARIES, ask, cluster_of, is_so, pair, port_of, shards_at
from trio_asr.lab.rig.valkey import HOST

if TYPE_CHECKING:
    from trio_asr.lab.chaos.fleet_run import FleetRun

STALL_S = 2.0  # how long the keys of a slot are on their way: less than a lease
MIGRATE_MS = 5000

#: Moves a slot from one server to another.
Mover = Callable[["FleetRun", int, int, int], Awaitable[None]]


async def move_shards(fleet: FleetRun, mover: Mover) -> None:
    """Move the slots of a primary's shards to another one, and back."""
    source, _ = await pair(fleet)
    target, _ = await pair(fleet, 0)
    shards = await shards_at(fleet, source)
    fleet.concerns(shards)
    slots = [slot_of(fleet.run.rig.places.prefix(shard)) for shard in shards]
    for begin, end in ((source, target), (target, source)):
        for slot in slots:
            with fleet.stalls():
                await mover(fleet, slot, begin, end)
        fleet.run.over()


async def at_once(fleet: FleetRun, slot: int, source: int, target: int) -> None:
    """Move a slot in one step."""
    cluster = cluster_of(fleet)
    name = await ask(fleet, target, "CLUSTER", "MYID")
    try:
        await ask(fleet, source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name)
    except redis.ResponseError as error:  # servers before Valkey 9 do not know it
        fleet.run.broken.append(f"slot {slot} does not move: {error}")
        return
    port = cluster.servers[target].port
    await is_so(fleet, f"slot {slot} is at node {target}", lambda: port_of(cluster, slot) == port)


async def key_by_key(fleet: FleetRun, slot: int, source: int, target: int) -> None:
    """Move a slot as it was always done, so slowly that clients meet it half moved (ASK, TRYAGAIN)."""
    names = {number: await ask(fleet, number, "CLUSTER", "MYID") for number in (source, target)}
    port = cluster_of(fleet).servers[target].port
    await ask(fleet, target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    await ask(fleet, source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    due, count = trio.current_time(), await ask(fleet, source, "CLUSTER", "COUNTKEYSINSLOT", slot)
    while keys := await ask(fleet, source, "CLUSTER", "GETKEYSINSLOT", slot, 1):
        await ask(fleet, source, "MIGRATE", HOST, port, "", 0, MIGRATE_MS, "KEYS", *keys)
        due += STALL_S / count
        await trio.sleep_until(due)
    others = [(await pair(fleet, place))[0] for place in range(PRIMARIES)]
    for number in dict.fromkeys((target, source, *others)):  # the target first: it is to answer for the slot
        await ask(fleet, number, "CLUSTER", "SETSLOT", slot, "NODE", names[target])

"""What a row of a fleet on a cluster works with: its nodes, their roles, and what lies where.

A place is that of a primary and its replica, from 0. At first the primary is the server of that number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from trio_asr.bus.nodes import slot_of
from trio_asr.lab.chaos.fleet_run import BUSY, SHARDS, Deed, FleetRun, fleet_row

if TYPE_CHECKING:
    from trio_asr.lab.chaos.row import Row
    from trio_asr.lab.rig.cluster import EmbeddedCluster

NODE_TIMEOUT_MS = 4_000
PRIMARIES = 3
LAST = PRIMARIES - 1
FAILED_OVER_S = NODE_TIMEOUT_MS / 1000 + 4.0  # the timeout, the vote, and what follows from it
POLL_S = 0.05


def cluster_of(fleet: FleetRun) -> EmbeddedCluster:
    """Return the cluster that a fleet is on."""
    cluster = fleet.run.rig.cluster
    assert cluster is not None
    return cluster


async def ask(fleet: FleetRun, number: int, *words: Any) -> Any:
    """Ask a server of the cluster, by its place in `servers`."""
    return await trio.to_thread.run_sync(_command, cluster_of(fleet), number, *words)


def _command(cluster: EmbeddedCluster, number: int, *words: Any) -> Any:
    with cluster.client(number) as client:
        return client.execute_command(*words)


async def is_so(fleet: FleetRun, what: str, look: Callable[[], bool], within: float = FAILED_OVER_S) -> None:
    """Wait until it is so, as often as a thread looks; if it takes too long, that is a broken promise."""
    since = trio.current_time()
    with trio.move_on_after(within * BUSY):
        while not await trio.to_thread.run_sync(look):  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        fleet.run.notes.append(f"{what} after {trio.current_time() - since:.1f} s")
        return
    fleet.run.broken.append(f"not {what} within {within * BUSY:.0f} s")


def _role(cluster: EmbeddedCluster, number: int) -> str:
    with cluster.client(number) as client:
        return str(client.info("replication")["role"])


async def has_role(fleet: FleetRun, number: int, role: str) -> None:
    """Wait until a server is `master` or `slave`."""
    cluster = cluster_of(fleet)
    await is_so(fleet, f"node {number} is {role}", lambda: _role(cluster, number) == role)


async def has_copy(fleet: FleetRun, number: int) -> None:
    """Wait until a server is a replica that has all data of its primary."""
    cluster = cluster_of(fleet)

    def looks() -> bool:
        with cluster.client(number) as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    await is_so(fleet, f"node {number} has a copy", looks)


async def is_trusted(fleet: FleetRun, number: int) -> None:
    """Wait until no other primary takes a server to have failed; those of the other places are asked."""
    cluster = cluster_of(fleet)
    port = cluster.servers[number].port
    others = [(await pair(fleet, place))[0] for place in range(PRIMARIES) if place != number % PRIMARIES]

    def looks() -> bool:
        known = b"".join(_command(cluster, other, "CLUSTER", "NODES") for other in others).splitlines()
        return not any(b"fail" in line.split()[2] for line in known if f":{port}@".encode() in line)

    await is_so(fleet, f"node {number} is trusted", looks)


async def pair(fleet: FleetRun, place: int = LAST) -> tuple[int, int]:
    """Return the present primary of a place, and its replica."""
    first = await trio.to_thread.run_sync(_role, cluster_of(fleet), place)
    return (place, PRIMARIES + place) if first == "master" else (PRIMARIES + place, place)


def port_of(cluster: EmbeddedCluster, slot: int, seen_by: int = 0) -> int:
    """Return the port of the server that has a slot, as one of the servers sees it. Blocks."""
    ranges = _command(cluster, seen_by, "CLUSTER SLOTS")
    return int(next(node[1] for first, last, node, *_ in ranges if first <= slot <= last))


async def shards_at(fleet: FleetRun, number: int) -> list[int]:
    """Return the shards that lie on a server, as it says itself."""
    cluster = cluster_of(fleet)
    port = cluster.servers[number].port

    def there() -> list[int]:
        slots = [slot_of(prefix) for prefix in fleet.run.rig.places.prefixes]
        return [shard for shard, slot in enumerate(slots) if port_of(cluster, slot, number) == port]

    return await trio.to_thread.run_sync(there)


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

"""Checks of the cluster that a fleet lies on: whether it serves all, and each of its nodes."""

from __future__ import annotations

from typing import Any

import redis
import redis.exceptions

from trio_asr.bus.answers import describe
from trio_asr.commands.doctor.findings import Alike, Report
from trio_asr.commands.doctor.server import Server, clock, durability, memory, refused_script, setting

LONGEST_MS = 5_000  # of cluster-node-timeout: a shard stands still for a little longer than that


class Cluster:
    """The checks of a cluster. On one server, and while none has answered, they report nothing."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def state(self, report: Report) -> None:
        """Check whether it serves all slots."""
        client: Any = self._server.client
        if not isinstance(client, redis.RedisCluster):
            return
        info = client.cluster_info()
        served = f"{info.get('cluster_slots_ok')} of 16384 slots, {info.get('cluster_size')} primaries"
        if info.get("cluster_state") == "ok" and info.get("cluster_slots_ok") == "16384":
            report.ok("cluster", served)
        else:
            report.fail("cluster", f"not all of it is served: {served}", "see CLUSTER NODES")

    def nodes(self, report: Report) -> None:
        """Check each node: settings, durability, memory, clock, scripts; and the replicas of a primary."""
        client: Any = self._server.client
        if not isinstance(client, redis.RedisCluster):
            return
        alike = Alike()
        found: Any = client.get_nodes()  # type: ignore[no-untyped-call]
        nodes = sorted(found, key=lambda node: str(node.name))
        for node in nodes:
            seen = alike.report(node.name)
            try:
                _node(seen, client.get_redis_connection(node))
            except (redis.RedisError, OSError) as error:
                seen.fail("nodes", f"cannot be asked: {describe(error)}", "see its log")
        alike.tell(report, "nodes", ", ".join, f"all {len(nodes)} as they should be")


def _node(seen: Report, node: redis.Redis) -> None:
    info: Any = node.info()
    durability(seen, info, setting(node, "appendfsync"))
    memory(seen, info)
    clock(seen, node)
    if setting(node, "cluster-require-full-coverage") == "yes":
        says = "cluster-require-full-coverage yes: one primary that is lost with its replicas stops all"
        seen.warn("coverage", says, "set cluster-require-full-coverage no")
    timeout = setting(node, "cluster-node-timeout")
    if timeout.isdigit() and int(timeout) > LONGEST_MS:
        says = f"cluster-node-timeout {timeout}: shards of a dead primary stand still for longer than that"
        seen.warn("node timeout", says, "set cluster-node-timeout 5000, or less")
    if info.get("role") == "master" and not info.get("connected_slaves"):
        seen.warn("replicas", "a primary without a replica: its shards are lost with it", "give it one")
    if why := refused_script(node):
        seen.fail("scripts", f"EVALSHA is refused: {why}", "allow it: nothing is written without it")

"""Checks of the cluster that a fleet lies on: its settings, and each of its primaries."""

from __future__ import annotations

from typing import Any

import redis

from trio_asr.commands.doctor.findings import Alike, Report
from trio_asr.commands.doctor.server import Server, durability, memory

LONGEST_MS = 5_000  # of cluster-node-timeout: a shard stands still for a little longer than that


class Cluster:
    """The checks of a cluster. On one server, and while none has answered, they report nothing."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def state(self, report: Report) -> None:
        """Check whether it serves all slots, and how long it would stand still when a node dies."""
        client: Any = self._server.client
        if not isinstance(client, redis.RedisCluster):
            return
        info = client.cluster_info()
        served = f"{info.get('cluster_slots_ok')} of 16384 slots, {info.get('cluster_size')} primaries"
        if info.get("cluster_state") == "ok" and info.get("cluster_slots_ok") == "16384":
            report.ok("cluster", served)
        else:
            report.fail("cluster", f"not all of it is served: {served}", "see CLUSTER NODES")
        settings = {
            name: self._server.setting(f"cluster-{name}")
            for name in ("require-full-coverage", "node-timeout")
        }
        coverage, timeout = settings.values()
        if coverage == "yes":
            says = "cluster-require-full-coverage yes: one primary that is lost with its replicas stops all"
            report.warn("coverage", says, "set cluster-require-full-coverage no")
        if timeout.isdigit() and int(timeout) > LONGEST_MS:
            says = (
                f"cluster-node-timeout {timeout}: shards of a dead primary stand still for longer than that"
            )
            report.warn("node timeout", says, "set cluster-node-timeout 5000, or less")

    def primaries(self, report: Report) -> None:
        """Check durability, memory and replicas of each."""
        client: Any = self._server.client
        if not isinstance(client, redis.RedisCluster):
            return
        fsync, alike = self._server.setting("appendfsync"), Alike()
        nodes: dict[str, Any] = client.info(target_nodes=redis.RedisCluster.PRIMARIES)
        for name, info in sorted(nodes.items()):
            seen = alike.report(name)
            durability(seen, info, fsync)
            memory(seen, info)
            if not info.get("connected_slaves"):
                seen.warn(
                    "replicas", "a primary without a replica: its shards are lost with it", "give it one"
                )
        alike.tell(report, "primaries", ", ".join, f"all {len(nodes)} as they should be")

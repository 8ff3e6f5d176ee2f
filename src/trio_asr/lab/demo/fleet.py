"""The demo of a fleet: three workers share calls on a cluster, and one of them is killed in mid-call.

All parts are real processes on this machine: the nodes of the cluster from Valkey's wheel, the simulator, and
the workers as they run in production.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import trio

from trio_asr.config.environment import API_KEY, OLD_VARIABLES
from trio_asr.core.fleet.places import Places
from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.demo.fleet_calls import Cluster, calls_of
from trio_asr.lab.demo.fleet_report import FleetReport, listed, shards_of
from trio_asr.lab.demo.steps import step
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.lab.rig.feeder import Feeder
from trio_asr.lab.rig.processes import Worker, toml
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.valkey import EmbeddedServerError, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

NODES, SHARDS = 3, 12
NAMES = ("worker-1", "worker-2", "worker-3")
VICTIM = NAMES[1]
CALLS_EACH = 2
"""Calls in each shard."""
SECONDS, KILL_S = 10.0, 3.0
"""How long each call is, and when the worker is killed."""
START_S = 60.0
"""Seconds for something to start, on a busy machine."""
TAIL_S = 60.0
"""Seconds from the last sample to the last final: the calls of the killed worker have to catch up."""
POLL_S = 0.05
COUNT_S = 0.25
"""Seconds between two counts of all samples."""


class FleetDemo:
    """One run. `work` is a directory for logs and configurations, which the caller removes."""

    def __init__(self, console: Console, work: Path) -> None:
        self._console, self._work = console, work
        self._environment = {**clean_environment(OLD_VARIABLES), API_KEY: "demo"}
        self._servers = EmbeddedCluster(NODES, node_timeout_ms=60_000)
        self._places = Places(SHARDS)
        self._calls = calls_of(SHARDS, CALLS_EACH, SECONDS)
        self._alive: list[Program] = []
        self._report = FleetReport(NAMES)

    async def run(self) -> FleetReport:
        """Run the demo; return its record.

        Raises:
            EmbeddedServerError: A node of the cluster fails.
            RedisFailure: The cluster does not answer.
            RigError: A process fails, or a call does not come out whole.
        """
        try:
            with step(self._console, f"Starting a cluster of {NODES} Valkey servers"):
                await trio.to_thread.run_sync(self._servers.start)
            async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                await self._with_servers(stack)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):  # bounded by Valkey's own shutdown
                await trio.to_thread.run_sync(self._servers.stop)
        return self._report

    async def _with_servers(self, stack: AsyncExitStack) -> None:
        command = [sys.executable, "-m", "trio_asr", "simulate", "--port", "0", "--segment-ms", "1000"]
        simulator = Program("simulator", command, self._environment, self._work / "simulator.log")
        with step(self._console, "Starting a stand-in for Deepgram"):
            await self._start(simulator, stack)
            url = await simulator.said("ws://", within=START_S)
        cluster = Cluster(self._servers.url, self._places)
        stack.callback(cluster.close)
        workers = {name: self._worker(name, url.split()[0]) for name in NAMES}
        with step(self._console, f"Starting {len(NAMES)} workers, which share {SHARDS} shards"):
            for worker in workers.values():
                await self._start(worker, stack)
            await self._shared(cluster, workers)
        await self._play(cluster, workers)
        for call, complaint in self._report.complaints().items():
            holder = workers.get(self._report.after[shard_of(call, SHARDS)], workers[VICTIM])
            raise holder.failure(f"did not do its job: {call}: {complaint}")

    async def _start(self, program: Program, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(aclosing(program))
        await program.start()
        self._alive.append(program)

    def _worker(self, name: str, deepgram_url: str) -> Worker:
        """Return a worker with production's defaults but for the addresses."""
        port = free_port()
        config = self._work / f"{name}.toml"
        config.write_text(
            toml(
                {
                    "redis": {"url": self._servers.url, "trim": True},
                    "deepgram": {"url": deepgram_url},
                    "fleet": {"shards": SHARDS, "member": name},
                    "publish": {"words": True},  # they show which samples were heard
                    "http": {"port": port},
                }
            )
        )
        return Worker(name, config, self._environment, self._work / f"{name}.log", port)

    async def _watch(self) -> None:
        """Look after all that was started, and was not killed."""
        while True:
            for program in self._alive:
                if not program.running:
                    raise program.failure("ended by itself")
            for server in self._servers.servers:
                if not server.running:
                    raise EmbeddedServerError(f"a node of the cluster ended:\n{server.log_tail()}")
            await trio.sleep(POLL_S)

    async def _shared(self, cluster: Cluster, workers: Mapping[str, Worker]) -> None:
        """Wait until each worker has its share of the shards."""
        holders: list[str] = []
        with trio.move_on_after(START_S):
            while any(holders.count(name) != SHARDS // len(NAMES) for name in NAMES):
                await trio.sleep(POLL_S)
                holders = await trio.to_thread.run_sync(cluster.holders)
            self._report.before = holders
            return
        idle = min(NAMES, key=holders.count)
        raise workers[idle].failure(f"had {holders.count(idle)} shards after {START_S:.0f} s")

    async def _play(self, cluster: Cluster, workers: Mapping[str, Worker]) -> None:
        """Play the calls, kill a worker meanwhile, and wait until all transcripts are whole."""
        what = f"{len(self._calls)} calls of {SECONDS:.0f} s in real time, {CALLS_EACH} in each shard"
        self._console.print(f"\nPlaying {what}.\n")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Feeder(self._servers.url, self._calls, self._places).run)
            await trio.sleep(KILL_S)
            await self._kill(cluster, workers[VICTIM], began)
        with trio.move_on_after(TAIL_S):
            while not (self._report.account.calls and self._report.account.complete):
                await trio.sleep(COUNT_S)
                await self._count(cluster)
        self._report.after = await trio.to_thread.run_sync(cluster.holders)
        self._say(began, "the last transcript is final")

    async def _kill(self, cluster: Cluster, victim: Worker, began: float) -> None:
        """Kill a worker, and wait until others have all its shards."""
        self._report.killed = victim.name
        orphans = shards_of(victim.name, self._report.before)
        self._alive.remove(victim)
        await victim.kill()
        killed_at = trio.current_time()
        self._say(
            began, f"kill -9 of {victim.name}. Its shards {listed(orphans)} are kept until its leases end"
        )
        before = await self._count(cluster)
        with trio.move_on_after(START_S):
            while orphans:
                await trio.sleep(POLL_S)
                now = await trio.to_thread.run_sync(cluster.holders)
                for shard in [one for one in orphans if now[one] not in ("", victim.name)]:
                    orphans.remove(shard)
                    self._report.ownerless[shard] = trio.current_time() - killed_at
                    self._say(began, f"{now[shard]} has taken shard {shard}")
            finals = await self._count(cluster) - before
            self._say(began, f"meanwhile the calls of the others had {finals} final transcripts")
            return
        raise victim.failure(f"was killed, and nobody took its shards {listed(orphans)}")

    async def _count(self, cluster: Cluster) -> int:
        """Count all samples; return the number of finals in the calls of workers that live."""
        self._report.count(*await trio.to_thread.run_sync(cluster.account, self._calls))
        return sum(call.finals for name in NAMES if name != VICTIM for call in self._report.calls(name))

    def _say(self, began: float, what: str) -> None:
        self._console.print(f"{trio.current_time() - began:5.1f} s  {what}")

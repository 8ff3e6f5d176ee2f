"""One load run: everything is started, fed, read twice and counted.

Redis, the simulator, the daemon and the feeder are separate processes. The first reading is taken after the
ramp and a warm-up, the second at the end of the window. What the readings cost the daemon falls outside the
window.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import trio

from trio_asr.bus.keys import Keys
from trio_asr.client.redis import connect, entries
from trio_asr.config.environment import API_KEY, OLD_VARIABLES
from trio_asr.lab.load.account import Published, account, delays_s
from trio_asr.lab.load.feeder import Fed, Order
from trio_asr.lab.load.measure import cpu_s, pin, rss_bytes
from trio_asr.lab.load.plan import Plan
from trio_asr.lab.load.report import Measured, Reading, Report, Usage, report
from trio_asr.lab.rig.certificate import certificate
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.evidence import documents
from trio_asr.lab.rig.page import Page
from trio_asr.lab.rig.processes import START_S, Worker, toml
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.valkey import EmbeddedValkey, free_port
from trio_asr.lab.rig.versions import OURS

IDLE_S = 3.0  # for which the idle daemon is watched
FEEDER_START_S = 2.0  # for an interpreter to start on a busy machine
TAIL_S = 30.0  # for the last results, after the last frame
STEP_S = 0.1

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Where:
    """The environment of a run. Without `redis_url` it brings its own server."""

    redis_url: str = ""
    wss: bool = False
    daemon_cpus: Collection[int] = ()
    other_cpus: Collection[int] = ()


class Load:
    """One run. `work` holds the logs and the configuration."""

    version = OURS  # of the daemon

    def __init__(self, plan: Plan, where: Where, work: Path, progress: Progress) -> None:
        token = secrets.token_hex(4)
        self._group = f"load-{token}"
        # Stream names of its own: on a shared Redis, nobody else's streams are touched.
        self.prefix = f"load:{token}:"
        self.plan = msgspec.structs.replace(
            plan,
            audio_stream=f"{self.prefix}audio_stream",
            end_stream=f"{self.prefix}call_end",
            group=self._group,
        )
        self._keys = [Keys(self._group, prefix) for prefix in self.plan.places.prefixes]
        self._where, self.work, self._progress = where, work, progress
        self.environment = clean_environment(OLD_VARIABLES) | {API_KEY: "load"}

    async def run(self) -> Report:
        """Run everything; return the report.

        Raises:
            RigError: A process fails.
            EmbeddedServerError: The server does not start.
            redis.RedisError: Redis fails.
        """
        async with AsyncExitStack() as stack:
            url = self._where.redis_url or await stack.enter_async_context(self._redis())
            self.plan = msgspec.structs.replace(self.plan, redis_url=url)
            simulator, address = await self._simulator(stack)
            daemon = self.worker(url, address)
            stack.push_async_callback(daemon.aclose)
            await self.up(daemon)
            self._pin(daemon, self._where.daemon_cpus)
            self._client = connect(url)
            stack.callback(self._client.close)
            stack.callback(self._clean)
            return await self._measured(simulator, daemon, stack)

    # -- the program under load: a worker other than the daemon may take its place ---------------------------

    def worker(self, url: str, address: str) -> Program:
        """Return the program to load, given the URLs of Redis and Deepgram."""
        port = free_port()
        config = self.work / "load.toml"
        sections: dict[str, dict[str, Any]] = {
            "redis": {
                "url": url,
                "consumer_group": self._group,
                "audio_stream": self.plan.audio_stream,
                "call_end_stream": self.plan.end_stream,
                "transcript_stream": self.prefix + "transcript.{interaction_id}",
                "events_stream": f"{self.prefix}asr_events",
                "dead_letter_stream": f"{self.prefix}asr_dead_letter",
            },
            "deepgram": {"url": address, "max_connections": self.plan.calls},
            "http": {"port": port},
        }
        if self.plan.shards > 1:
            sections["fleet"] = {"shards": self.plan.shards, "member": "load"}
        config.write_text(toml(sections))
        log = self.work / "daemon.log"
        return Worker("daemon", config, self.environment, log, port, version=self.version)

    async def up(self, worker: Program) -> None:
        """Start it and wait until it is reading."""
        assert isinstance(worker, Worker)
        await worker.start_and_wait()
        leases = [keys.lease for keys in self._keys]
        with connect(self.plan.redis_url) as client, trio.move_on_after(START_S):
            while client.exists(*leases) < len(leases):  # noqa: ASYNC110 - it takes one after the other
                await trio.sleep(STEP_S)
            return
        raise worker.failure("does not hold all shards")

    async def page(self, worker: Program) -> Page:
        """Return its metrics page."""
        assert isinstance(worker, Worker)
        return Page(await worker.metrics())

    async def all_over(self) -> bool:
        """Return whether all calls have ended."""
        live: Any = self._client.exists(*(keys.live for keys in self._keys))  # a set that is empty is none
        await trio.lowlevel.checkpoint()
        return not live

    # -- set-up ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _redis(self) -> AsyncIterator[str]:
        valkey = EmbeddedValkey()
        await trio.to_thread.run_sync(valkey.start)
        try:
            if self._where.other_cpus:
                pin(valkey.pid, self._where.other_cpus)
            yield valkey.url
        finally:
            with trio.CancelScope(shield=True):  # bounded by the server's own time limit
                await trio.to_thread.run_sync(valkey.stop)

    async def _simulator(self, stack: AsyncExitStack) -> tuple[Program, str]:
        command = [sys.executable, "-m", "trio_asr", "simulate", "--port", "0"]
        if self._where.wss:
            issued = await trio.to_thread.run_sync(certificate, self.work)
            command += issued.options
            self.environment |= issued.trust
        program = self._program("simulator", command)
        stack.push_async_callback(program.aclose)
        await program.start()
        said = await program.said("listening on ", within=START_S)
        self._pin(program, self._where.other_cpus)
        return program, said.split()[2]

    def _program(self, name: str, command: list[str]) -> Program:
        return Program(name, command, self.environment, self.work / f"{name}.log")

    def _pin(self, program: Program, cpus: Collection[int]) -> None:
        if cpus:
            pin(program.pid, cpus)

    # -- the run ---------------------------------------------------------------------------------------------

    async def _measured(self, simulator: Program, daemon: Program, stack: AsyncExitStack) -> Report:
        plan = self.plan
        began, before = time.monotonic(), cpu_s(daemon.pid)
        await self._until(began + IDLE_S, began, "idle")
        idle_cpu = (cpu_s(daemon.pid) - before) / (time.monotonic() - began)
        idle_bytes = rss_bytes(daemon.pid)

        start = time.monotonic() + FEEDER_START_S
        order = Order(plan, start, int((time.time() + FEEDER_START_S) * 1000))
        argument = msgspec.json.encode(order).decode()
        feeder = self._program("feeder", [sys.executable, "-m", "trio_asr.lab.load.feeder", argument])
        stack.push_async_callback(feeder.aclose)
        await feeder.start()
        self._pin(feeder, self._where.other_cpus)

        await self._until(start + plan.ramp_s, start, "ramp")
        await self._until(start + plan.window[0], start, "warm-up")
        page = await self.page(daemon)
        begin = Reading(time.monotonic(), self._usage(daemon, simulator, feeder), page)
        await self._until(start + plan.window[1], start, "measuring")
        usage, at = self._usage(daemon, simulator, feeder), time.monotonic()
        end = Reading(at, usage, await self.page(daemon))
        await self._until(start + plan.length_s, start, "ending")
        fed = await self._fed(feeder)
        await self._all_ended()
        transcripts = await trio.to_thread.run_sync(self._transcripts)
        events = await trio.to_thread.run_sync(self._events)
        entry_bytes = await trio.to_thread.run_sync(self._entry_bytes)
        return report(
            Measured(
                plan=plan,
                wss=self._where.wss,
                idle_bytes=idle_bytes,
                idle_cpu=idle_cpu,
                begin=begin,
                end=end,
                account=account(plan, transcripts, events),
                fed=fed,
                entry_bytes=entry_bytes,
                partials_s=delays_s(plan, order.epoch_ms, transcripts, "partial"),
                finals_s=delays_s(plan, order.epoch_ms, transcripts, "final"),
            )
        )

    async def _until(self, when: float, start: float, phase: str) -> None:
        """Wait, and show progress."""
        while (left := when - time.monotonic()) > 0:
            self._progress(phase, max(0.0, time.monotonic() - start))
            await trio.sleep(min(STEP_S, left))

    def _usage(self, daemon: Program, simulator: Program, feeder: Program) -> Usage:
        used: Any = self._client.info("cpu")
        return Usage(
            cpu_s(daemon.pid),
            cpu_s(simulator.pid),
            cpu_s(feeder.pid),
            used["used_cpu_user"] + used["used_cpu_sys"],
            rss_bytes(daemon.pid),
        )

    async def _fed(self, feeder: Program) -> Fed:
        if await feeder.ended(TAIL_S):
            raise feeder.failure("failed")
        return msgspec.json.decode(feeder.output().strip().rsplit("\n", 1)[-1], type=Fed)

    async def _all_ended(self) -> None:
        deadline = time.monotonic() + TAIL_S
        while time.monotonic() < deadline:
            if await self.all_over():
                return
            await trio.sleep(STEP_S)

    def _transcripts(self) -> dict[int, list[Published]]:
        found = {}
        for number in range(1, self.plan.calls + 1):
            name = self.plan.name(number)
            stream = f"{self.plan.places.of(name)}{self.prefix}transcript.{name}"
            found[number] = [
                Published(int(entry.split(b"-")[0]), msgspec.json.decode(fields[b"data"]))
                for entry, fields in entries(self._client, stream)
            ]
        return found

    def _events(self) -> list[dict[str, Any]]:
        streams = (f"{prefix}{self.prefix}asr_events" for prefix in self.plan.places.prefixes)
        return [event for stream in streams for event in documents(self._client, stream)]

    def _entry_bytes(self) -> float:
        """Return the memory in Redis of one entry of audio, overhead included."""
        client: Any = self._client
        streams = [prefix + self.plan.audio_stream for prefix in self.plan.places.prefixes]
        used = sum(client.memory_usage(stream, samples=0) or 0 for stream in streams)
        return float(used / sum(client.xlen(stream) for stream in streams))

    def _clean(self) -> None:
        """Remove the run's keys from a Redis that others use."""
        if self._where.redis_url:
            for pattern in (f"{self.prefix}*", f"trio_asr:{{{self._group}}}:*", f"{{{self._group}.*}}:*"):
                for key in self._client.scan_iter(match=pattern, count=1000):
                    self._client.unlink(key)

"""The demo: the whole service on this machine, with every part real.

A Valkey from its wheel, the simulator with its speech engine, the daemon and the ingest are separate
processes that speak the real protocols. Callers stream the calls to the ingest in real time, as telephony
platforms do, and what is shown is what comes out of Redis.
"""

from __future__ import annotations

import math
import sys
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from trio_asr.client.consumer import Message, TranscriptReader
from trio_asr.client.http import get
from trio_asr.client.redis import connect, redis_failure
from trio_asr.client.view import TranscriptView
from trio_asr.config.environment import API_KEY, OLD_VARIABLES
from trio_asr.lab.demo.calls import HOPS, Played, routes
from trio_asr.lab.demo.report import CallReport, Report
from trio_asr.lab.demo.steps import step
from trio_asr.lab.dial.caller import place
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.page import Page
from trio_asr.lab.rig.processes import toml
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.valkey import EmbeddedValkey, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

MODEL_TIMEOUT_S = 120.0
"""Seconds for the simulator to load its model, from a slow disk if need be."""
READY_TIMEOUT_S = 20.0
TAIL_TIMEOUT_S = 120.0
"""Seconds from a call's last sample to its `ended`: the last words have to be recognised first."""
POLL_S = 0.05


class Demo:
    """One run. `work` is a directory for logs and the configuration, which the caller removes."""

    def __init__(self, calls: Sequence[Played], console: Console, work: Path) -> None:
        self._calls = calls
        self._console = console
        self._work = work
        self._environment = clean_environment(OLD_VARIABLES)
        self._http_port, self._ingest_port, self._ingest_pages = free_port(), free_port(), free_port()
        self._report = Report(
            {one.name: CallReport(one.name, one.recording.seconds, one.said) for one in calls}
        )

    async def run(self) -> Report:
        """Run the demo; return its record.

        Raises:
            RigError: A process fails, or a call does not come out right.
            RedisFailure: Redis fails.
        """
        with step(self._console, "Starting a Valkey server"):
            valkey = EmbeddedValkey(appendonly=True)
            await trio.to_thread.run_sync(valkey.start)
        try:
            await self._with_valkey(valkey.url)
        finally:
            with trio.CancelScope(shield=True):  # bounded by Valkey's own shutdown
                await trio.to_thread.run_sync(valkey.stop)
        return self._report

    async def _with_valkey(self, redis_url: str) -> None:
        simulator = self._program("simulator", "simulate", "--engine", "speech", "--port", "0")
        async with aclosing(simulator):
            with step(self._console, "Loading the speech model into the Deepgram simulator"):
                await simulator.start()
                url = await simulator.said("ws://", within=MODEL_TIMEOUT_S)
            config = self._work / "config.toml"
            await trio.Path(config).write_text(self._config(redis_url, url.split()[0].rstrip(".,")))
            async with simulator.kept():
                await self._with_simulator(redis_url, config)

    async def _with_simulator(self, redis_url: str, config: Path) -> None:
        daemon = self._program("daemon", "serve", "--config", str(config))
        ingest = self._program("ingest", "ingest", "--config", str(config))
        async with aclosing(daemon), aclosing(ingest):
            with step(self._console, "Starting the daemon"):
                await daemon.start()
                await ingest.start()  # at once: most of it is an interpreter's start
                await self._ready(daemon, self._http_port)
            with step(self._console, "Starting the ingest"):
                await self._ready(ingest, self._ingest_pages)
            async with daemon.kept(), ingest.kept():
                await self._play(redis_url, daemon, ingest)
                self._report.page = Page((await get(self._http_port, "/metrics"))[1])

    def _program(self, name: str, *arguments: str) -> Program:
        # Any key will do for the simulator, and a real one in our environment must not be used.
        environment = {**self._environment, API_KEY: "demo"}
        command = [sys.executable, "-m", "trio_asr", *arguments]
        return Program(name, command, environment, self._work / f"{name}.log")

    def _config(self, redis_url: str, deepgram_url: str) -> str:
        """Return production's defaults with our addresses and longer timeouts: recognition may be slow."""
        deepgram = deepgram_url if deepgram_url.endswith("/v1/listen") else f"{deepgram_url}/v1/listen"
        ports = {"port": self._ingest_port, "pages_port": self._ingest_pages}
        return toml(
            {
                "redis": {"url": redis_url},
                "deepgram": {"url": deepgram, "stall_timeout_ms": 60000, "close_timeout_ms": 60000},
                "http": {"port": self._http_port},
                "ingest": {**ports, "route": routes()},
            }
        )

    async def _ready(self, program: Program, port: int) -> None:
        with trio.move_on_after(READY_TIMEOUT_S):
            while program.running:
                status, _ = await get(port, "/ready")
                if status == HTTPStatus.OK:
                    return
                await trio.sleep(POLL_S)
        why = (
            f"was not ready within {READY_TIMEOUT_S:.0f} s"
            if program.running
            else "ended before it was ready"
        )
        raise program.failure(why)

    async def _play(self, redis_url: str, daemon: Program, ingest: Program) -> None:
        """Play all calls, and show the results until the last call has ended."""
        longest = max(call.seconds for call in self._report.calls.values())
        how_many = f"{len(self._calls)} calls at once" if len(self._calls) > 1 else "one call"
        self._console.print(f"\nPlaying {how_many}, {longest:.0f} s in real time. Each goes the whole way:")
        self._console.print(f"  {HOPS}", style="dim", soft_wrap=True)
        for call in self._calls:
            self._console.print(call.how())
        self._console.print("The words come back on Redis, and are read there. Interim results are grey.\n")
        with connect(redis_url) as client:
            reader = TranscriptReader(client, from_start=True)
            with redis_failure(redis_url), TranscriptView(self._console) as view:
                async with trio.open_nursery() as nursery:
                    start = trio.current_time()
                    for call in self._calls:
                        nursery.start_soon(self._place, call, ingest)
                    with trio.move_on_at(start + math.ceil(longest) + TAIL_TIMEOUT_S):
                        await self._show(reader, view, start)
        if complaints := self._report.complaints():
            raise daemon.failure("did not do its job: " + "; ".join(complaints))

    async def _place(self, call: Played, ingest: Program) -> None:
        placed = await place(call.dial(self._ingest_port))
        if not placed.as_wished:
            raise ingest.failure("did not take a call: " + "; ".join(placed.lines()))

    async def _show(self, reader: TranscriptReader, view: TranscriptView, start: float) -> None:
        for one in self._calls:
            reader.follow(one.name)
        reader.discover()
        while True:
            for item in await trio.to_thread.run_sync(reader.read):
                self._report.take(item, trio.current_time() - start)
                if isinstance(item, Message):
                    view.show(item)
                elif item.event == "ended":
                    view.forget(item.interaction_id)
            if self._report.all_ended:
                return

"""The demo: the whole service on this machine, with every part real.

A Valkey from its wheel, the simulator with its speech engine, and the daemon are separate processes that
speak the real protocols. The calls are played in real time, and what is shown is what comes out of Redis.
"""

from __future__ import annotations

import json
import math
import sys
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from trio_asr.client.audio import load
from trio_asr.client.consumer import Message, TranscriptReader
from trio_asr.client.http import get
from trio_asr.client.producer import Call, Source, play, usable_id
from trio_asr.client.redis import connect, redis_failure
from trio_asr.client.view import TranscriptView
from trio_asr.config.environment import API_KEY, OLD_VARIABLES
from trio_asr.lab.demo.report import CallReport, Report
from trio_asr.lab.demo.steps import step
from trio_asr.lab.demo.two_people import SAMPLE, two_people
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.page import Page
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.valkey import EmbeddedValkey, free_port
from trio_asr.samples import shipped_samples

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


@dataclass(frozen=True)
class Recording:
    """A call to play, and the text of each channel if that is known."""

    call: Call
    said: tuple[str, ...] = ()


def choose(paths: Sequence[Path]) -> list[Recording]:
    """Return the recordings named, each under its file's name.

    By default they are those of the package, one of them as a call of two people.

    Raises:
        AudioError: A recording cannot be used.
        IdRefused: The daemon would refuse a file's name as an id.
    """
    if not paths:
        samples = shipped_samples()
        mono = [one for one in samples if one.name != SAMPLE]
        played = [Recording(Call(one.name, load(one.audio)), (one.text,)) for one in mono]
        return [*played, Recording(*two_people(samples))]
    taken: dict[str, int] = {}
    chosen = []
    for path in paths:
        taken[path.stem] = number = taken.get(path.stem, 0) + 1
        name = path.stem if number == 1 else f"{path.stem}-{number}"
        chosen.append(Recording(Call(usable_id(name), load(path))))
    return chosen


class Demo:
    """One run. `work` is a directory for logs and the configuration, which the caller removes."""

    def __init__(self, recordings: Sequence[Recording], console: Console, work: Path) -> None:
        self._recordings = recordings
        self._console = console
        self._work = work
        self._environment = clean_environment(OLD_VARIABLES)
        self._http_port = free_port()
        self._report = Report(
            {
                one.call.interaction_id: CallReport(
                    one.call.interaction_id, one.call.recording.seconds, one.said
                )
                for one in recordings
            }
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
            daemon = self._program("daemon", "serve", "--config", str(config))
            async with simulator.kept(), aclosing(daemon):
                with step(self._console, "Starting the daemon"):
                    await daemon.start()
                    await self._ready(daemon)
                async with daemon.kept():
                    await self._calls(redis_url, daemon)
                    self._report.page = Page((await get(self._http_port, "/metrics"))[1])

    def _program(self, name: str, *arguments: str) -> Program:
        # Any key will do for the simulator, and a real one in our environment must not be used.
        environment = {**self._environment, API_KEY: "demo"}
        command = [sys.executable, "-m", "trio_asr", *arguments]
        return Program(name, command, environment, self._work / f"{name}.log")

    def _config(self, redis_url: str, deepgram_url: str) -> str:
        """Return production's defaults with our addresses and longer timeouts: recognition may be slow."""
        deepgram = deepgram_url if deepgram_url.endswith("/v1/listen") else f"{deepgram_url}/v1/listen"
        # A JSON string is a TOML string.
        return (
            f"[redis]\nurl = {json.dumps(redis_url)}\n"
            f"[deepgram]\nurl = {json.dumps(deepgram)}\n"
            "stall_timeout_ms = 60000\nclose_timeout_ms = 60000\n"
            f"[http]\nport = {self._http_port}\n"
        )

    async def _ready(self, daemon: Program) -> None:
        with trio.move_on_after(READY_TIMEOUT_S):
            while daemon.running:
                status, _ = await get(self._http_port, "/ready")
                if status == HTTPStatus.OK:
                    return
                await trio.sleep(POLL_S)
        why = (
            f"was not ready within {READY_TIMEOUT_S:.0f} s" if daemon.running else "ended before it was ready"
        )
        raise daemon.failure(why)

    async def _calls(self, redis_url: str, daemon: Program) -> None:
        """Play all calls, and show the results until the last call has ended."""
        calls = [one.call for one in self._recordings]
        longest = max(call.seconds for call in self._report.calls.values())
        how_many = f"{len(calls)} calls at once" if len(calls) > 1 else "one call"
        self._console.print(f"\nPlaying {how_many}, {longest:.0f} s in real time. Interim results are grey.")
        for call in calls:
            if call.recording.format.channels > 1:
                self._console.print(f"In {call.interaction_id}, each person has a channel.")
        self._console.print()
        with connect(redis_url) as client:
            reader = TranscriptReader(client, from_start=True)
            with redis_failure(redis_url), TranscriptView(self._console) as view:
                async with trio.open_nursery() as nursery:
                    start = await nursery.start(play, Source(redis_url), calls)
                    with trio.move_on_at(start + math.ceil(longest) + TAIL_TIMEOUT_S):
                        await self._show(reader, view, start)
        if complaints := self._report.complaints():
            raise daemon.failure("did not do its job: " + "; ".join(complaints))

    async def _show(self, reader: TranscriptReader, view: TranscriptView, start: float) -> None:
        for one in self._recordings:
            reader.follow(one.call.interaction_id)
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

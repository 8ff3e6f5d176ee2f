"""A benchmark of trio-asr against the worker one would write today, and against a lower bound.

    python bench/compare.py --calls 100 --seconds 20 --rounds 3

    python bench/compare.py --inputs 1:linear16:json,1:mulaw:json,2:mulaw:msgpack

Each turn is one worker with the same calls, entries and simulator. The turns are interleaved (ours, sdk,
floor, ours, sdk, floor, ...), so that whatever else the machine does affects all of them alike. The worker
has one core; Redis, simulator and feeder have the others. With --inputs all turns are ours, and their calls
differ: channels, encoding, entries. The first is the measure of the others.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trio_asr.lab.load.plan import Plan
from trio_asr.lab.load.report import Report
from trio_asr.lab.load.run import Load, Where
from trio_asr.lab.rig.page import Page
from trio_asr.lab.rig.processes import START_S
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.versions import version_at

HERE = Path(__file__).parent
OURS = "ours"
HEADS = ("worker", "ms/call-s", "spread", "times first", "calls/core", "KB/call", "Redis B/call-s", "lost")


class Other(Load):
    """A run with another worker in the daemon's place."""

    script: Path

    def worker(self, url: str, address: str) -> Program:
        settings = {
            "redis_url": url,
            "deepgram_url": address,
            "audio_stream": self.plan.audio_stream,
            "end_stream": self.plan.end_stream,
            "transcripts": f"{self.prefix}transcript.",
        }
        command = [sys.executable, str(self.script), json.dumps(settings)]
        return Program(self.script.stem, command, self.environment, self.work / "worker.log")

    async def up(self, worker: Program) -> None:
        await worker.start()
        await worker.said("ready", within=START_S)

    async def page(self, worker: Program) -> Page:
        del worker  # it has no metrics
        await trio.lowlevel.checkpoint()
        return Page("")

    async def all_over(self) -> bool:
        await trio.sleep(3)  # nothing announces it
        return True


class Sdk(Other):
    script = HERE / "worker_sdk.py"


class Floor(Other):
    script = HERE / "worker_floor.py"


class Against(Load):
    """A run of our daemon in another version. The other programs are ours, which may have moved since."""


WORKERS: dict[str, type[Load]] = {OURS: Load, "sdk": Sdk, "floor": Floor, "against": Against}


class Side(NamedTuple):
    """One side of a comparison: a worker, and the calls that it gets."""

    kind: type[Load]
    plan: Plan


def sides_of(plan: Plan, inputs: str) -> dict[str, Side]:
    """Return our worker with each of the inputs: `channels:encoding:entries`, with commas between them."""
    sides = {}
    for name in inputs.split(","):
        channels, encoding, entries = name.split(":")
        asked = {"channels": int(channels), "encoding": encoding, "entries": entries}
        sides[name] = Side(Load, msgspec.convert(msgspec.to_builtins(plan) | asked, Plan))
    return sides


class Row(NamedTuple):
    """The figures of one side over all rounds."""

    name: str
    cost: float  # median, in CPU ms per call and second
    low: float
    high: float
    ratio: float  # to the first side's: median of the ratios within each round
    ratio_low: float
    ratio_high: float
    memory_kb: float
    redis_bytes: float  # of audio entries, per call and second
    lost: int


def row(name: str, reports: Sequence[Report], first: Sequence[Report]) -> Row:
    """Return one side's figures, relative to those of the first side."""
    costs = [one.cpu_ms_per_call_second for one in reports]
    ratios = [
        one.cpu_ms_per_call_second / own.cpu_ms_per_call_second
        for one, own in zip(reports, first, strict=True)
    ]
    return Row(
        name,
        statistics.median(costs),
        min(costs),
        max(costs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        statistics.median(one.memory_kb_per_call for one in reports),
        statistics.median(one.redis_bytes_per_call_second for one in reports),
        sum(one.account.lost for one in reports),
    )


def cells(one: Row) -> tuple[str, ...]:
    """Return a row's cells as they are shown."""
    return (
        one.name,
        f"{one.cost:.2f}",
        f"{one.low:.2f}-{one.high:.2f}",
        f"{one.ratio:.2f} ({one.ratio_low:.2f}-{one.ratio_high:.2f})",
        f"{1000 / one.cost:.0f}",
        f"{one.memory_kb:.0f}",
        f"{one.redis_bytes:.0f}",
        f"{one.lost}",
    )


@click.command()
@click.option("--calls", default=100, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Measured in each turn.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--frame-ms", default=20, show_default=True)
@click.option("--wss", is_flag=True)
@click.option("--cpu", default=0, show_default=True, help="The worker's core.")
@click.option("--workers", default="ours,sdk,floor", show_default=True, help="Which, in which order.")
@click.option("--inputs", default="", help="Ours with each of these inputs: 1:linear16:json,2:mulaw:msgpack")
@click.option(
    "--against", default="", help="Ours before and after: a checkout's src, a venv or an interpreter."
)
@click.option("--markdown", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    *,
    calls: int,
    seconds: float,
    rounds: int,
    frame_ms: int,
    wss: bool,
    cpu: int,
    workers: str,
    inputs: str,
    against: str,
    markdown: bool,
    as_json: bool,
) -> None:
    """Compare workers; see the top of bench/compare.py."""
    if against:
        Against.version = version_at(Path(against))
    where = Where("", wss, {cpu}, os.sched_getaffinity(0) - {cpu})
    plan = Plan(calls, seconds, frame_ms, ramp_s=max(2.0, calls / 50))
    names = [OURS, "against"] if against else workers.split(",")
    sides = sides_of(plan, inputs) if inputs else {name: Side(WORKERS[name], plan) for name in names}
    console = Console(stderr=True, highlight=False)
    reports: dict[str, list[Report]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            report = turn(side.kind, side.plan, where)
            reports[name].append(report)
            console.print(f"round {number + 1}, {name}: {report.cpu_ms_per_call_second:.3f} ms", style="dim")
    first = next(iter(reports.values()))
    rows = [row(name, reports[name], first) for name in sides]
    if as_json:
        click.echo(msgspec.json.encode({"rows": rows, "reports": reports}))
    elif markdown:
        for line in (HEADS, ["---", *["--:"] * (len(HEADS) - 1)], *map(cells, rows)):
            click.echo(f"| {' | '.join(line)} |")
    else:
        table = Table(*HEADS, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for one in rows:
            table.add_row(*cells(one))
        Console().print(table)


def turn(kind: type[Load], plan: Plan, where: Where) -> Report:
    """Run one worker once."""
    with tempfile.TemporaryDirectory(prefix="trio-asr-bench-") as work:
        return trio.run(kind(plan, where, Path(work), lambda _phase, _passed: None).run)


if __name__ == "__main__":
    main()

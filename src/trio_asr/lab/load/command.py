"""The command `trio-asr load`: what a call costs on this machine, and how many calls it carries."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import redis
import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from trio_asr.client.producer import Entries
from trio_asr.client.redis import RedisFailure
from trio_asr.config.fleet import MAX_SHARDS
from trio_asr.lab.load.plan import Plan
from trio_asr.lab.load.report import Report, table
from trio_asr.lab.load.run import IDLE_S, Load, Where
from trio_asr.lab.rig.programs import RigError
from trio_asr.lab.rig.valkey import EmbeddedServerError
from trio_asr.wire.audio_format import SILENCE, Encoding

_FAILURES = (EmbeddedServerError, RedisFailure, RigError, redis.RedisError)


def _numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers like 50,100,200") from None
    if any(number < 1 for number in numbers):
        raise click.BadParameter("at least 1 call")
    return numbers


@click.command()
@click.option(
    "--calls", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Concurrent calls."
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=30,
    show_default=True,
    help="Length of the measured window.",
)
@click.option("--ramp", type=click.FloatRange(0.1, 600), help="Seconds within which the calls begin.")
@click.option("--redis-url", default="", help="An existing Redis to use instead of a new one.")
@click.option(
    "--frame-ms", type=click.IntRange(4, 1000), default=20, show_default=True, help="Length of a frame."
)
@click.option(
    "--rate", type=click.IntRange(4000, 48000), default=8000, show_default=True, help="Sample rate in Hz."
)
@click.option(
    "--channels", type=click.IntRange(1, 2), default=1, show_default=True, help="Channels of each call."
)
@click.option(
    "--encoding",
    type=click.Choice(list(SILENCE)),
    default="linear16",
    show_default=True,
    help="Encoding of the audio.",
)
@click.option(
    "--entries",
    type=click.Choice([one.value for one in Entries]),
    default=Entries.JSON.value,
    show_default=True,
    help="How entries are written.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, MAX_SHARDS),
    default=1,
    show_default=True,
    help="Let the daemon be the only member of a fleet.",
)
@click.option("--wss", is_flag=True, help="Let the simulator speak TLS, as Deepgram does.")
@click.option(
    "--pin-daemon", type=int, metavar="CPU", help="Pin the daemon to this CPU, and keep all else off it."
)
@click.option("--sweep", callback=_numbers, metavar="N,N,...", help="One run for each number of calls.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--keep-logs", type=click.Path(path_type=Path, file_okay=False), help="Keep the logs in this folder."
)
def load(
    *,
    calls: int,
    seconds: float,
    ramp: float | None,
    redis_url: str,
    frame_ms: int,
    rate: int,
    channels: int,
    encoding: Encoding,
    entries: str,
    shards: int,
    wss: bool,
    pin_daemon: int | None,
    sweep: list[int],
    as_json: bool,
    keep_logs: Path | None,
) -> None:
    """Load the daemon with calls and measure what they cost.

    Starts a Valkey server, the simulator and the daemon as separate processes and feeds calls of generated
    audio in real time. After a ramp and a warm-up it measures CPU and memory per call, delays in both
    directions, and whether any sample was lost. Exits with 1 if one was, or if the machine could not feed in
    time.

    The simulator costs about as much as the daemon. So give the daemon a core of its own (--pin-daemon) and
    watch what the others use: if they cannot keep up, that is not the daemon's fault.
    """
    where = Where(redis_url, wss, *_cpus(pin_daemon))
    plans = [
        Plan(
            number,
            seconds,
            frame_ms,
            rate,
            ramp if ramp is not None else max(2.0, number / 40),
            channels=channels,
            encoding=encoding,
            entries=Entries(entries),
            shards=shards,
        )
        for number in sweep or [calls]
    ]
    console = Console(stderr=as_json, highlight=False)
    reports = []
    for plan in plans:
        reports.append(_one(plan, where, console, keep_logs))
        if not as_json:
            console.print(table(reports[-1]))
        for complaint in reports[-1].complaints:
            console.print(complaint, style="red")
    if as_json:
        click.echo(msgspec.json.encode(reports if sweep else reports[0]))
    if any(one.complaints for one in reports):
        sys.exit(1)


def _cpus(daemon: int | None) -> tuple[set[int], set[int]]:
    """Return the daemon's CPUs and those of all others; empty sets leave the choice to the system."""
    if daemon is None:
        return set(), set()
    there = os.sched_getaffinity(0)
    if daemon not in there:
        raise click.BadParameter(f"there is no CPU {daemon} here", param_hint="--pin-daemon")
    return {daemon}, there - {daemon}


def _one(plan: Plan, where: Where, console: Console, keep_logs: Path | None) -> Report:
    with tempfile.TemporaryDirectory(prefix="trio-asr-load-") as temporary, _bar(console, plan) as progress:
        work = keep_logs or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        task = progress.add_task(f"{plan.calls} calls: starting", total=plan.length_s + IDLE_S)

        def show(phase: str, passed: float) -> None:
            done = passed + (IDLE_S if phase != "idle" else 0)
            progress.update(task, description=f"{plan.calls} calls: {phase}", completed=done)

        try:
            return trio.run(Load(plan, where, work, show).run)
        except _FAILURES as error:
            raise click.ClickException(str(error)) from error


@contextmanager
def _bar(console: Console, plan: Plan) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:24}"), BarColumn(), TimeRemainingColumn())
    if not console.is_terminal:
        console.print(f"{plan.calls} calls, {plan.length_s + IDLE_S:.0f} s ...")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress

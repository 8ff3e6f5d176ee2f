"""The command `trio-asr chaos`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console

from trio_asr.client.producer import Entries
from trio_asr.lab.chaos import report
from trio_asr.lab.chaos.fleet_mix import MIXES
from trio_asr.lab.chaos.mix import Mix, mixed
from trio_asr.lab.chaos.row import Row
from trio_asr.lab.chaos.rows import ROWS
from trio_asr.lab.chaos.running import Outcome, Terms, play
from trio_asr.lab.rig.versions import Version, version_at
from trio_asr.wire.audio_format import SILENCE, Encoding

#: Settings that the rig keeps from an operator's file: they say where things are.
NOT_TAKEN = {
    "redis": ("url", "audio_stream", "call_end_stream", "transcript_stream", "events_stream"),
    "deepgram": ("url", "api_key_file"),
    "http": ("host", "port"),
    "asr": ("provider",),
    "bus": ("adapter",),
    "fleet": ("shards", "member", "generation"),
}


@click.command()
@click.argument("names", nargs=-1, metavar="[ROW]...")
@click.option("--list", "list_rows", is_flag=True, help="List the rows and exit.")
@click.option("--quick", is_flag=True, help="Only the rows of the quick subset: about two minutes.")
@click.option("--jobs", type=click.IntRange(1, 16), default=3, show_default=True, help="Rows to run at once.")
@click.option(
    "--calls",
    type=click.IntRange(0, 2000),
    default=0,
    help="At least this many calls in every row, to rehearse under load.  [default: the row's own, mostly 6]",
)
@click.option(
    "--channels",
    type=click.IntRange(1, 2),
    default=1,
    help="At least so many channels in every call.  [default: the row's own, mostly 1]",
)
@click.option(
    "--encoding",
    type=click.Choice(list(SILENCE)),
    help="Encoding of the audio.  [default: the row's own, mostly linear16]",
)
@click.option(
    "--entries",
    type=click.Choice([one.value for one in Entries]),
    help="How entries are written.  [default: the row's own, mostly json]",
)
@click.option("--position", is_flag=True, help="Let every entry tell its position in the call.")
@click.option("--wss", is_flag=True, help="Connect over TLS, as in production.")
@click.option(
    "--beside",
    type=click.Path(exists=True, path_type=Path),
    help="Another version for the rows with two: a checkout's src, a virtual environment or an interpreter.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rehearse with your own settings, but for the addresses of Redis and Deepgram.",
)
@click.option(
    "--random",
    "seed",
    type=int,
    help="Mix faults at random, from this seed, instead of playing rows: those of a single worker, or of the "
    "mixes named (fleet-mix, cluster-mix).",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.5, 24 * 60),
    default=5.0,
    show_default=True,
    help="Length of --random.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option(
    "--logs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the logs of all processes here; by default only those of broken rows are kept.",
)
def chaos(
    names: tuple[str, ...],
    *,
    list_rows: bool,
    quick: bool,
    jobs: int,
    calls: int,
    channels: int,
    encoding: Encoding | None,
    entries: str | None,
    position: bool,
    wss: bool,
    beside: Path | None,
    config: Path | None,
    seed: int | None,
    minutes: float,
    as_json: bool,
    markdown: bool,
    logs: Path | None,
) -> None:
    """Rehearse faults with real processes, and account for every sample.

    Each row starts its own Valkey, simulator and daemon and plays calls whose audio says of each sample where
    it belongs. Meanwhile it injects a fault, and afterwards it counts what came out. The exit code is 1 if a
    promise is broken: samples lost, doubled or shifted, a call with two sockets, a daemon that ended.
    """
    if list_rows:
        for row in ROWS:
            click.echo(f"{row.name:16} {row.title}{'  (quick)' if row.quick else ''}")
        return
    rows = choose(names, quick=quick) if seed is None else [mix(seed, minutes) for mix in mixes(names)]
    own = own_settings(config) if config else {}
    written = Entries(entries) if entries else None
    terms = Terms(own, calls, wss, channels, encoding, written, position, other_version(beside))
    console = Console(stderr=True)
    rows = fitting(rows, terms, console)
    work = logs or Path(tempfile.mkdtemp(prefix="trio-asr-chaos-"))
    console.print(f"{len(rows)} rows, {jobs} at once; logs in {work}")

    def told(outcome: Outcome) -> None:
        console.print(report.line(outcome), markup=False, style="" if outcome.ok else "red")
        if outcome.ok and logs is None:
            shutil.rmtree(work / outcome.row.name, ignore_errors=True)

    outcomes = trio.run(partial(play, rows, work, jobs=jobs, terms=terms, told=told))
    if as_json:
        click.echo(json.dumps(report.document(outcomes), indent=1))
    elif markdown:
        click.echo(report.markdown(outcomes))
    else:
        report.show(Console(width=None if sys.stdout.isatty() else 120), outcomes)
    if all(outcome.ok for outcome in outcomes):
        if logs is None:
            shutil.rmtree(work, ignore_errors=True)
        return
    raise click.ClickException(f"a promise is broken; logs in {work}")


def fitting(rows: Sequence[Row], terms: Terms, console: Console) -> list[Row]:
    """Return the rows that can be played on these terms; say why of the others."""
    reasons = {row.name: terms.unfit(row) for row in rows}
    for name, reason in reasons.items():
        if reason:
            console.print(f"{name} is not played: {reason}", markup=False)
    return [row for row in rows if not reasons[row.name]]


def choose(names: Sequence[str], *, quick: bool) -> list[Row]:
    """Return the rows named, else all; with `quick` only those of the quick subset.

    Raises:
        click.UsageError: A name is not that of a row.
    """
    known = {row.name: row for row in ROWS}
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"There is no row {unknown[0]!r}; --list names them.")
    chosen = [known[name] for name in dict.fromkeys(names)] or list(ROWS)
    return [row for row in chosen if row.quick or not quick]


def mixes(names: Sequence[str]) -> list[Mix]:
    """Return the mixes of these names; without one that of a single worker.

    Raises:
        click.UsageError: A name is not that of a mix.
    """
    if other := [name for name in names if name not in MIXES]:
        raise click.UsageError(f"{other[0]!r} is no mix for --random; these are: {', '.join(MIXES)}.")
    return [MIXES[name] for name in names] or [mixed]


def other_version(place: Path | None) -> Version | None:
    """Return the version at a place, or None without a place.

    Raises:
        click.UsageError: There is none.
    """
    try:
        return None if place is None else version_at(place)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def own_settings(config: Path) -> dict[str, dict[str, Any]]:
    """Return an operator's settings less those that the rig decides.

    Raises:
        click.UsageError: The file cannot be read or is not TOML.
    """
    try:
        document = tomllib.loads(config.read_text())
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{config}: {error}") from error
    return {
        section: {name: value for name, value in keys.items() if name not in NOT_TAKEN.get(section, ())}
        for section, keys in document.items()
        if isinstance(keys, dict)
    }

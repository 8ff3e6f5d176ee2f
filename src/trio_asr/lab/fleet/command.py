"""The command `trio-asr fleet`: what a fleet of a size would do and need."""

from __future__ import annotations

import math

import click

from trio_asr.core.fleet.beat import MAX_SHARDS
from trio_asr.lab.fleet.needs import needs, warnings
from trio_asr.lab.fleet.phases import Phase, Play

ROW = "{:<20} {:>7} {:>12} {:>11} {:>13} {:>15}"


@click.group()
def fleet() -> None:
    """Plan a fleet of workers."""


@fleet.command()
@click.option(
    "--calls", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="At the peak."
)
@click.option("--members", type=click.IntRange(2, 1000), default=4, show_default=True, help="Workers.")
@click.option(
    "--shards", type=click.IntRange(2, MAX_SHARDS), default=64, show_default=True, help="fleet.shards."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same table.")
@click.option(
    "--lease-ms", type=click.IntRange(1000, 60_000), default=5000, show_default=True, help="redis.lease_ms."
)
@click.option(
    "--minutes", type=click.IntRange(1, 600), default=10, show_default=True, help="Length of the idle part."
)
def plan(*, calls: int, members: int, shards: int, seed: int, lease_ms: int, minutes: int) -> None:
    """Play a fleet on a virtual clock by the real rules, and say what it costs and needs."""
    if members > shards:
        raise click.UsageError(f"{members} members cannot share {shards} shards: some would have none")
    each = math.ceil(calls / shards)
    heads = ("", "moves", "moves/needed", "unowned s", "worst member", "handshakes/s")
    click.echo(ROW.format(*heads).rstrip())
    for phase in Play(shards, members, seed, lease_ms / 1000, minutes * 60).phases():
        click.echo(ROW.format(*_cells(phase, each)))
    click.echo()
    for name, figure in needs(calls, members, shards):
        click.echo(f"{name:<52} {figure:>10}")
    for warning in warnings(calls, members, shards):
        click.echo(f"warning: {warning}")


def _cells(phase: Phase, calls: int) -> tuple[str, ...]:
    ratio = f"{phase.moves / phase.needed:.2f}" if phase.needed else "-"
    return (
        phase.name,
        str(phase.moves),
        ratio,
        f"{phase.unowned_s:.1f}",
        f"{phase.worst * calls} calls",
        str(phase.peak * calls),
    )

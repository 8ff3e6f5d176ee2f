"""The command `trio-asr fleet`: how large a fleet has to be, and how it behaves."""

from __future__ import annotations

import click

from trio_asr.config.fleet import MAX_SHARDS
from trio_asr.lab.fleet.needs import needs, warnings
from trio_asr.lab.fleet.scenes import Row, Shape, play

HEAD = ("scene", "moves", "per shard", "unowned", "peace", "spread", "calls", "dials/s")


@click.group()
def fleet() -> None:
    """Plan a fleet of workers."""


@fleet.command()
@click.option("--calls", type=click.IntRange(1, 1_000_000), default=100_000, show_default=True)
@click.option("--members", type=click.IntRange(2, 1000), default=200, show_default=True)
@click.option("--shards", type=click.IntRange(2, MAX_SHARDS), default=2048, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another course.")
@click.option("--lease-ms", type=click.IntRange(1000, 60_000), default=5000, show_default=True)
@click.option(
    "--minutes",
    type=click.FloatRange(1, 1440),
    default=60,
    show_default=True,
    help="Length of the idle time.",
)
def plan(*, calls: int, members: int, shards: int, seed: int, lease_ms: int, minutes: float) -> None:
    """Simulate a fleet by the real rules, and say what it needs.

    Plays what happens in its life on a virtual clock. "per shard" are moves per shard that had to move;
    "unowned" is the longest that a shard was nobody's and "peace" when the last one moved, in seconds;
    "spread" the fewest and the most shards of a member at the end; "calls" the most that a member had;
    "dials/s" the most connections dialled in any second by all members together.
    """
    if shards < members:
        raise click.BadParameter(f"{shards} shards are too few for {members} members: each needs one")
    shape = Shape(calls, members, shards, seed, lease_ms, minutes)
    rows = play(shape, lambda scene: click.echo(f"... {scene}", err=True))
    for line in [HEAD, *map(_cells, rows)]:
        click.echo(f"{line[0]:<22}" + "".join(f"{cell:>10}" for cell in line[1:]))
    click.echo()
    for name, value in needs(shape):
        click.echo(f"{name:<48}{value:>16}")
    for text in warnings(shape):
        click.echo(f"Warning: {text}")


def _cells(row: Row) -> tuple[str, ...]:
    per_shard = "-" if row.per_shard is None else f"{row.per_shard:.2f}"
    low, high = row.spread
    return (
        row.scene,
        str(row.moves),
        per_shard,
        f"{row.unowned_s:.1f}",
        f"{row.peace_s:.1f}",
        f"{low}-{high}",
        str(row.worst_calls),
        str(row.handshakes),
    )

"""The table of results, for people, for the README and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from trio_asr.lab.chaos.running import Outcome

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = (
    "fault",
    "samples in",
    "in a final",
    "given up",
    "lost",
    "doubled",
    "shift, ms",
    "sockets",
    "silence, s",
    "recovery, s",
)
#: The meaning of the columns, shown under the table.
LEGEND = (
    "Samples in: accepted by Redis. In a final: inside at least one committed final; doubled: in one more. "
    "Given up: inside a committed gap, with its reason. Lost: in neither. Shift: the furthest that a word "
    "was from where its samples belong. Sockets: the most that one call had, one after another. Silence: the "
    "longest that an open connection heard nothing of the daemon. Recovery: from the end of the fault (of a "
    "killed, stopped or frozen daemon: from its beginning) until the last of the calls had published a final "
    "again. Of calls through the ingest samples in are all that were spoken, whether Redis has them or not; "
    "not sent are those spoken while the platform had no socket for the call, not stored those that a "
    "gateway had not put on Redis when it was killed, or when another socket took the call."
)


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print the table, and under it the broken promises."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "fault" else "right")
    for outcome in outcomes:
        # The name fits a terminal and is what `chaos NAME` takes; the titles are for readers.
        table.add_row(outcome.row.name, *cells(outcome)[1:], style="" if outcome.ok else "red")
    console.print(table)
    console.print(LEGEND, style="dim", markup=False)
    for outcome in outcomes:
        for broken in outcome.broken:
            console.print(f"{outcome.row.name}: {broken}", style="red", markup=False)


def line(outcome: Outcome) -> str:
    """Return one line about a finished row."""
    said = "; ".join(outcome.broken) if outcome.broken else ", ".join(outcome.notes)
    return f"{'ok    ' if outcome.ok else 'BROKEN'} {outcome.row.name} ({outcome.seconds:.0f} s) {said}"


def cells(outcome: Outcome) -> list[str]:
    """Return a row's cells in the order of `COLUMNS`."""
    given_up = ", ".join(f"{samples} {reason}" for reason, samples in sorted(outcome.gaps.items()))
    return [
        outcome.row.title,
        str(outcome.samples),
        str(outcome.covered),
        given_up or "0",
        str(outcome.lost),
        str(outcome.doubled),
        f"{outcome.shift_ms:.0f}",
        str(outcome.connections),
        f"{outcome.silence_s:.1f}",
        "" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f}",
    ]


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table as Markdown, for the README."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    lines += ["| " + " | ".join(cells(outcome)) + " |" for outcome in outcomes]
    return "\n".join([*lines, "", LEGEND])


def document(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the rows for programs."""
    return [
        {"name": outcome.row.name, "title": outcome.row.title, "ok": outcome.ok}
        | {one.name: getattr(outcome, one.name) for one in dataclasses.fields(outcome) if one.name != "row"}
        for outcome in outcomes
    ]

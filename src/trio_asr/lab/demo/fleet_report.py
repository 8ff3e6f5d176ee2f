"""What the fleet's demo saw: who held which shard, and what became of each call. Pure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.demo.tables import plain_table
from trio_asr.lab.rig.account import Account

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_asr.lab.rig.count import CallAccount
    from trio_asr.lab.rig.evidence import Document, Evidence

COUNTS = ("samples", "lost", "doubled")
HEADINGS = (
    "calls",
    "recon-\nnects",
    "longest\nwait",
    "samples\nlost",
    "samples\ndoubled",
)


@dataclass
class FleetReport:
    """The record of one demo.

    `before` and `after` are the holders of the shards: before the worker `killed` was, and in the end.
    `ownerless` are the seconds from its death until another one held a shard, by shard. `waits` are the most
    seconds from a call's final to its next.
    """

    workers: Sequence[str]
    before: list[str] = field(default_factory=list[str])
    after: list[str] = field(default_factory=list[str])
    killed: str = ""
    ownerless: dict[int, float] = field(default_factory=dict[int, float])
    account: Account = field(default_factory=lambda: Account({}))
    waits: dict[str, float] = field(default_factory=dict[str, float])

    def count(self, account: Account, evidence: Evidence) -> None:
        """Take what was published of the calls."""
        self.account = account
        self.waits = {name: _longest_wait_s(found) for name, found in evidence.transcripts.items()}

    def calls(self, worker: str) -> list[CallAccount]:
        """Return the calls whose shards a worker held before."""
        shards = shards_of(worker, self.before)
        return [
            call for name, call in self.account.calls.items() if shard_of(name, len(self.before)) in shards
        ]

    def complaints(self) -> dict[str, str]:
        """Return what is not whole, by call."""
        found = {name: _complaint(call) for name, call in self.account.calls.items()}
        return {name: complaint for name, complaint in found.items() if complaint}

    def table(self) -> Table:
        """Return a table with one row per worker."""
        table = plain_table("What the shards and the calls came to")
        for heading in ("worker", "shards\nbefore", "shards\nafter"):
            table.add_column(heading, no_wrap=True)
        for heading in HEADINGS:
            table.add_column(heading, justify="right", no_wrap=True)
        for worker in self.workers:
            calls = self.calls(worker)
            after = "killed" if worker == self.killed else listed(shards_of(worker, self.after))
            table.add_row(
                worker,
                listed(shards_of(worker, self.before)),
                after,
                str(len(calls)),
                _range(call.connections - 1 for call in calls),
                f"{max((self.waits[call.id] for call in calls), default=0.0):.1f} s",
                str(sum(call.total("lost") for call in calls)),
                str(sum(call.total("doubled") for call in calls)),
            )
        return table

    def footer(self) -> str:
        """Return what the table comes to."""
        calls, counts = len(self.account.calls), [self.account.total(name) for name in COUNTS]
        return (
            f"The shards of {self.killed} were without a worker for {min(self.ownerless.values()):.1f} to "
            f"{max(self.ownerless.values()):.1f} s. All {counts[0]:,} samples of {calls} calls are in final "
            f"transcripts, each of them once: lost {counts[1]}, doubled {counts[2]}. Calls are those that a "
            "worker had at first, reconnects are of each call, and a wait is from one final to the next."
        )


def shards_of(worker: str, holders: Sequence[str]) -> list[int]:
    """Return the shards that a worker holds."""
    return [shard for shard, holder in enumerate(holders) if holder == worker]


def listed(shards: Sequence[int]) -> str:
    """Return shards as text for people."""
    return " ".join(map(str, shards))


def _longest_wait_s(transcripts: Iterable[Document]) -> float:
    """Return the most seconds from a final of a call to its next."""
    finals_ms = [one["timestamp_ms"] for one in transcripts if one["type"] == "final"]
    return max((later - earlier for earlier, later in itertools.pairwise(finals_ms)), default=0) / 1000


def _complaint(call: CallAccount) -> str:
    """Return what is not whole of a call, or "" if nothing is."""
    counts = {
        "lost": call.total("lost"),
        "doubled": call.total("doubled"),
        "given up": sum(call.gaps.values()),
        "of another call": call.strangers,
    }
    wrong = [f"{count} samples {what}" for what, count in counts.items() if count] + call.faults
    wrong += [] if call.ended else ["it did not end"]
    return ", ".join(wrong)


def _range(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers)) or [0]
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"

"""A smoke test of each shard of a fleet: a short call in every one, a few at once."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping

import trio

from trio_asr.commands.doctor.findings import Finding, Level, Report
from trio_asr.core.fleet.route import shard_of

AT_ONCE = 8

Play = Callable[[str, Report], Awaitable[None]]


def names(prefix: str, shards: int, wanted: Collection[int]) -> dict[int, str]:
    """Return for each wanted shard, in order, the id of a call of it; all begin with `prefix`."""
    found: dict[int, str] = {}
    while len(found) < len(wanted):
        name = f"{prefix}smoke-{secrets.token_hex(6)}"
        if (shard := shard_of(name, shards)) in wanted:
            found[shard] = name
    return dict(sorted(found.items()))


async def play_all(calls: Mapping[int, str], play: Play, report: Report) -> None:
    """Play a call in each shard, and report in one line for each what came of it.

    `play` reports on a call's steps. What it reports as failed is reported, with the shard's name.
    """
    places = trio.CapacityLimiter(AT_ONCE)

    async def one(shard: int, name: str) -> None:
        findings: list[Finding] = []
        async with places:
            await play(name, Report(findings.append))
        failed = [finding for finding in findings if finding.level is Level.FAIL]
        for finding in failed:
            says = f"{name}, {finding.check}: {finding.says}"
            report.fail(f"shard {shard}", says, finding.advice)
        if not failed:
            report.ok(f"shard {shard}", f"{name}: transcripts came over one connection")

    async with trio.open_nursery() as nursery:
        for shard, name in calls.items():
            nursery.start_soon(one, shard, name)

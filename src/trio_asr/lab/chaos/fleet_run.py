"""What a row of a fleet works with: members by name, who holds what, and who is to notice nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio

from trio_asr.core.fleet.places import Places
from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.chaos.row import ChaosRun, Check, Finding, Row, no_check
from trio_asr.lab.rig.account import Account, connections_of, longest_quiet_s
from trio_asr.lab.rig.feeder import FedCall, calls
from trio_asr.lab.rig.fleet import Holders, Owners, owned_by, shared_by

SHARDS, CALLS = 8, 24
PLACES = Places(SHARDS)
SECONDS = 30.0
START_S = 5.0
OWNED_AGAIN_S = 5.0 + 3.0  # after a death: the lease, and the moment in which it is noticed and taken
LEAVES_S = 5.0  # a member with its part of the shards, four at a time
UNFED_S = 2.0  # of a call whose shard is handed over; and most silence of one that is to notice nothing
QUIET_S = 3.0  # from a final to the next one, of a call that is to notice nothing; one comes every second
BUSY = 1.5  # on a machine with few cores all of this may take longer

Deed = Callable[["FleetRun"], Awaitable[None]]


class FleetRun:
    """A run with members by name, and who holds what while it goes on.

    `names` are those of the members that are to be there, a letter each. `chance` decides where a seed does.
    """

    def __init__(self, run: ChaosRun, owners: Owners, names: str) -> None:
        self.run, self.owners, self.names = run, owners, names
        self.chance = random.Random(0)  # noqa: S311 (not for secrets)

    def concerns(self, shards: Iterable[int]) -> None:
        """Say which shards the fault concerns, too: the calls of all others are to notice nothing."""
        self.run.concerned = (self.run.concerned or frozenset()) | {*shards}

    @contextmanager
    def stalls(self) -> Iterator[None]:
        """Let calls stand still for the block; afterwards none may for longer."""
        since, before = trio.current_time(), self.run.stalled_s
        yield
        took = trio.current_time() - since
        self.run.stalled_s = took if before == math.inf else max(before, took)

    def held_by(self, names: str) -> list[int]:
        """Return the shards that these members hold."""
        return [shard for shard, holder in enumerate(self.owners.now) if holder and holder in names]

    async def join(self, name: str, **fleet: Any) -> None:
        """Start another member, or one of before again, and wait until it is up."""
        workers = self.run.rig.workers
        # One of before has another port: its old one may be somebody else's by now.
        workers[:] = [worker for worker in workers if worker.name != name]
        member = self.run.rig.member(name, **fleet)
        await member.start()
        self.names += name
        await member.is_up()

    async def leave(self, name: str) -> None:
        """Let a member go (SIGTERM), which it does with exit code 0."""
        self.names = self.names.replace(name, "")
        code = await self.run.member(name).stop(LEAVES_S * BUSY)
        if code:
            self.run.broken.append(f"exit code {code} of {name} after SIGTERM")

    async def kill(self, names: str) -> None:
        """Kill members at once."""
        self.names = "".join(name for name in self.names if name not in names)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self.run.member(name).kill)
        self.run.over()

    async def owned_by(self, names: str, within: float) -> None:
        """Wait until these members hold all shards."""
        await self.become(f"held by {names}", lambda holders: owned_by(holders, names), within)

    async def shared_by(self, names: str, within: float) -> None:
        """Wait until these members share the shards."""
        await self.become(f"shared by {names}", lambda holders: shared_by(holders, names), within)

    async def become(self, what: str, wanted: Callable[[Holders], bool], within: float) -> None:
        """Wait until the holders are as wanted; if they are not in time, that is a broken promise."""
        since = trio.current_time()
        done = await self.owners.become(wanted, within * BUSY)
        self.run.notes.append(f"{what} after {trio.current_time() - since:.1f} s")
        if not done:
            self.run.broken.append(f"not {what} within {within * BUSY:.1f} s, but {list(self.owners.now)}")


async def _watched(run: ChaosRun, deed: Deed, names: str, until_s: float) -> None:
    """Do a deed while the holders are watched, until the calls are over."""
    owners = Owners(run.rig.valkey.url, run.rig.places)
    async with trio.open_nursery() as nursery:
        await nursery.start(owners.watch)
        await run.at(START_S)
        await deed(FleetRun(run, owners, names))
        await run.at(until_s)
        nursery.cancel_scope.cancel()
    run.moves = owners.moves


def _missing(account: Account, call: FedCall) -> int:
    """Return the samples of a call that Redis has acknowledged, and no longer has."""
    there = account.calls[call.id]
    return call.samples * len(there.channels) - there.total("samples")


def _part(values: Sequence[float], part: float) -> float:
    """Return what such a part of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)] if values else 0.0


def noticed(finding: Finding) -> list[str]:
    """Return what the calls noticed whose shards the fault does not concern, though it should be nothing."""
    run, concerned = finding.run, finding.run.concerned
    if concerned is None:
        return []
    moved = [shard for shard, moves in enumerate(run.moves) if moves and shard not in concerned]
    names = [name for name in finding.account.calls if shard_of(name, SHARDS) not in concerned]
    opened = connections_of(finding.evidence)
    most = max((len(opened.get(name, ())) for name in names), default=0)
    unfed = max((one["silence_s"] for name in names for one in opened.get(name, ())), default=0.0)
    quiet = longest_quiet_s(finding.evidence, names)
    run.notes.append(f"{len(names)} calls aside: {unfed:.1f} s unfed, {quiet:.1f} s from final to final")
    broken = {
        f"shards moved that it does not concern: {moved}": moved,
        f"a call that it does not concern had {most} connections": most > 1,
        f"a call that it does not concern was not fed for {unfed:.1f} s": unfed > UNFED_S * BUSY,
        f"a call that it does not concern had no final for {quiet:.1f} s": quiet > QUIET_S * BUSY,
    }
    return [text for text, is_broken in broken.items() if is_broken]


def fleet_row(
    name: str,
    title: str,
    deed: Deed,
    members: str = "abc",
    *,
    moves: range,
    most: int = 1,
    dials: int | None = None,
    unfed_s: float = OWNED_AGAIN_S,
    seconds: float = SECONDS,
    make: Callable[[], list[FedCall]] | None = None,
    gone: bool = False,
    places: Places = PLACES,
    also: Check = no_check,
    **more: Any,
) -> Row:
    """Return a row whose shards move `moves` times in all, and `most` times each.

    No call may have more than `dials` connections, by default one for each move and one more, nor be without
    one that is fed for more than `unfed_s` seconds. With `gone` Redis may lose what it has acknowledged.
    """
    made = make or partial(calls, CALLS, seconds)

    def check(finding: Finding) -> list[str]:
        run, account = finding.run, finding.account
        missing = sum(_missing(account, call) for call in made())
        quiet = longest_quiet_s(finding.evidence, account.calls)
        unfed = "/".join(f"{_part(account.pauses_s, part):.2f}" for part in (0.5, 0.95, 1.0))
        run.notes.append(f"{sum(run.moves)} moves, p50/p95/worst {unfed} s unfed, {missing} gone with Redis")
        run.notes.append(f"{quiet:.1f} s from final to final")
        broken = {
            f"{missing} samples acknowledged, and gone": missing and not gone,
            f"{sum(run.moves)} moves: {run.moves}": sum(run.moves) not in moves or max(run.moves) > most,
            f"a call was not fed for {account.unfed_s:.1f} s": account.unfed_s > unfed_s * BUSY,
            f"a call had no final for {quiet:.1f} s": quiet > run.stalled_s + QUIET_S * BUSY,
        }
        broken_here = [text for text, is_broken in broken.items() if is_broken]
        return broken_here + noticed(finding) + also(finding)

    return Row(
        name,
        title,
        partial(_watched, deed=deed, names=members, until_s=seconds),
        made,
        places=places,
        members=members,
        connections=1 + most if dials is None else dials,
        check=check,
        **more,
    )

"""Faults of a fleet: members that join, leave, die and freeze while shards are on the move."""

from __future__ import annotations

import math
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import trio

from trio_asr.lab.chaos.row import ChaosRun, Finding, Row
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.feeder import FedCall, calls
from trio_asr.lab.rig.fleet import Owners, owned_by, shared_by

SHARDS, CALLS = 8, 24
SECONDS, QUICK_S = 30.0, 20.0
START_S = 5.0
OWNED_AGAIN_S = 5.0 + 3.0  # after a death: the lease, and the moment in which it is noticed and taken
LEAVES_S = 5.0  # a member with its part of the shards, four at a time
JOINS_S = 12.0  # a new member waits until all is quiet, and then asks for one shard after another
DEPLOYED_S = 12.0  # a member of a new deployment waits longer, for those before it to leave
UNFED_S = 2.0  # of a call whose shard is handed over
BUSY = 1.5  # on a machine with few cores all of this may take longer
FREEZE_S = 20.0

Deed = Callable[["FleetRun"], Awaitable[None]]


class FleetRun:
    """A run with members by name, and who holds what while it goes on."""

    def __init__(self, run: ChaosRun, owners: Owners) -> None:
        self.run, self.owners = run, owners

    async def join(self, name: str, **fleet: Any) -> None:
        """Start another member."""
        await self.run.rig.member(name, **fleet).start()

    async def leave(self, name: str) -> None:
        """Let a member go (SIGTERM), which it does with exit code 0."""
        code = await self.run.member(name).stop(LEAVES_S * BUSY)
        if code:
            self.run.broken.append(f"exit code {code} of {name} after SIGTERM")

    async def owned_by(self, names: str, within: float) -> None:
        """Wait until these members hold all shards."""
        await self._become(f"held by {names}", lambda holders: owned_by(holders, names), within)

    async def shared_by(self, names: str, within: float) -> None:
        """Wait until these members share the shards."""
        await self._become(f"shared by {names}", lambda holders: shared_by(holders, names), within)

    async def _become(self, what: str, wanted: Callable[[Any], bool], within: float) -> None:
        since = trio.current_time()
        done = await self.owners.become(wanted, within * BUSY)
        self.run.notes.append(f"{what} after {trio.current_time() - since:.1f} s")
        if not done:
            self.run.broken.append(f"not {what} within {within * BUSY:.1f} s, but {list(self.owners.now)}")


async def _two_join(fleet: FleetRun) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fleet.join, "c")
        nursery.start_soon(fleet.join, "d")
    await fleet.shared_by("abcd", JOINS_S)


async def one_leaves(fleet: FleetRun) -> None:
    await fleet.leave("a")
    await fleet.owned_by("bc", 1.0)


async def kill(fleet: FleetRun, names: str, others: str) -> None:
    """Kill members at once; the others hold all that was theirs before long."""
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(fleet.run.member(name).kill)
    fleet.run.over()
    await fleet.owned_by(others, OWNED_AGAIN_S)


async def _freeze(fleet: FleetRun) -> None:
    """Freeze a member; once it wakes it gets its share of the shards again."""
    fleet.run.member("a").freeze()
    fleet.run.over()
    await fleet.owned_by("bc", OWNED_AGAIN_S)
    await fleet.run.at(START_S + FREEZE_S)
    fleet.run.member("a").thaw()
    await fleet.shared_by("abc", JOINS_S)


async def _granted(fleet: FleetRun, name: str) -> str:
    """Let a member go; return an heir, once a shard is on its way to it and before it has it."""
    leaving = fleet.run.member(name)
    leaving.signal(signal.SIGTERM)
    line = await leaving.said('"A shard is handed over"', within=LEAVES_S * BUSY)
    return line.partition('"heir":"')[2][:1]


async def _freeze_leaving(fleet: FleetRun) -> None:
    """Freeze a member while it hands its shards over; once it wakes it ends."""
    await _granted(fleet, "a")
    leaving = fleet.run.member("a")
    leaving.freeze()
    fleet.run.over()
    await fleet.owned_by("bc", OWNED_AGAIN_S)
    await fleet.run.at(START_S + FREEZE_S)
    leaving.thaw()
    if code := await leaving.ended():
        fleet.run.broken.append(f"exit code {code} after SIGTERM")


async def _kill_heir(fleet: FleetRun) -> None:
    """Kill a member that a shard is about to be passed to."""
    heir = await _granted(fleet, "a")
    await fleet.run.member(heir).kill()
    fleet.run.over()
    await fleet.owned_by("bcd".replace(heir, ""), OWNED_AGAIN_S)
    if code := await fleet.run.member("a").ended():
        fleet.run.broken.append(f"exit code {code} after SIGTERM")


async def _deploy(fleet: FleetRun) -> None:
    """Start a new member and stop an old one, one after the other."""
    for new, old in (("c", "a"), ("d", "b")):
        await fleet.join(new, generation="2")
        await fleet.run.member(new).has_role("standby")
        await fleet.leave(old)
    await fleet.shared_by("cd", DEPLOYED_S)


async def _freeze_redis(fleet: FleetRun, seconds: float) -> None:
    fleet.run.rig.valkey.pause()
    await trio.sleep(seconds)
    fleet.run.rig.valkey.resume()
    fleet.run.over()
    await fleet.owned_by("abc", OWNED_AGAIN_S)


async def _watched(run: ChaosRun, deed: Deed, until_s: float) -> None:
    """Do a deed while the holders are watched, until the calls are over."""
    owners = Owners(run.rig.valkey.url, run.rig.places)
    async with trio.open_nursery() as nursery:
        await nursery.start(owners.watch)
        await run.at(START_S)
        await deed(FleetRun(run, owners))
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


def fleet_row(
    name: str,
    title: str,
    deed: Deed,
    members: str = "abc",
    *,
    moves: range,
    most: int = 1,
    unfed_s: float = OWNED_AGAIN_S,
    seconds: float = SECONDS,
    gone: bool = False,
    **more: Any,
) -> Row:
    """Return a row whose shards move `moves` times in all, and `most` times each.

    No call may be without a connection that is fed for more than `unfed_s` seconds. With `gone` Redis may
    lose what it has acknowledged.
    """

    def check(finding: Finding) -> list[str]:
        run, account = finding.run, finding.account
        missing = sum(_missing(account, call) for call in make())
        unfed = "/".join(f"{_part(account.pauses_s, part):.2f}" for part in (0.5, 0.95, 1.0))
        run.notes.append(f"{sum(run.moves)} moves, p50/p95/worst {unfed} s unfed, {missing} gone with Redis")
        broken = {
            f"{missing} samples acknowledged, and gone": missing and not gone,
            f"{sum(run.moves)} moves: {run.moves}": sum(run.moves) not in moves or max(run.moves) > most,
            f"a call was not fed for {account.unfed_s:.1f} s": account.unfed_s > unfed_s * BUSY,
        }
        return [text for text, is_broken in broken.items() if is_broken]

    def make() -> list[FedCall]:
        return calls(CALLS, seconds)

    return Row(
        name,
        title,
        partial(_watched, deed=deed, until_s=seconds),
        make,
        shards=SHARDS,
        members=members,
        connections=1 + most,
        check=check,
        **more,
    )


ROWS = (
    fleet_row("fleet-join", "two members join", _two_join, "ab", moves=range(4, 5), unfed_s=UNFED_S),
    fleet_row(
        "fleet-leave",
        "SIGTERM of a member",
        one_leaves,
        moves=range(2, 4),
        unfed_s=UNFED_S,
        seconds=QUICK_S,
        quick=True,
    ),
    fleet_row(
        "fleet-kill",
        "kill -9 of a member",
        partial(kill, names="a", others="bc"),
        moves=range(2, 4),
        seconds=QUICK_S,
        quick=True,
    ),
    fleet_row(
        "fleet-kill-two",
        "kill -9 of two members at once",
        partial(kill, names="ab", others="cd"),
        "abcd",
        moves=range(4, 5),
    ),
    fleet_row(
        "fleet-freeze",
        "a member frozen for 20 s, then awake",
        _freeze,
        moves=range(4, 7),
        most=2,
        seconds=40.0,
        overlaps=True,  # the frozen owner's sockets linger; they receive nothing
    ),
    fleet_row(
        "fleet-freeze-leaving",
        "a member frozen while it hands over",
        _freeze_leaving,
        moves=range(2, 4),
        overlaps=True,
    ),
    fleet_row(
        "fleet-kill-heir",
        "kill -9 of the heir during a hand-over",
        _kill_heir,
        "abcd",
        moves=range(4, 6),
        most=2,
    ),
    fleet_row(
        "fleet-deploy",
        "a rolling deployment, new members first",
        _deploy,
        "ab",
        moves=range(SHARDS, SHARDS + 1),
        unfed_s=UNFED_S,
        settings={"fleet": {"generation": "1"}},
    ),
    fleet_row(
        "fleet-redis-3s",
        "a fleet's Redis frozen for 3 s",
        partial(_freeze_redis, seconds=3.0),
        moves=range(1),
        most=0,
    ),
    fleet_row(
        "fleet-redis-8s",
        "a fleet's Redis frozen for 8 s, beyond its leases",
        partial(_freeze_redis, seconds=8.0),
        moves=range(SHARDS),
        most=1,
    ),
)

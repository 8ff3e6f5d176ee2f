"""Faults of a fleet: members that join, leave, die and freeze while shards are on the move."""

from __future__ import annotations

import signal
from functools import partial

import trio

from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.chaos.fleet_run import (
    BUSY,
    CALLS,
    LEAVES_S,
    OWNED_AGAIN_S,
    SECONDS,
    SHARDS,
    START_S,
    UNFED_S,
    FleetRun,
    fleet_row,
)
from trio_asr.lab.chaos.row import Finding
from trio_asr.lab.rig.account import most_at_once
from trio_asr.lab.rig.feeder import FedCall, calls

QUICK_S = 20.0
JOINS_S = 12.0  # a new member waits until all is quiet, and then asks for one shard after another
DEPLOYED_S = 12.0  # a member of a new deployment waits longer, for those before it to leave
FREEZE_S = 20.0
LIMIT = 28  # of all members' connections, for 24 calls
# A dead member's part of them is the others' once its connections are gone for certain, after 10 s.
LIMITED_S = OWNED_AGAIN_S + 4.0 + 10.0
LIMITED_CALL_S = 50.0
CROWD = 40  # calls, most of them in one shard
CROWDED, MANY = 5, 400  # that shard, and calls enough to choose from


async def _two_join(fleet: FleetRun) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fleet.join, "c")
        nursery.start_soon(fleet.join, "d")
    await fleet.shared_by("abcd", JOINS_S)


async def one_leaves(fleet: FleetRun) -> None:
    fleet.concerns(fleet.held_by("a"))
    await fleet.leave("a")
    await fleet.owned_by("bc", 1.0)


async def kill(fleet: FleetRun, names: str) -> None:
    """Kill members at once; the others hold all that was theirs before long."""
    fleet.concerns(fleet.held_by(names))
    await fleet.kill(names)
    await fleet.owned_by(fleet.names, OWNED_AGAIN_S)


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
    await fleet.kill(heir)
    await fleet.owned_by("bcd".replace(heir, ""), OWNED_AGAIN_S)
    if code := await fleet.run.member("a").ended():
        fleet.run.broken.append(f"exit code {code} after SIGTERM")


async def _kill_leaving(fleet: FleetRun) -> None:
    """Kill a member when a shard is on its way to another one, before that has it."""
    fleet.concerns(fleet.held_by("a"))
    await _granted(fleet, "a")
    await fleet.kill("a")
    await fleet.owned_by("bc", OWNED_AGAIN_S)


async def _deploy(fleet: FleetRun) -> None:
    """Start a new member and stop an old one, one after the other."""
    for new, old in (("c", "a"), ("d", "b")):
        await fleet.join(new, generation="2")
        await fleet.run.member(new).has_role("standby")
        await fleet.leave(old)
    await fleet.shared_by("cd", DEPLOYED_S)


async def _restart(fleet: FleetRun) -> None:
    """Restart a member in place: its shards are kept for it until it is back."""
    fleet.concerns(fleet.held_by("a"))
    fleet.run.over()
    await fleet.leave("a")
    await fleet.join("a")
    await fleet.owned_by("abc", OWNED_AGAIN_S)


async def _nothing(fleet: FleetRun) -> None:
    """Let all calls notice nothing, of whatever shard they are."""
    fleet.concerns(())
    await trio.lowlevel.checkpoint()


async def _kill_and_join(fleet: FleetRun) -> None:
    """Kill a member, and let another one join as soon as all is held again: both want a part of the limit."""
    await kill(fleet, "a")
    await fleet.join("d")
    await fleet.shared_by("bcd", JOINS_S)


def _within_limit(finding: Finding) -> list[str]:
    """Return whether the members together had more connections than they may have."""
    most = most_at_once(finding.evidence)
    finding.run.notes.append(f"{most} connections at once, of {LIMIT}")
    return [f"{most} connections at once, of {LIMIT}"] if most > LIMIT else []


def _crowded() -> list[FedCall]:
    """Return calls of which three quarters are in one shard."""
    many = calls(MANY, SECONDS)
    there = [call for call in many if shard_of(call.id, SHARDS) == CROWDED]
    elsewhere = [call for call in many if shard_of(call.id, SHARDS) != CROWDED]
    return there[: CROWD * 3 // 4] + elsewhere[: CROWD // 4]


def _even() -> list[FedCall]:
    """Return as many calls for each shard: a member's part of the limit is no larger if it has more calls."""
    many = calls(MANY, LIMITED_CALL_S)
    by_shard = [[call for call in many if shard_of(call.id, SHARDS) == shard] for shard in range(SHARDS)]
    return [call for there in by_shard for call in there[: CALLS // SHARDS]]


async def freeze_redis(fleet: FleetRun, seconds: float) -> None:
    """Freeze the only Redis; whoever it was, its members hold all shards again."""
    fleet.run.rig.valkey.pause()
    await trio.sleep(seconds)
    fleet.run.rig.valkey.resume()
    fleet.run.over()
    await fleet.owned_by(fleet.names, OWNED_AGAIN_S)


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
        partial(kill, names="a"),
        moves=range(2, 4),
        seconds=QUICK_S,
        quick=True,
    ),
    fleet_row(
        "fleet-kill-two",
        "kill -9 of two members at once",
        partial(kill, names="ab"),
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
        "fleet-kill-leaving",
        "kill -9 of a member during its hand-over",
        _kill_leaving,
        moves=range(2, 4),
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
        "fleet-rejoin",
        "a member restarted in place, its shards kept for it",
        _restart,
        moves=range(1),
        most=0,
        dials=2,
        settings={"fleet": {"rejoin_s": 10.0}},
    ),
    fleet_row(
        "fleet-crowd",
        "three quarters of the calls in one shard",
        _nothing,
        moves=range(1),
        most=0,
        make=_crowded,
    ),
    fleet_row(
        "fleet-limit",
        "kill -9 of a member and another one joins, at the limit of all members' connections",
        _kill_and_join,
        moves=range(4, 7),
        most=2,
        unfed_s=LIMITED_S,
        seconds=LIMITED_CALL_S,
        make=_even,
        settings={"fleet": {"max_connections": LIMIT}},
        also=_within_limit,
    ),
    fleet_row(
        "fleet-redis-3s",
        "a fleet's Redis frozen for 3 s",
        partial(freeze_redis, seconds=3.0),
        moves=range(1),
        most=0,
    ),
    fleet_row(
        "fleet-redis-8s",
        "a fleet's Redis frozen for 8 s, beyond its leases",
        partial(freeze_redis, seconds=8.0),
        moves=range(SHARDS),
        most=1,
    ),
)

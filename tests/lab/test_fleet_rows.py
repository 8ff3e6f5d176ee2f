"""The rows of a fleet, and what they watch."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import trio
from trio.testing import MockClock

from trio_asr.bus.keys import Keys
from trio_asr.config import shard_prefix
from trio_asr.core.fleet.places import Places
from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.chaos.fleet_rows import ROWS, one_leaves
from trio_asr.lab.chaos.fleet_run import SHARDS, FleetRun, fleet_row, noticed
from trio_asr.lab.chaos.row import ChaosRun, Finding
from trio_asr.lab.chaos.running import Terms, play_row
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.count import CallAccount
from trio_asr.lab.rig.evidence import Evidence
from trio_asr.lab.rig.fleet import Holders, Owners, Replaced, owned_by, shared_by

HEX = "0" * 32


def test_who_owns_and_who_shares() -> None:
    assert owned_by(["a", "b", "a"], "ab")
    assert not owned_by(["a", "", "a"], "ab")
    assert not owned_by(["a", "heir:b", "a"], "ab")
    assert not owned_by(["a", "c", "a"], "ab")
    assert shared_by(["a", "b", "a"], "ab")
    assert not shared_by(["a", "a", "a"], "ab")


def shows(seen: str, holders: Holders) -> bool:
    return holders[1] == seen


@pytest.mark.integration
async def test_moves_are_counted_from_owner_to_owner(redis_url: str) -> None:
    lease = Keys("asr-worker", shard_prefix("asr-worker", 1)).lease
    client = redis.Redis.from_url(redis_url)
    owners = Owners(redis_url, Places(2))
    async with trio.open_nursery() as nursery:
        await nursery.start(owners.watch)
        for value, seen in (
            (f"a/{HEX}", "a"),
            ("heir:b", "heir:b"),
            (f"b/{HEX}", "b"),
            (None, ""),
            (f"b/{HEX}", "b"),
            (f"a/{HEX}", "a"),
        ):
            client.set(lease, value) if value else client.delete(lease)
            assert await owners.become(partial(shows, seen), 60)
        assert not await owners.become(lambda holders: bool(holders[0]), 0.05)
        nursery.cancel_scope.cancel()
    client.close()
    assert owners.moves == [0, 2]


def test_some_are_quick_and_each_begins_with_members_that_share() -> None:
    assert [row.name for row in ROWS if row.quick] == ["fleet-leave", "fleet-kill"]
    for row in ROWS:
        assert row.name.startswith("fleet-")
        assert 2 <= len(row.members) == len({*row.members}) <= 4


def test_three_quarters_of_a_crowd_are_in_one_shard() -> None:
    (row,) = (row for row in ROWS if row.name == "fleet-crowd")
    found = Counter(shard_of(call.id, SHARDS) for call in row.calls())
    assert found[5] == 30
    assert found.total() == 40
    assert len({call.number for call in row.calls()}) == 40


def test_calls_of_a_second_fleet_lie_in_its_shards() -> None:
    places = Replaced(4, second=Places(8, "other"))
    assert places.of("call-004") == Places(4).of("call-004")
    assert places.of("new-004") == Places(8, "other").of("new-004")
    assert places.prefixes == [*Places(4).prefixes, *Places(8, "other").prefixes]


def test_at_the_limit_every_shard_has_as_many_calls() -> None:
    (row,) = (row for row in ROWS if row.name == "fleet-limit")
    assert Counter(shard_of(call.id, SHARDS) for call in row.calls()) == dict.fromkeys(range(SHARDS), 3)


# -- calls that are to notice nothing ------------------------------------------------------------------------

ASIDE, CONCERNED = "call-004", "call-000"  # of shards 0 and 1
assert (shard_of(ASIDE, SHARDS), shard_of(CONCERNED, SHARDS)) == (0, 1)


def finding(**sockets: list[float]) -> Finding:
    """Return what is found of two calls: each with its connections, as the seconds for which they were unfed.

    Each connection has two finals, 1 s from each other; the finals of two are 2 s from each other.
    """
    evidence = Evidence()
    for name, unfed in sockets.items():
        call = {"aside": ASIDE, "concerned": CONCERNED}[name]
        evidence.events[call] = [
            {"event": "connection_opened", "request_id": f"{name}-{i}", "connection": i}
            for i in range(len(unfed))
        ]
        evidence.connections += [
            {"request_id": f"{name}-{i}", "accepted_at": i, "silence_s": one} for i, one in enumerate(unfed)
        ]
        evidence.transcripts[call] = [
            {"type": "final", "timestamp_ms": 3000 * i + 1000 * j} for i in range(len(unfed)) for j in (0, 1)
        ]
    run = ChaosRun(cast("Any", None))
    run.moves = [0] * SHARDS
    return Finding(run, Account({name: CallAccount(name) for name in (ASIDE, CONCERNED)}), evidence)


def concern(found: Finding, *shards: int) -> Finding:
    FleetRun(found.run, cast("Any", None), "abc").concerns(shards)
    return found


def test_calls_of_the_shards_concerned_may_notice_it_the_others_nothing() -> None:
    found = concern(finding(aside=[0.5], concerned=[9.0, 9.0]), 1)
    found.run.moves[1] = 2
    assert noticed(found) == []
    assert found.run.notes == ["1 calls aside: 0.5 s unfed, 1.0 s from final to final"]
    assert noticed(concern(finding(aside=[9.0, 9.0], concerned=[9.0]), 1, 0)) == []
    assert noticed(finding(aside=[9.0, 9.0], concerned=[9.0])) == []  # nothing was said


def test_what_others_notice_is_said() -> None:
    found = concern(finding(aside=[0.5, 3.1], concerned=[0.5]), 1)
    found.run.moves[0] = 1
    found.evidence.transcripts[ASIDE].append({"type": "final", "timestamp_ms": 8600})
    assert noticed(found) == [
        "shards moved that it does not concern: [0]",
        "a call that it does not concern had 2 connections",
        "a call that it does not concern was not fed for 3.1 s",
        "a call that it does not concern had no final for 4.6 s",
    ]


def test_nobody_need_be_concerned() -> None:
    assert noticed(concern(finding(aside=[0.5], concerned=[9.0]))) == [
        "a call that it does not concern was not fed for 9.0 s"
    ]


async def test_a_stall_is_as_long_as_the_longest(autojump_clock: MockClock) -> None:
    run = ChaosRun(cast("Any", None))
    fleet = FleetRun(run, cast("Any", None), "abc")
    for seconds in (2.0, 5.0, 3.0):
        with fleet.stalls():
            await trio.sleep(seconds)
    assert run.stalled_s == 5.0


@pytest.mark.integration
@pytest.mark.soak
async def test_a_member_leaves_and_nothing_is_lost(tmp_path: Path) -> None:
    row = fleet_row("leave", "a member leaves", one_leaves, "ab", moves=range(4, 5), seconds=12.0)
    outcome = await play_row(row, tmp_path, Terms())
    assert outcome.broken == []
    assert (outcome.samples, outcome.covered) == (24 * 12 * 8000, 24 * 12 * 8000)

"""The rows of a fleet, and what they watch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import redis
import trio

from trio_asr.bus.keys import Keys
from trio_asr.config import shard_prefix
from trio_asr.core.fleet.places import Places
from trio_asr.lab.chaos.fleet_rows import ROWS, fleet_row, one_leaves
from trio_asr.lab.chaos.running import Terms, play_row
from trio_asr.lab.rig.fleet import Holders, Owners, owned_by, shared_by

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


@pytest.mark.integration
@pytest.mark.soak
async def test_a_member_leaves_and_nothing_is_lost(tmp_path: Path) -> None:
    row = fleet_row("leave", "a member leaves", one_leaves, "ab", moves=range(4, 5), seconds=12.0)
    outcome = await play_row(row, tmp_path, Terms())
    assert outcome.broken == []
    assert (outcome.samples, outcome.covered) == (24 * 12 * 8000, 24 * 12 * 8000)

"""A fleet on the rig: its start, the one that replaces it, and who holds which shard, as the leases say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

import trio

from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.router import RedisRouter
from trio_asr.config import Config, FleetConfig, RedisConfig
from trio_asr.core.fleet.places import SINGLE, Places
from trio_asr.core.fleet.view import HEIR
from trio_asr.lab.rig.processes import START_S, Rig
from trio_asr.lab.rig.programs import RigError

POLL_S = 0.01

Holders = Sequence[str]  # of each shard; "" is nobody, `heir:MEMBER` one that is to take it


@dataclass(frozen=True)
class Replaced(Places):
    """A fleet, and a second one beside it, in which those calls are whose names begin with `name`."""

    second: Places = SINGLE
    name: str = "new"

    def of(self, interaction_id: str) -> str:
        """Return the prefix of a call's keys."""
        if interaction_id.startswith(self.name):
            return self.second.of(interaction_id)
        return super().of(interaction_id)

    @property
    def prefixes(self) -> list[str]:
        """The prefixes of all shards of both."""
        return super().prefixes + self.second.prefixes


class Owners:
    """The holders of the shards, looked up again and again, and how often a shard got another one."""

    def __init__(self, url: str, places: Places) -> None:
        self.now: Holders = [""] * places.shards
        self.moves = [0] * places.shards
        self._last: list[str] = list(self.now)
        redis = RedisConfig(url=url, consumer_group=places.group)
        self._router = RedisRouter(Config(redis=redis, fleet=FleetConfig(shards=places.shards)))

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled. While Redis does not answer, the last look stands."""
        async with aclosing(self._router):
            await self._look()
            task_status.started()
            while True:
                await trio.sleep(POLL_S)
                with suppress(BusUnavailable):
                    await self._look()

    async def become(self, wanted: Callable[[Holders], bool], within: float) -> bool:
        """Wait for at most `within` seconds until the holders are as wanted; return whether they are."""
        with trio.move_on_after(within):
            while not wanted(self.now):  # noqa: ASYNC110 (as often as `watch` looks)
                await trio.sleep(POLL_S)
        return wanted(self.now)

    async def _look(self) -> None:
        self.now = [holder or "" for holder in await self._router.control.holders()]
        for shard, holder in enumerate(self.now):
            if holder and not holder.startswith(HEIR) and holder != self._last[shard]:
                self.moves[shard] += bool(self._last[shard])
                self._last[shard] = holder


def owned_by(holders: Holders, names: str) -> bool:
    """Return whether each shard is held by one of these members, whose names have one letter."""
    return all(holder and holder in names for holder in holders)


def shared_by(holders: Holders, names: str) -> bool:
    """Return whether these members hold all shards, none of them more than its share."""
    most = math.ceil(len(holders) / len(names))
    return owned_by(holders, names) and max(Counter(holders).values()) <= most


async def start_fleet(rig: Rig, names: str) -> None:
    """Start members, with a letter each for a name, and wait until they share the shards.

    Raises:
        RigError: They do not.
    """
    owners = Owners(rig.valkey.url, rig.places)
    async with trio.open_nursery() as nursery:
        for name in names:
            await rig.member(name).start()
        await nursery.start(owners.watch)
        if not await owners.become(lambda holders: shared_by(holders, names), START_S):
            raise RigError(f"{names} do not share the shards: {owners.now}")
        nursery.cancel_scope.cancel()

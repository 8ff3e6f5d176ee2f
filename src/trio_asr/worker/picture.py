"""The fleet as a member sees it, for the pages and the metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from trio_asr.core.fleet.beat import Beat
from trio_asr.core.fleet.view import View
from trio_asr.telemetry import logs
from trio_asr.telemetry.fleet import FleetPicture, HotShard, MemberRow, ShardLoad
from trio_asr.worker.office import Office


class Counts(NamedTuple):
    """A member's numbers of shards: of the fleet, and of those its own held, asked for, and on their way."""

    shards: int
    held: int
    wanted: int
    handing_over: int


def picture(member: str, counts: Counts, view: View | None) -> FleetPicture:
    """Return the fleet by what this member sees of it; None if it sees nothing."""
    beats = [] if view is None else [beat for _, beat in sorted(view.beats.items())]
    me = next((beat for beat in beats if beat.member == member and beat.draining is None), None)
    hot = [
        HotShard(shard=shard, calls=load.calls, capacity=beat.capacity)
        for beat in beats
        for shard, load in beat.held.items()
    ]
    return FleetPicture(
        member=member,
        **counts._asdict(),
        unowned=None if view is None else len(view.unowned),
        share=None if view is None else 0 if me is None else view.share(me),
        hottest=max(hot, key=lambda one: one.calls, default=None),
        members=[_row(beat) for beat in beats],
    )


def loads(shards: Iterable[int], office: Office) -> dict[int, ShardLoad]:
    """Return what those of these shards that are worked on have to do."""
    at_work = [(shard, office.tenures.get(shard)) for shard in shards]
    return {
        shard: ShardLoad(len(one.calls.interactions), one.dispatcher.lag_s, one.dispatcher.entries)
        for shard, one in at_work
        if one is not None
    }


class LostShards:
    """What is said of shards that nobody holds, and nobody can ask for."""

    def __init__(self) -> None:
        self._shards: set[int] = set()
        self._log = logs.get("fleet")

    def look(self, view: View) -> None:
        """Tell when there are others than before."""
        shards = {*view.unowned} - {*view.free}
        if shards != self._shards:
            self._shards = shards
            if shards:
                self._log.warning("Nobody holds shards that cannot be asked for", shards=sorted(shards))
            else:
                self._log.info("All shards that nobody holds can be asked for")


def _row(beat: Beat) -> MemberRow:
    loads = beat.held.values()
    return MemberRow(
        member=beat.member,
        generation=beat.generation,
        version=beat.version,
        shards=len(loads),
        calls=sum(load.calls for load in loads),
        capacity=beat.capacity,
        lag_s=round(max((load.lag_s for load in loads), default=0.0), 1),
        connections=beat.connections,
        cpu=beat.cpu,
        handing=len(beat.handing),
        draining_s=beat.draining,
    )

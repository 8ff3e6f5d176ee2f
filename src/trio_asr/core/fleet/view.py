"""The fleet as one member sees it: the beats that are fresh, and the leases as last seen. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from trio_asr.core.fleet.beat import Beat

HEIR = "heir:"  # before the name of the member that a lease is kept for


class View:
    """What is worked out of it once, for every rule to use.

    `leases` are the holders of the leases, one for each shard: "" stands for none, `heir:MEMBER` for a shard
    that is kept for a member, None for one that cannot be asked for now. `unowned` are shards that no beat
    holds and, as far as is known, no lease; `free` are those of them that can be asked for. `kept` are those
    kept for each member. `askers` are the members that ask for a shard.
    """

    def __init__(self, leases: Sequence[str | None], beats: Iterable[Beat]) -> None:
        self.shards = len(leases)
        # One with shards that are none is no member of this fleet.
        self.beats = {beat.member: beat for beat in beats if max(beat.held, default=0) < self.shards}
        self.alive = [beat for beat in self.beats.values() if beat.draining is None]
        self.leaving = [beat for beat in self.beats.values() if beat.draining is not None]
        self.members = frozenset(beat.start for beat in self.alive)
        self.capacity = sum(beat.capacity for beat in self.alive)
        self.newest = max((beat.order for beat in self.alive), default=())
        self.oldest = min((beat.order for beat in self.alive), default=())
        held = set().union(*(beat.held for beat in self.beats.values()))
        self.unowned = tuple(shard for shard, lease in enumerate(leases) if not lease and shard not in held)
        self.free = tuple(shard for shard in self.unowned if leases[shard] is not None)
        self.kept: dict[str, list[int]] = defaultdict(list)
        for shard, lease in enumerate(leases):
            if lease is not None and lease.startswith(HEIR):
                self.kept[lease.removeprefix(HEIR)].append(shard)
        self.askers: dict[int, list[Beat]] = defaultdict(list)
        for beat in self.alive:
            for shard in beat.wants:
                self.askers[shard].append(beat)

    def owner(self, shard: int) -> str:
        """Return the member that says it holds a shard; "" for nobody."""
        return next((name for name, beat in self.beats.items() if shard in beat.held), "")

    def share(self, beat: Beat) -> int:
        """Return how many shards are a living member's part, rounded up."""
        return math.ceil(self.shards * beat.capacity / self.capacity)

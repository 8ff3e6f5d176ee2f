"""Which shards a member takes, asks for and gives away. There is no leader and no plan. Pure.

Leases and fences alone keep two members from one shard, whatever is decided here. Pulling makes the shards
even and keeps moves few: a member below its share takes what is free, or else asks for some. Nobody gives
anything away unasked, and nothing moves to even out the calls: such rules thrash.

Every state here expires by itself. A member that asked and died asks no more, because its beat is gone; one
that was granted a shard and died lets it run out with its lease.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import msgspec

from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.core.fleet.view import View

QUIET_S = 2.0  # how long nobody has joined before a free shard is taken
ALONE_S = 5.0  # ... by a member that has never seen another
RESTLESS_S = 5.0  # a shard that was free for so long is not left to the quiet: some may crash again and again
SETTLED_S = 3.0  # ... before shards of the living are asked for
DEPLOYED_S = 10.0  # ... before those of an older generation are, whose members may be about to leave
OVERDUE_S = 3.0  # a shard that was free for so much longer is taken by whoever sees it, beyond a share
PATIENCE_S = 5.0  # a shard that was asked for and not granted: another one is asked for
REST_S = 120.0  # a shard that was handed over is not asked for again for so long, nor given away
ROLLBACK_S = 8.0  # for so long an older generation leaves to newer ones what anybody drains
MANY = 20  # a member that lacks more than this asks for two at a time
DRAINING_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Step:
    """What a member is to do now: shards to acquire and to ask for, and to hand over, with their heirs."""

    acquire: list[int] = field(default_factory=list)
    wants: frozenset[int] = frozenset()
    hand_over: list[tuple[int, str]] = field(default_factory=list)


class Pulling:
    """The rules, and what one member remembers between two steps."""

    def __init__(self, member: str) -> None:
        self._member = member
        self._members: frozenset[tuple[str, str]] = frozenset()
        self._changed_at = self._grown_at = 0.0
        self._quiet_s = ALONE_S
        self._free_since: dict[int, float] = {}
        self._tried: dict[int, float] = {}  # free shards that were to be acquired, and when last
        self._asked: dict[int, tuple[float, str]] = {}  # shards asked for: when, and of whom
        self._refused: dict[int, float] = {}  # shards asked for in vain: until when they are left alone
        self._not_before = 0.0
        self._lost = 0

    def lost(self, now: float) -> None:
        """Note that somebody else was faster with a free shard: wait a little longer each time."""
        self._lost = min(self._lost + 1, 5)
        self._not_before = now + self._lost * 0.1 * (1 + self._preference(round(now * 1000)) % 10 / 10)

    def won(self) -> None:
        """Note that a shard was acquired."""
        self._lost = 0

    def step(self, me: Beat, view: View, now: float, lapsed: AbstractSet[int] = frozenset()) -> Step:
        """Return what to do. `me` is this member's present beat; in `view` it may be an older one.

        `lapsed` are shards that it has though their leases have run out, as when their server is away. They
        are still its own, unless another member has them: it takes them up again, and needs no others.
        """
        if view.members != self._members:
            if not view.members <= self._members:
                self._grown_at = now
            self._members, self._changed_at = view.members, now
        if len(view.beats) > 1:
            self._quiet_s = QUIET_S
        self._note_free(view, now)
        grants = self._grants(me, view)
        seen = view.beats.get(me.member)
        if me.draining is not None or seen is None or seen.draining is not None:
            return Step(hand_over=grants)
        if lapsed:
            own = {shard: Load() for shard in lapsed if view.owner(shard) in ("", me.member)}
            me = msgspec.structs.replace(me, held=me.held | own)
        acquire = self._acquire(me, view, now)
        missing = view.share(me) - len(me.held) - len(acquire)
        return Step(acquire, self._wants(me, view, missing, now), grants)

    # -- giving ----------------------------------------------------------------------------------------

    def _grants(self, me: Beat, view: View) -> list[tuple[int, str]]:
        leaving = me.draining is not None
        room = (DRAINING_AT_ONCE if leaving else 1) - len(me.handing)
        granted: list[tuple[int, str]] = []
        for shard in sorted(view.askers.keys() & me.held.keys() - me.handing):
            if len(granted) >= room:
                break
            # It was asked of the member that had it before; calls are not to move twice for that.
            if not leaving and me.held[shard].rested_s < REST_S:
                continue
            # The beat that others see of this member may still ask for what it has just got.
            others = (one for one in view.askers[shard] if one.member != me.member)
            askers = [one for one in others if leaving or _may_have(one, me)]
            if askers:
                heir = min(askers, key=lambda one: (one.load, one.member))
                granted.append((shard, heir.member))
        return granted

    # -- taking ----------------------------------------------------------------------------------------

    def _note_free(self, view: View, now: float) -> None:
        if view.free or self._free_since:
            self._free_since = {shard: self._free_since.get(shard, now) for shard in view.free}

    def _acquire(self, me: Beat, view: View, now: float) -> list[int]:
        # What was asked for is waited for until it comes.
        known = me.held.keys() | self._asked.keys()
        mine = [shard for shard in view.kept.get(me.member, ()) if shard not in known]
        if mine or not view.free or now < self._not_before:
            return mine
        quiet_since = self._grown_at + self._quiet_s
        since = {
            shard: min(quiet_since, self._free_since[shard] + RESTLESS_S)
            for shard in view.free
            if shard not in me.held
        }
        free = [shard for shard, at in since.items() if now >= at]
        most = view.share(me) - len(me.held)
        if most <= 0:
            most = 1
            free = [shard for shard in free if now - max(self._free_since[shard], since[shard]) >= OVERDUE_S]
        # One that cannot be had, whatever the reason, is not to hide the others.
        self._tried = {shard: at for shard, at in self._tried.items() if shard in view.free}
        chosen = sorted(free, key=lambda one: (self._tried.get(one, -math.inf), self._preference(one)))[:most]
        self._tried |= dict.fromkeys(chosen, now)
        return chosen

    def _wants(self, me: Beat, view: View, missing: int, now: float) -> frozenset[int]:
        if not self._asked and not self._refused and missing <= 0:  # nearly always
            return frozenset()
        for shard, (at, owner) in list(self._asked.items()):
            if shard in me.held or view.owner(shard) not in ("", owner):
                del self._asked[shard]
            elif now - at >= PATIENCE_S:
                del self._asked[shard]
                self._refused[shard] = now + PATIENCE_S
        if missing <= 0:
            self._asked.clear()
            self._refused = {shard: until for shard, until in self._refused.items() if until > now}
        else:
            found, at_once = self._candidates(me, view, missing, now)
            for shard in found[: max(0, min(missing, at_once) - len(self._asked))]:
                self._asked[shard] = now, view.owner(shard)
        return frozenset(self._asked)

    def _candidates(self, me: Beat, view: View, missing: int, now: float) -> tuple[list[int], int]:
        """Return the shards of others to ask for, the best first, and how many of them at once."""
        found = [
            shard
            for other in view.leaving
            if me.order >= max(view.newest, other.order) or (other.draining or 0) >= ROLLBACK_S
            for shard in other.held
            if self._may_ask(shard, other, now)
        ]
        if found:
            return sorted(found, key=self._turn), DRAINING_AT_ONCE
        at_once, again = 2 if missing > MANY else 1, list[int]()
        for giver in self._givers(me, view, now):
            at_rest = [
                shard
                for shard, load in giver.held.items()
                if load.rested_s >= REST_S and self._may_ask(shard, giver, now)
            ]
            fresh = [shard for shard in at_rest if shard not in self._refused]
            if fresh:
                return sorted(fresh, key=self._preference), at_once
            again += at_rest
        return sorted(again, key=self._turn), at_once

    def _givers(self, me: Beat, view: View, now: float) -> list[Beat]:
        """Return the living members that would give a shard to this one, the fullest first."""
        quiet_s = now - self._changed_at
        if quiet_s < SETTLED_S or me.order < view.newest:
            return []
        givers = [other for other in view.alive if other.member != me.member and _may_have(me, other)]
        if view.oldest < view.newest:
            if quiet_s < DEPLOYED_S:
                return []
            givers = [other for other in givers if other.order < view.newest]
        return sorted(
            givers, key=lambda other: (-other.load, self._preference(zlib.crc32(other.member.encode())))
        )

    def _may_ask(self, shard: int, other: Beat, now: float) -> bool:
        left_alone = self._refused.get(shard, now) > now
        return shard not in self._asked and not left_alone and shard not in other.handing

    def _turn(self, shard: int) -> tuple[float, int]:
        """Order shards to ask for: those asked for in vain come last, as their servers may be away."""
        return self._refused.get(shard, -math.inf), self._preference(shard)

    def _preference(self, shard: int) -> int:
        """Return a number by which members begin at different ends."""
        return zlib.crc32(f"{shard} {self._member}".encode())


def _may_have(asker: Beat, owner: Beat) -> bool:
    """Return whether a living owner gives a shard to this member: it is not older, and has less even then."""
    if asker.order < owner.order:
        return False
    return (len(owner.held) - 1) * asker.capacity >= (len(asker.held) + 1) * owner.capacity

"""How many connections to the provider a member allows itself, where all together have a maximum. Pure.

Nobody grants anything. Each aims at its share by capacity, and raises its limit only by what is left if all
others take theirs, or keep what they have beyond it. It lowers it at once. So members with the same view
never exceed the maximum together. With different ones nobody raises: a change of membership is waited for
until all have seen it.
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_asr.core.fleet.beat import Beat
from trio_asr.core.fleet.view import View

QUIET_S = 3.0  # how long membership has not changed before a limit is raised: all have seen it by then
DEAD_S = 10.0  # the connections of a member that is not heard of any more may be open for so long


class Quota:
    """One member's part of a maximum. `limit` is the one in force."""

    def __init__(self) -> None:
        self.limit = 0
        self._members: frozenset[tuple[str, str]] | None = None
        self._changed_at = self._stepped_at = 0.0
        self._heard: dict[tuple[str, str], tuple[float, int]] = {}  # others: when, and what limit

    def step(self, me: Beat, view: View, maximum: int, now: float) -> int:
        """Set the limit anew and return it. `me` is this member's present beat.

        It never falls below the connections that are open, since those stay open.
        """
        others = [beat for beat in view.beats.values() if beat.incarnation != me.incarnation]
        alive = [beat for beat in others if beat.draining is None]
        self._note(others, frozenset(beat.start for beat in alive), now)
        if now - self._stepped_at >= DEAD_S:  # others may have what this member had before
            self.limit, self._changed_at = min(self.limit, me.connections), now
        self._stepped_at = now
        if me.draining is not None:
            self.limit = min(self.limit, me.connections)
            return self.limit
        # What others have seen of this member may not be in this view yet.
        total = me.capacity + sum(beat.capacity for beat in alive)
        aim = maximum * me.capacity // total
        if aim <= self.limit:
            self.limit = max(aim, min(self.limit, me.connections))
        elif now - self._changed_at >= QUIET_S:
            # Others may be about to raise theirs, too.
            taken = {who: limit for who, (_, limit) in self._heard.items()}
            for beat in alive:
                taken[beat.start] = max(taken[beat.start], maximum * beat.capacity // total)
            self.limit = max(self.limit, min(aim, maximum - sum(taken.values())))
        return self.limit

    def _note(self, others: Sequence[Beat], members: frozenset[tuple[str, str]], now: float) -> None:
        if members != self._members:
            self._members, self._changed_at = members, now
        self._heard |= {beat.start: (now, beat.limit) for beat in others}
        self._heard = {who: heard for who, heard in self._heard.items() if now - heard[0] < DEAD_S}

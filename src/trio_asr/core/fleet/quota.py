"""How many connections to the provider a member allows itself, where the fleet limits them. Pure.

Nobody hands the limits out. A member claims before it uses: its beat announces the higher limit at once, but
the limit comes into force only after every other member has had the time to see the claim, and only if all
that is announced still fits. Of two that claim at the same time, the later one sees the earlier one's claim.
So the limits in force never add up to more than the maximum.
"""

from __future__ import annotations

from trio_asr.core.fleet.beat import Beat
from trio_asr.core.fleet.view import View

CLAIM_S = 2.0  # from a claim until it counts: a beat (0.5 s) and a view (1 s) later all have seen it
DEAD_S = (
    10.0  # the limit of a member whose beat is gone is counted for so long: its sockets may still be open
)


class Quota:
    """The limit of one member. `limit` is in force; `announced` is for its beat, and never lower."""

    def __init__(self, member: str, maximum: int) -> None:
        self.limit = 0
        self.announced = 0
        self._member, self._maximum = member, maximum
        self._claimed_at = 0.0
        self._seen: dict[str, tuple[int, float]] = {}  # limits of the others, and when they were last seen

    def step(self, me: Beat, view: View, now: float) -> None:
        """Work out both limits. `me` is this member's present beat; the view is up to 1 s old."""
        self._note(view, now)
        aims = _aims(me, view, self._maximum)
        aim = aims.get(self._member, 0)
        # Lowering is immediate, but not below what is open: those connections are there.
        self.limit = min(self.limit, max(aim, me.connections))
        room = self._maximum - sum(limit for limit, _ in self._seen.values())
        if self.limit < self.announced <= min(room, aim):  # a claim that fits
            if now - self._claimed_at >= CLAIM_S:
                self.limit = self.announced
            return
        self.announced = max(self.limit, self._claim(aims, room))
        self._claimed_at = now

    def _note(self, view: View, now: float) -> None:
        for beat in view.beats.values():
            if beat.member != self._member:
                self._seen[beat.member] = beat.limit, now
        self._seen = {name: one for name, one in self._seen.items() if now - one[1] < DEAD_S}

    def _claim(self, aims: dict[str, int], room: int) -> int:
        """Return what to claim: the aim, or a part of what is left where several lack something."""
        lacks = {name: max(0, aim - self._seen.get(name, (0, 0.0))[0]) for name, aim in aims.items()}
        lack = lacks[self._member] = max(0, aims.get(self._member, 0) - self.limit)
        left = max(0, room - self.limit)
        return self.limit + min(lack, left * lack // max(1, sum(lacks.values())))


def _aims(me: Beat, view: View, maximum: int) -> dict[str, int]:
    """Return each living member's part of the maximum by its capacity, rounded down."""
    alive = {beat.member: beat.capacity for beat in view.alive if beat.member != me.member}
    if me.draining is None:
        alive[me.member] = me.capacity
    whole = sum(alive.values())
    return {name: maximum * capacity // whole for name, capacity in alive.items()}

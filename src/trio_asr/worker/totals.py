"""What the calls of all tenures hold together, and the bound on it: memory is the process's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio

from trio_asr.wire.codes import GapReason

if TYPE_CHECKING:
    from trio_asr.interaction.interaction import Interaction
    from trio_asr.worker.tenure import Tenure

CATCHUP_BYTES = 2_000_000  # given up each second so that stuck calls that are behind can catch up


class Totals:
    """The sums over all `tenures`."""

    def __init__(self, tenures: Mapping[int | None, Tenure]) -> None:
        self.taken = 0  # bytes that all calls hold: when last counted, plus what came since
        self._tenures = tenures

    @property
    def calls(self) -> int:
        """The number of calls in progress."""
        return sum(len(tenure.calls.interactions) for tenure in self._tenures.values())

    def bound(self) -> None:
        """Hold the audio that is not finalized within its bounds: one for each call, one for all together.

        Beyond the bound of all, the largest calls give up first, and stuck calls before them: what those
        hold is not the others' fault.
        """
        now = trio.current_time()
        of = {one: tenure for tenure in self._tenures.values() for one in _alive(tenure)}
        self.taken = sum(interaction.size for interaction in of)
        for interaction, tenure in of.items():
            interaction.limit = tenure.calls.shares.limit(interaction, now)
        if not of:
            return
        total = next(iter(of.values())).calls.shares.total
        excess = allowance = self.taken - total
        stuck = {one for one, tenure in of.items() if tenure.calls.shares.is_stuck(one, now)}
        if any(interaction.behind and not interaction.over for interaction in stuck):
            # Newer audio waits on the stream until they can take it.
            allowance += max(total // 10, min(CATCHUP_BYTES, total // 2))
        for interaction in sorted(of, key=lambda one: (one not in stuck, -one.call.timeline.held_bytes)):
            call = interaction.call
            share = min(allowance if interaction in stuck else excess, call.timeline.held_bytes // 2)
            if share <= 0:
                continue
            call.give_up_oldest(share / (call.next_format.bytes_per_s or 1), GapReason.MEMORY)
            of[interaction].services.committer.submit(call.outbox)
            excess -= share
            allowance -= share
            self.taken -= share


def _alive(tenure: Tenure) -> list[Interaction]:
    return [one for one in tenure.calls.interactions.values() if not one.failed]

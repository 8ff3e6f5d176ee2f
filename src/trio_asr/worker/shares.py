"""The shares: how much audio each call may hold. The rest stays on the stream for catch-up."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.services import Services
from trio_asr.wire.audio_format import Format, audio_format

# A connection attempt and a stall fit in. A call without progress for longer is not catching up.
STUCK_S = 20.0
HOLD_SHARE = 0.5  # of the limits of one call, and of all: a call that holds more takes no more
CATCHUP_BELOW = 0.5  # of its share: a call that is behind and holds less is read for


class Shares:
    """The shares of the calls of a tenure, in what all tenures may hold together."""

    def __init__(self, interactions: Mapping[str, Interaction], services: Services) -> None:
        self._interactions, self._services = interactions, services
        self.totals = services.totals

    @property
    def total(self) -> int:
        """The bytes that all calls together may hold."""
        return self._services.config.interaction.max_unfinalized_total_mb * 1_000_000

    def share(self, fmt: Format) -> float:
        """Return how many bytes a call with audio of this format may hold."""
        limits = self._services.config.interaction
        own, all_others = HOLD_SHARE * limits.max_unfinalized_s * fmt.bytes_per_s, HOLD_SHARE * self.total
        return own if self.totals.taken < all_others else min(own, all_others / max(1, self.totals.calls))

    def limit(self, interaction: Interaction, now: float) -> float:
        """Return how many bytes this call may hold.

        A stuck call goes on taking what comes. At its own bound it gives up the oldest audio, because nobody
        wants to read what was said long ago.
        """
        if self.is_stuck(interaction, now):
            return math.inf
        fmt = interaction.call.timeline.segments.last.format
        if not fmt.rate:
            fmt = audio_format(self._services.config.interaction.default_sample_rate)
        return self.share(fmt)

    @staticmethod
    def is_stuck(interaction: Interaction, now: float) -> bool:
        """Return whether a call makes no progress: it has no connection, or one that does not answer."""
        return now - interaction.progressed_at(now) >= STUCK_S

    def wants_catchup(self, interaction: Interaction, now: float) -> bool:
        """Return whether a call is behind and has the capacity for catch-up."""
        if not interaction.behind or interaction.over or self.totals.taken >= self.total:
            return False
        limit = self.limit(interaction, now)
        return interaction.size < CATCHUP_BELOW * limit and (
            interaction.size + interaction.next_size <= limit or not interaction.size
        )

    def to_close_for_waiting(self, waiting: int, now: float) -> list[Interaction]:
        """Return the calls to close for `waiting` others: those without audio for longest."""
        ending = sum(interaction.closing for interaction in self._interactions.values())
        still = [interaction for interaction in self._interactions.values() if interaction.stands_still(now)]
        return sorted(still, key=lambda interaction: interaction.handed_at)[: max(0, waiting - ending)]

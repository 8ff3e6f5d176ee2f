"""The restart of calls that failed, from what Redis has of them."""

from __future__ import annotations

from typing import NamedTuple

import trio

from trio_asr.core.backoff import Backoff
from trio_asr.core.outbox import Outbox
from trio_asr.core.reader_state import REPLAY_MARGIN_MS
from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.codes import GapReason
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Stored, read_checkpoint
from trio_asr.wire.transcripts import Item
from trio_asr.worker.stored import StoredCalls, topics

RESTART_BASE_S, RESTART_CAP_S = 1.0, 60.0
STRIKES = 30  # some fifteen minutes; audio that a call fails on for that long is given up


class RestartPoint(NamedTuple):
    """What a call restarts from, and the entry after which it reads."""

    stored: Stored
    after: EntryId


class Restarts:
    """How often calls have failed, and where they resume."""

    def __init__(self, stored: StoredCalls, services: Services) -> None:
        self._stored, self._services = stored, services
        self._strikes: dict[str, _Strikes] = {}
        self._log = services.problems.logger("restarts")

    def forget_strikes(self, interaction_id: str) -> None:
        """Forget the strikes of a call that has come to its end."""
        self._strikes.pop(interaction_id, None)

    async def restart_later(self, interaction: Interaction) -> RestartPoint:
        """Drop a call that failed. Return what it restarts from, after a backoff.

        Audio that it keeps failing on is committed as a gap: nothing else would ever end that.
        """
        call = interaction.call
        interaction.fail()
        gaps = call.abandon(interaction.progress.handed)
        call.timeline.finalize(call.timeline.received)  # the backoff may be long: drop the audio
        await self._services.committer.forget(call.outbox)
        strikes = self._strikes.setdefault(call.id, _Strikes())
        used_up = strikes.note(call.outbox.confirmed_until)
        await trio.sleep(strikes.backoff.next())
        if not used_up:
            return await self.restart_point(interaction)
        return RestartPoint(await self._give_up(interaction, gaps), interaction.progress.handed)

    async def restart_point(self, interaction: Interaction) -> RestartPoint:
        """Return what a call restarts from."""
        first, stored = interaction.progress.replay_from(), await self._load(interaction)
        after = interaction.latest if first is None else replayed_from(first)
        # A failover may have lost the last commits, and with them finals of earlier audio.
        return RestartPoint(stored, min(after, needed_after(stored) or after, key=ids.key))

    async def _load(self, interaction: Interaction) -> Stored:
        (stored,) = await self._stored.load([interaction.call.id])
        # If nothing of use is stored, what is in memory is written again.
        return stored if stored.rev else interaction.call.outbox.stored

    async def _give_up(self, interaction: Interaction, gaps: list[Item]) -> Stored:
        interaction_id = interaction.call.id
        self._log.error("Audio given up", reason=GapReason.INTERNAL, interaction_id=interaction_id)
        outbox = Outbox(
            interaction_id, topics(self._services.config.redis, interaction_id), await self._load(interaction)
        )
        for gap in gaps:
            outbox.put(gap)
        await self._services.committer.drained(outbox)
        self.forget_strikes(interaction_id)
        return outbox.stored


class _Strikes:
    """The strikes of a call on the same audio, and the backoff before it tries again."""

    def __init__(self) -> None:
        self.backoff = Backoff(RESTART_BASE_S, RESTART_CAP_S)
        self._count, self._at = 0, -1

    def note(self, finalized: int) -> bool:
        """Count a failure with this much finalized. Return whether to stop trying that audio."""
        self._count = self._count + 1 if finalized == self._at else 1
        self._at = finalized
        return self._count >= STRIKES


def replayed_from(first: EntryId) -> EntryId:
    """Return the entry after which to read for a call that needs `first`: some entries teach its repeats."""
    return ids.before(ids.earlier(first, REPLAY_MARGIN_MS))


def needed_after(stored: Stored) -> EntryId:
    """Return the entry after which to read for a call that Redis has in progress ("": it is not).

    Raises:
        Unreadable: What is stored is no state of ours.
    """
    checkpoint = read_checkpoint(stored)
    return replayed_from(checkpoint.place.entry) if stored.rev and not checkpoint.over else ""

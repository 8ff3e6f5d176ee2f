"""What Redis has of calls: loaded, and set aside where nothing can be made of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from trio_asr.bus.base import Bus
from trio_asr.config import RedisConfig
from trio_asr.core.checkpoint import Stored, Unreadable, read_checkpoint
from trio_asr.core.outbox import Topics
from trio_asr.services import Services

EVENTS_MAXLEN = 100_000


class StoredCalls:
    """Loads the states of calls; asks for as long as it takes."""

    def __init__(self, bus: Bus, services: Services) -> None:
        self._bus, self._services = bus, services
        self._aside: dict[str, dict[str, Any]] = {}  # what to say of calls whose checkpoint was set aside

    async def load(self, ids: list[str]) -> list[Stored]:
        """Return what is stored of some calls; what cannot be read is set aside, as if there was nothing."""
        found = await self._services.patiently(partial(self._bus.load, ids))
        for i, stored in enumerate(found):
            try:
                read_checkpoint(stored)
            except Unreadable as error:
                found[i] = await self._set_aside(ids[i], str(error))
        return found

    def was_set_aside(self, interaction_id: str) -> bool:
        """Say whether a call lost its checkpoint so and has not begun since."""
        return interaction_id in self._aside

    def said_of(self, interaction_id: str) -> dict[str, Any] | None:
        """Return the event that tells of it, once."""
        return self._aside.pop(interaction_id, None)

    async def _set_aside(self, interaction_id: str, why: str) -> Stored:
        key = await self._services.patiently(partial(self._bus.set_aside, interaction_id))
        self._services.broken_state("call", why, key, interaction_id=interaction_id)
        self._aside[interaction_id] = {"event": "checkpoint_broken", "reason": why, "kept_as": key}
        (again,) = await self._services.patiently(partial(self._bus.load, [interaction_id]))
        return Stored(said=again.said)


def topics(redis: RedisConfig, interaction_id: str) -> Topics:
    """Return where a call's messages go."""
    return Topics(redis.transcript_key(interaction_id), redis.events_stream, EVENTS_MAXLEN)

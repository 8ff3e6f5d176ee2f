"""The stored state of calls: loaded, turned into calls again, and set aside if it cannot be read."""

from __future__ import annotations

from functools import partial
from typing import Any

from trio_asr.bus.base import Bus
from trio_asr.config import RedisConfig
from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.outbox import Outbox
from trio_asr.core.past import Past
from trio_asr.core.recent import Recent
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.codes import EventName, StoredKind
from trio_asr.wire.records import NewerState, Stored, Unreadable, read_checkpoint
from trio_asr.wire.transcripts import Item, Topics
from trio_asr.worker.retry import patiently

EVENTS_MAXLEN = 100_000


class StoredCalls:
    """The loader of calls' states. It asks until Redis answers."""

    def __init__(self, bus: Bus, services: Services) -> None:
        self._bus, self._services = bus, services
        self._aside: dict[str, dict[str, Any]] = {}  # by call: the event that its checkpoint was set aside

    async def load(self, calls: list[str]) -> list[Stored]:
        """Return what is stored of some calls. What is unreadable is set aside, as if nothing were stored.

        Raises:
            NewerState: A call is one for a later version of this program; of none is anything written.
        """
        found = await patiently(self._services, partial(self._bus.load, calls))
        faults = [_fault_of(name, stored) for name, stored in zip(calls, found, strict=True)]
        for i, fault in enumerate(faults):
            if fault:
                found[i] = await self._set_aside(calls[i], fault)
        return found

    def was_set_aside(self, interaction_id: str) -> bool:
        """Return whether a call's checkpoint was set aside and the call has not started since."""
        return interaction_id in self._aside

    def call(self, interaction_id: str, stored: Stored, tenant: str, past: Past | None) -> Call:
        """Return a call that resumes from what is stored, or begins. Its first frame is of `tenant`.

        Raises:
            Unreadable: What is stored is no state of ours.
        """
        config, limits = self._services.config, self._services.config.interaction
        outbox = Outbox(interaction_id, topics(config.redis, interaction_id), stored, tenant)
        if (event := self._aside.pop(interaction_id, None)) is not None:
            outbox.put(Item(event=event))
        if config.http.token is not None:  # else nobody may see transcripts
            outbox.recent = Recent()
        bounds = Bounds(limits.gap_fill_ms, limits.max_unfinalized_s, limits.reorder_ms, limits.roles)
        return Call(outbox, bounds, None if outbox.fresh else past)

    async def _set_aside(self, interaction_id: str, why: str) -> Stored:
        key = await patiently(self._services, partial(self._bus.set_aside, interaction_id))
        self._services.broken_state(StoredKind.CALL, why, key, interaction_id=interaction_id)
        self._aside[interaction_id] = {"event": EventName.CHECKPOINT_BROKEN, "reason": why, "kept_as": key}
        (again,) = await patiently(self._services, partial(self._bus.load, [interaction_id]))
        return Stored(said=again.said)


def _fault_of(interaction_id: str, stored: Stored) -> str:
    """Return why what is stored of a call cannot be read, or "" if it can.

    Raises:
        NewerState: It is for a later version of this program.
    """
    try:
        read_checkpoint(stored)
    except NewerState as newer:
        raise NewerState(f"call {ids.show(interaction_id)}: {newer}") from None
    except Unreadable as error:
        return str(error)
    return ""


def topics(redis: RedisConfig, interaction_id: str) -> Topics:
    """Return the streams that a call's messages go to."""
    return Topics(redis.transcript_key(interaction_id), redis.events_stream, EVENTS_MAXLEN)

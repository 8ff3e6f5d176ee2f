"""How a worker joins a fleet and leaves it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trio_asr.bus.away import RETRY_BASE_S, RETRY_CAP_S
from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.control import Control
from trio_asr.core.backoff import Backoff
from trio_asr.telemetry import logs
from trio_asr.worker.beating import BEAT_TTL_MS, beats


class FleetError(Exception):
    """What keeps this worker from being a member of the fleet."""


async def join(control: Control, name: str, shards: int, on_away: Callable[[BusUnavailable], None]) -> None:
    """Make sure of the number of shards and of the name, as soon as the bus answers.

    Raises:
        FleetError: The fleet has another number of shards, or a living member of this name.
    """
    backoff = Backoff(RETRY_BASE_S, RETRY_CAP_S)
    while True:
        try:
            await _check(control, name, shards)
        except BusUnavailable as error:
            on_away(error)
            await trio.sleep(backoff.next())
        else:
            return


async def _check(control: Control, name: str, shards: int) -> None:
    """Make sure of both. Waits for the beat of a dead member of this name to expire.

    Raises:
        FleetError: The fleet has another number of shards, or a living member of this name.
        BusUnavailable: The bus does not answer.
    """
    found = await control.found(shards)
    if found != shards:
        raise FleetError(
            f"fleet.shards = {shards}: this fleet has begun with {found}, which cannot change; begin another "
            "one beside it, under another redis.consumer_group"
        )
    if await _is_taken(control, name):
        await trio.sleep(BEAT_TTL_MS / 1000)
        if await _is_taken(control, name):
            raise FleetError(
                f"fleet.member = {name!r}: another member of this name is alive; the names must differ "
                "(TRIO_ASR_MEMBER sets it for each process)"
            )


async def leave(control: Control, name: str) -> None:
    """Tell the others that a member is gone, if the bus answers."""
    try:
        await control.leave(name)
    except BusUnavailable as error:
        logs.get("fleet").warning("Could not say goodbye; the beat expires", why=str(error))


async def _is_taken(control: Control, name: str) -> bool:
    return name in {beat.member for beat in await beats(control)}

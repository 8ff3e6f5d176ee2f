"""A second fleet beside the first: the way to another number of shards."""

from __future__ import annotations

from dataclasses import replace

import trio

from trio_asr.client.redis import connect
from trio_asr.core.fleet.places import Places
from trio_asr.lab.chaos.fleet_run import BUSY, CALLS, FleetRun, fleet_row
from trio_asr.lab.chaos.row import Finding
from trio_asr.lab.rig.evidence import audio, events
from trio_asr.lab.rig.feeder import FedCall, calls
from trio_asr.lab.rig.fleet import Owners, Replaced, shared_by

FIRST, SECOND = "ab", "cd"  # members
PLACES = Replaced(4, second=Places(8, "asr-worker-2"))
CALL_S = 20.0
SWITCH_S = 16.0  # from then on calls begin in the second fleet
UP_S = 8.0  # the second fleet is up by then
GONE_S = CALL_S + 5.0  # the calls of the first are over by then


def _made() -> list[FedCall]:
    """Return calls of which one half begins in the first fleet, and later the other one in the second."""
    made = calls(CALLS, CALL_S)
    return made[::2] + [
        replace(call, id=f"{PLACES.name}-{call.number:03}", begin_s=SWITCH_S + call.begin_s)
        for call in made[1::2]
    ]


async def _replaced(fleet: FleetRun) -> None:
    """Start a second fleet before the producers turn to it; the first goes once its own calls are over."""
    run = fleet.run
    owners = Owners(run.rig.valkey.url, PLACES.second)
    async with trio.open_nursery() as nursery:
        await nursery.start(owners.watch)
        for name in SECOND:
            await run.rig.member(name, PLACES.second).start()
        if not await owners.become(lambda holders: shared_by(holders, SECOND), UP_S * BUSY):
            run.broken.append(f"{SECOND} do not share the second fleet: {list(owners.now)}")
        await run.at(GONE_S)
        async with trio.open_nursery() as leaving:
            for name in FIRST:
                leaving.start_soon(fleet.leave, name)
        run.over()
        await run.at(SWITCH_S + CALL_S)
        nursery.cancel_scope.cancel()
    if any(owners.moves):
        run.broken.append(f"shards of the second fleet moved: {owners.moves}")


def _apart(finding: Finding) -> list[str]:
    """Return the calls that were in a fleet in which they do not belong."""
    broken: list[str] = []
    with connect(finding.run.rig.valkey.url) as client:
        for prefix in PLACES.prefixes:
            fed, told = audio(client, prefix + "audio_stream"), events(client, prefix + "asr_events")
            there = fed.keys() | told.keys()
            broken += [f"{name} was at {prefix}" for name in there if PLACES.of(name) != prefix]
    return broken


ROWS = (
    fleet_row(
        "fleet-replaced",
        "a second fleet of more shards takes the new calls, the first ends",
        _replaced,
        FIRST,
        places=PLACES,
        moves=range(1),
        most=0,
        seconds=SWITCH_S + CALL_S,
        make=_made,
        also=_apart,
    ),
)

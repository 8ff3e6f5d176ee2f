"""Calls that come through the ingest, as platforms place them: faults of the first hop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import trio

from trio_asr.lab.chaos.bad_peers import Talk, persist
from trio_asr.lab.chaos.hostile_rows import alive, finals_late, first_late
from trio_asr.lab.chaos.ingest_calls import (
    NOT_SENT,
    NOT_STORED,
    IngestCall,
    first_hop,
    gateways,
    one_hole,
    placed,
)
from trio_asr.lab.chaos.ingest_peers import FLOOD, SLOW
from trio_asr.lab.chaos.redis_rows import away, freeze, restart
from trio_asr.lab.chaos.row import SECONDS, ChaosRun, Finding, Row
from trio_asr.lab.dial.report import Outcome
from trio_asr.lab.dial.settings import Faults
from trio_asr.lab.rig.feeder import RATE, FedCall
from trio_asr.lab.rig.shape import PLAIN, TWO_LEGS, Shape

START_S = 5.0
# From a break until the platform dials again. The simulator ends its segments at whole seconds; a joint close
# to one would leave too few samples to tell which they are.
AGAIN_S = 1.37
SECOND_S = 5.56
AWAY_S = 20.0
MULAW, ALAW, LINEAR_BOTH = Shape(1, "mulaw"), Shape(1, "alaw"), Shape(2)
# By kind: a platform, and a form in which it sends. Those with whom a break costs nothing come last.
RESUMING = (("generic", PLAIN), ("generic", LINEAR_BOTH))
PLATFORMS = (
    ("twilio", TWO_LEGS), ("twilio", MULAW), ("exotel", PLAIN), ("genesys", TWO_LEGS),
    ("jambonz", LINEAR_BOTH), RESUMING[0],
)  # fmt: skip
SHORT_FRAMES = (
    ("twilio", TWO_LEGS),
    ("twilio", MULAW),
    ("jambonz", LINEAR_BOTH),
    *RESUMING,
    ("generic", ALAW),
)
ENTRY_S, ALIGN_S, ROUND_TRIP_S = 0.1, 0.3, 0.1  # `ingest.entry_ms`, `align_ms`; on a busy machine
FILL = {"interaction": {"gap_fill_ms": 5000}}  # holes of these rows are filled with silence
DRAIN_S = 60.0
LONG_ENTRY_MS = 250  # one that is complete before a second socket is heard has the same audio as that
HOSTILE_S = 10.0  # for so long from `START_S` on


def _calls(
    kinds: tuple[tuple[str, Shape], ...] = PLATFORMS, seconds: float = SECONDS, **dial: Any
) -> list[FedCall]:
    """Return a call of each kind, that begin within a second; `dial` are other fields of them."""
    return [
        IngestCall(
            f"{platform}-{number}", number, seconds,
            begin_s=number * 0.15, shape=shape, platform=platform, **dial,
        )
        for number, (platform, shape) in enumerate(kinds, 1)
    ]  # fmt: skip


def _of(*kinds: tuple[str, Shape], **dial: Any) -> Callable[[], list[FedCall]]:
    """Return a maker of such calls."""
    return lambda: _calls(kinds, **dial)


def _and_new() -> list[FedCall]:
    """Return the usual calls, and one that begins in the midst of the fault."""
    return [*_calls(), NEW]


NEW = IngestCall("new", 78, 8.0, begin_s=START_S + 3, shape=TWO_LEGS)


async def _watch(run: ChaosRun) -> None:
    """Do nothing: there is no fault, or the platforms are it."""
    await run.at(START_S + AGAIN_S)
    run.over()


async def _calm(run: ChaosRun) -> None:
    await run.at(1)


# -- sockets -------------------------------------------------------------------------------------------------


async def _switch(run: ChaosRun) -> None:
    """Have the balancer prefer the other gateway, before sockets are dropped and opened again."""
    await run.at(START_S - 1)
    run.front.reverse()
    await _watch(run)


def _superseded(finding: Finding) -> list[str]:
    """Check that the second socket had the call: the first was closed, and what it still had is little."""
    broken = first_hop(finding)
    callers = finding.run.callers
    assert callers is not None
    for name, report in callers.reports.items():
        if [one.code for one in report.sockets] != [1008, 1000]:
            broken.append(f"{name}: its sockets were closed with {[one.code for one in report.sockets]}")
    for name, channel in finding.account.channels:
        if channel.gaps.get(NOT_STORED, 0) > (LONG_ENTRY_MS / 1000 + ROUND_TRIP_S) * RATE:
            broken.append(f"{name}: {channel.gaps} of the first socket are missing")
    return broken


# -- gateways ------------------------------------------------------------------------------------------------


async def _kill(run: ChaosRun) -> None:
    """Kill the gateway that has all calls; they go to the other one."""
    await run.at(START_S)
    await run.front.pop(0).kill()
    await _watch(run)


async def _terminate(run: ChaosRun) -> None:
    """Stop the gateway that has all calls: it lets them end, and new ones go to the other one."""
    await run.at(START_S)
    if (code := await run.front.pop(0).stop(DRAIN_S)) != 0:
        run.broken.append(f"exit code {code} after SIGTERM")


def _drained(finding: Finding) -> list[str]:
    """Check that nobody was hung up on."""
    callers = finding.run.callers
    assert callers is not None
    return first_hop(finding) + [
        f"{name}: {'; '.join(report.lines())}"
        for name, report in callers.reports.items()
        if [one.outcome for one in report.sockets] != [Outcome.FINISHED]
    ]


# -- bad peers -----------------------------------------------------------------------------------------------


async def _beside(run: ChaosRun, peers: Sequence[Talk]) -> None:
    """Let bad peers connect while calls go on, and others begin."""
    await run.at(START_S)
    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(persist, run.front[0].port, peer)
        await run.at(START_S + HOSTILE_S)
        if (await run.front[0].health()).get("status") != "healthy":
            run.broken.append("the gateway is not healthy")
        nursery.cancel_scope.cancel()
    run.over()


def _undisturbed(finding: Finding) -> list[str]:
    """Check that no call lost anything or waited, and that the new one was heard."""
    return first_hop(finding) + alive(finding) + finals_late(finding) + first_late(finding, NEW)


def _unfit(shape: Shape) -> str:
    return "" if shape == PLAIN else "platforms send audio in forms of their own"


_row = partial(
    Row,
    produce=placed,
    trust_feeder=True,  # what was spoken is the truth, whether or not it came to Redis
    check=first_hop,
    before=gateways({}),
    unfit=_unfit,
)
_TWO = gateways({}, {})
_DROPPED: dict[str, Any] = {"reconnect_after_s": AGAIN_S, "faults": Faults(drop_at_s=START_S)}

ROWS = (
    _row("ingest-calm", "through the ingest: nothing at all", _calm, _calls),
    _row("ingest-redis-frozen", "through the ingest: Redis frozen for 8 s", freeze, _calls),
    _row(
        "ingest-redis-away",
        "through the ingest: Redis away for 20 s",
        partial(away, seconds=AWAY_S),
        _of(*PLATFORMS, seconds=START_S + AWAY_S + 5),
        connections=2,
        within=60,
    ),
    _row(
        "ingest-redis-restart",
        "through the ingest: Redis killed and restarted (append-only file)",
        restart,
        _calls,
    ),
    _row(
        "ingest-drop",
        "platforms' sockets dropped, and opened again 1.4 s later",
        _watch,
        _of(*PLATFORMS, **_DROPPED),
        settings=FILL,
        gaps=frozenset({NOT_SENT}),
        check=one_hole(0.0),
    ),
    _row(
        "ingest-drop-other",
        "platforms' sockets dropped, and opened again at another gateway",
        _switch,
        _of(*PLATFORMS, seconds=10.0, **_DROPPED),
        before=_TWO,
        settings=FILL,
        gaps=frozenset({NOT_SENT}),
        check=one_hole(0.0),
    ),
    _row(
        "ingest-two-sockets",
        "a second socket for each call while the first lives",
        _watch,
        _of(*SHORT_FRAMES, burst_ms=0, faults=Faults(second_socket_s=SECOND_S)),
        before=gateways({"entry_ms": LONG_ENTRY_MS}),
        settings=FILL,
        gaps=frozenset({NOT_STORED}),
        check=_superseded,
    ),
    _row(
        "ingest-kill",
        "kill -9 of the gateway; platforms dial again 1.4 s later, another one answers",
        _kill,
        _of(*PLATFORMS, reconnect_after_s=AGAIN_S),
        before=_TWO,
        settings=FILL,
        gaps=frozenset({NOT_SENT, NOT_STORED}),
        check=one_hole(ENTRY_S + ALIGN_S + ROUND_TRIP_S),
    ),
    _row(
        "ingest-resume",
        "kill -9 of the gateway; clients that resume, another one answers",
        _kill,
        _of(*RESUMING, ("generic", MULAW), ("generic", ALAW), seconds=10.0, reconnect_after_s=AGAIN_S),
        before=_TWO,
        quick=True,
    ),
    _row(
        "ingest-sigterm",
        "SIGTERM of the gateway, which lets calls end; new ones go to another",
        _terminate,
        _and_new,
        before=gateways({"drain_s": DRAIN_S}, {}),
        check=_drained,
        quick=True,
    ),
    _row(
        "ingest-slow-loris",
        "300 peers that say next to nothing, beside calls",
        partial(_beside, peers=SLOW * 50),
        _and_new,
        check=_undisturbed,
    ),
    _row(
        "ingest-flood",
        "8 peers that send nonsense as fast as they can, beside calls",
        partial(_beside, peers=FLOOD),
        _and_new,
        check=_undisturbed,
    ),
)

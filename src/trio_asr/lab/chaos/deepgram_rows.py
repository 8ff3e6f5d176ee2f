"""Faults of Deepgram: drops, refusals, silence, nonsense."""

from __future__ import annotations

from functools import partial

from trio_asr.lab.chaos.row import SECONDS, ChaosRun, Finding, Row, of_seconds
from trio_asr.lab.rig.feeder import FedCall, calls
from trio_asr.wire.codes import GapReason

START_S, OUTAGE_S = 5.0, 15.0
STALL_S = 8.0
POISONED_RATE = 16_000


async def _drop(run: ChaosRun, *, every: float = 0.0, until: float = START_S) -> None:
    """Reset all sockets at `START_S`, then every `every` seconds up to `until`."""
    at = START_S
    while True:
        await run.at(at)
        await run.simulator.strike(abort_after_s=0)
        at += every
        if not every or at > until:
            break
    run.over()


async def _close(run: ChaosRun, code: int) -> None:
    await run.at(START_S)
    await run.simulator.strike(close_after_s=0, close_code=code)
    run.over()


async def _refuse(run: ChaosRun, status: int) -> None:
    """Refuse handshakes for `OUTAGE_S`, and drop all open connections."""
    await run.at(START_S)
    await run.simulator.faults(refuse_status=status)
    await run.simulator.strike(abort_after_s=0)
    await run.at(START_S + OUTAGE_S)
    await run.simulator.heal()
    run.over()


async def _poison(run: ChaosRun) -> None:
    """Refuse the query of one call for good."""
    await run.simulator.faults(match={"sample_rate": str(POISONED_RATE)}, refuse_status=400)
    await run.at(SECONDS)


def _poisoned_calls() -> list[FedCall]:
    poisoned = FedCall("poisoned", 99, SECONDS, begin_s=0.5, rate=POISONED_RATE)
    return [*calls(5, SECONDS), poisoned]


def _poisoned(finding: Finding) -> list[str]:
    """Check that the poisoned call's audio is given up, and that no other call has gaps."""
    broken = []
    for one in finding.account.calls.values():
        covered = one.total("covered")
        if one.id == "poisoned" and (covered or not one.gaps):
            broken.append(f"the poisoned call has {covered} samples in finals, gaps {one.gaps}")
        if one.id != "poisoned" and one.gaps:
            broken.append(f"{one.id} has gaps: {one.gaps}")
    return broken


async def _slow_handshakes(run: ChaosRun) -> None:
    await run.simulator.faults(handshake_delay_s=6)
    await run.at(6)
    run.over()


async def _mute(run: ChaosRun) -> None:
    await run.at(START_S)
    await run.simulator.strike(mute_after_s=0)
    run.over()


async def _deaf(run: ChaosRun) -> None:
    await run.at(START_S)
    await run.simulator.strike(stop_reading_after_s=0)
    run.over()


async def _odd_finals(run: ChaosRun) -> None:
    await run.simulator.faults(
        shrink_final_every=3,
        duplicate_final_every=2,
        overlap_final_every=5,
        zero_final_every=2,
        unknown_every=3,
        garbage_every=4,
        utterance_end_delay_s=1,
        final_delay_s=0.7,
    )
    await run.at(SECONDS)


async def _missing_finals(run: ChaosRun) -> None:
    await run.simulator.faults(drop_final_every=4)
    await run.at(SECONDS)


ROWS = (
    Row("drop-once", "all sockets dropped once", _drop, connections=2, quick=True),
    Row(
        "drop-5s",
        "all sockets dropped every 5 s",
        partial(_drop, every=5.0, until=16),
        of_seconds(18.0),
        connections=4,
    ),
    Row(
        "drop-fast",
        "sockets dropped faster than finals come, for 10 s",
        partial(_drop, every=0.7, until=15),
        of_seconds(18.0),
        simulate=("--segment-ms", "2000"),
        connections=17,
    ),
    Row("close-1011", "all sockets closed with 1011", partial(_close, code=1011), connections=2),
    Row("close-1000", "all sockets closed with 1000, unasked", partial(_close, code=1000), connections=2),
    Row("refuse-503", "handshakes refused with 503 for 15 s", partial(_refuse, status=503), connections=2),
    Row("refuse-429", "handshakes refused with 429 for 15 s", partial(_refuse, status=429), connections=2),
    Row("refuse-401", "handshakes refused with 401 for 15 s", partial(_refuse, status=401), connections=2),
    Row(
        "poisoned-call",
        "one call always gets 400, beside healthy ones",
        _poison,
        _poisoned_calls,
        settings={"interaction": {"max_unfinalized_s": 5}, "deepgram": {"max_open_segment_s": 4}},
        gaps=frozenset({GapReason.RETENTION}),
        check=_poisoned,
    ),
    Row("handshake-6s", "handshakes take 6 s", _slow_handshakes),
    Row("mute", "sockets mute for good", _mute, connections=2, within=STALL_S + 45),
    Row("deaf", "sockets no longer read, for good", _deaf, connections=2, overlaps=True, quick=True),
    Row("odd-finals", "finals repeated, overlapping, cut, late; garbage", _odd_finals, quick=True),
    Row(
        "missing-finals",
        "every fourth final never comes",
        _missing_finals,
        gaps=frozenset({GapReason.SKIPPED}),
        connections=2,  # the last final may be among them: its audio is sent again
    ),
)

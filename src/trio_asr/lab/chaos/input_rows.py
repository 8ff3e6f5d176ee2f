"""Faults of producers."""

from __future__ import annotations

import trio

from trio_asr.lab.chaos.row import ChaosRun, Finding, Row, all_of
from trio_asr.lab.rig.feeder import RATE, Mode
from trio_asr.lab.rig.shape import Shape

CUT_AT_S, CUT_S = 5.0, 3.0
CUT = "cut by producers"
MAXLEN = 300  # a second of six calls: more than a delayed feeder adds at once


async def _watch(run: ChaosRun) -> None:
    """Do nothing: the producers are the fault."""
    await run.at(1)


async def _fall_behind(run: ChaosRun) -> None:
    """Freeze the reader while producers trim the stream to a second."""
    await run.at(CUT_AT_S)
    run.worker.freeze()
    await trio.sleep(CUT_S)
    run.worker.thaw()
    run.over()


def _only_what_was_cut(finding: Finding) -> list[str]:
    """Check that what was trimmed while the reader was frozen is lost, and nothing else."""
    broken = []
    for name, channel in finding.account.channels:
        if not channel.missing:
            broken.append(f"{name} has lost nothing: the stream was not cut")
        for first, last in channel.missing:
            # Calls begin up to a second after the clock does.
            if not (CUT_AT_S - 1.5) * RATE <= first <= last <= (CUT_AT_S + CUT_S + 0.5) * RATE:
                broken.append(f"{name} has lost {first}-{last}, which was never cut")
        channel.gaps[CUT], channel.lost = channel.lost, 0
    return broken


def _ended_once(finding: Finding) -> list[str]:
    """Check that an end that comes after the call is over has no effect."""
    broken = []
    for name in finding.account.calls:
        life = [
            event["event"]
            for event in finding.evidence.events.get(name, ())
            if event["event"] in ("started", "resumed", "ended")
        ]
        if life != ["started", "ended"]:
            broken.append(f"{name}: {' '.join(life)}")
    return broken


def _uncut(shape: Shape) -> str:
    if shape.format(RATE).width == 1:
        return "a sample of one byte cannot be cut"
    return "half a sample has no position" if shape.positions else ""


ROWS = (
    Row("twice", "every frame twice", _watch, all_of(Mode.TWICE), quick=True),
    Row("disorder", "two of five frames swapped", _watch, all_of(Mode.DISORDER)),
    Row("missing", "10 % of the frames missing", _watch, all_of(Mode.MISSING)),
    Row(
        "interleaved",
        "two series of seq under one id",
        _watch,
        all_of(Mode.INTERLEAVED, seconds=10),
        by_order=True,
        unfit=lambda shape: "two series cannot both tell their positions" if shape.positions else "",
    ),
    Row(
        "maxlen",
        "the stream cut by MAXLEN under a reader frozen for 3 s",
        _fall_behind,
        settings={"interaction": {"gap_fill_ms": 5000}},
        trust_feeder=True,
        maxlen=MAXLEN,
        gaps=frozenset({CUT}),
        check=_only_what_was_cut,
    ),
    Row("end-early", "call_end 2 s early", _watch, all_of(Mode.END_EARLY), connections=2),
    Row("end-twice", "call_end twice", _watch, all_of(Mode.END_TWICE), check=_ended_once),
    Row("end-unknown", "call_end of unknown calls", _watch, all_of(Mode.END_UNKNOWN), check=_ended_once),
    Row(
        "end-late",
        "call_end after the idle end",
        _watch,
        all_of(Mode.END_LATE, seconds=8),
        settings={"interaction": {"idle_timeout_ms": 3000}},
        check=_ended_once,
    ),
    Row("odd-bytes", "frames of 577 bytes: cut in mid-sample", _watch, all_of(Mode.ODD), unfit=_uncut),
)

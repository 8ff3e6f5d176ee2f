"""Calls of two channels, of which one is ahead of the other; and entries that tell their positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from trio_asr.lab.chaos.daemon_rows import NOISE_S, TAKEOVER_S
from trio_asr.lab.chaos.row import CALLS, ChaosRun, Finding, Row
from trio_asr.lab.rig.account import connections_of
from trio_asr.lab.rig.feeder import RATE, FedCall, Mode, calls
from trio_asr.lab.rig.shape import TWO_LEGS, Shape
from trio_asr.wire.codes import GapReason

BEHIND = 1  # the channel that lags, and the one that falls silent
BEHIND_S, LATE_S = 5.0, 8.0
STRIKE_S = 9.0
SILENT_AT_S, SILENT_S = 3.0, 120.0
MOST_AGAIN_S = 4.0  # segments of a second, and what was on its way; of the silence nothing more
CHANGE_S = 8.0
HOLE_AT_S, FILLED_MS = 5.0, 5000
PLACED = Shape(2, "mulaw", positions=True)


def _calls(
    mode: Mode, seconds: float, *, at_s: float = 0.0, for_s: float = 0.0
) -> Callable[[], list[FedCall]]:
    """Return a maker of the usual number of calls of a mode; times are in seconds."""
    return lambda: [replace(call, at_s=at_s, for_s=for_s) for call in calls(CALLS, seconds, mode)]


async def _watch(run: ChaosRun) -> None:
    """Do nothing: the producers, or the simulator from the beginning, are the fault."""
    await run.at(1)


# -- one channel ahead of the other --------------------------------------------------------------------------


async def _behind(run: ChaosRun, seconds: float = BEHIND_S) -> None:
    """Let one channel lag, and its segments end elsewhere."""
    await run.simulator.faults(only_channel=BEHIND, channel_delay_s=seconds, cut_every_s=0.7)


async def _drop(run: ChaosRun, *, at: float = STRIKE_S) -> None:
    """Drop all sockets; on those that follow, no channel lags."""
    await run.at(at)
    await run.simulator.heal()
    await run.simulator.strike(abort_after_s=0)
    run.over()


async def _kill(run: ChaosRun) -> None:
    await run.at(STRIKE_S)
    await run.simulator.heal()
    await run.kill()


async def _take_over(run: ChaosRun) -> None:
    await run.at(STRIKE_S)
    await run.simulator.heal()
    await run.worker.kill()
    run.over()
    await run.takes_over(run.standby, trio.current_time(), TAKEOVER_S + NOISE_S)


def _sent_again(least: float, most: float) -> Callable[[Finding], list[str]]:
    """Return a check of how many seconds of a call its connections received twice.

    Less than `least` means that no channel lagged, and that the row shows nothing.
    """

    def check(finding: Finding) -> list[str]:
        again = {
            name: sum(one["audio_bytes"] / one["bytes_per_s"] for one in connections)
            - _length_s(finding, name)
            for name, connections in connections_of(finding.evidence).items()
        }
        finding.run.notes.append(f"sent again: {min(again.values()):.1f}-{max(again.values()):.1f} s")
        return [f"{name}: {s:.1f} s were sent again" for name, s in again.items() if not least <= s <= most]

    return check


def _length_s(finding: Finding, name: str) -> float:
    """Return the length of a call by the channel that was never silent."""
    return max(channel.samples for channel in finding.account.calls[name].channels) / RATE


#: What a channel that lags by `BEHIND_S` has to hear again; its last segment was not complete.
_AGAIN = _sent_again(BEHIND_S - 1, BEHIND_S + MOST_AGAIN_S)


# -- one channel without finals ------------------------------------------------------------------------------


async def _never(run: ChaosRun) -> None:
    await run.simulator.faults(only_channel=BEHIND, drop_final_every=1)


def _one_given_up(finding: Finding) -> list[str]:
    """Check that the channel without finals is given up, and that the other one is whole."""
    broken = []
    for name, call in finding.account.calls.items():
        for number, channel in enumerate(call.channels):
            expected = {GapReason.NO_RESULT.value: channel.samples} if number == BEHIND else {}
            if channel.gaps != expected:
                broken.append(f"{name}: channel {number} has gaps {channel.gaps}, not {expected}")
    return broken


# -- positions -----------------------------------------------------------------------------------------------


def _hole(seconds: float) -> Callable[[Finding], list[str]]:
    """Return a check that each channel's gap of the source is as long as the hole."""

    def check(finding: Finding) -> list[str]:
        expected = {GapReason.SOURCE.value: round(seconds * RATE)}
        return [
            f"{name} has gaps {channel.gaps}, not {expected}"
            for name, channel in finding.account.channels
            if channel.gaps != expected
        ]

    return check


ROWS = (
    Row(
        "leg-drop",
        "sockets dropped while one channel is 5 s ahead",
        _drop,
        before=_behind,
        connections=2,
        check=_AGAIN,
        quick=True,
        shape=TWO_LEGS,
    ),
    Row(
        "leg-kill",
        "kill -9 while one channel is 5 s ahead",
        _kill,
        before=_behind,
        connections=2,
        check=_AGAIN,
        shape=TWO_LEGS,
    ),
    Row(
        "leg-takeover",
        "kill -9 with a standby while one channel is 5 s ahead",
        _take_over,
        workers=2,
        before=_behind,
        connections=2,
        check=_AGAIN,
        shape=TWO_LEGS,
    ),
    Row(
        "leg-late",
        "one channel 8 s late throughout",
        _watch,
        before=partial(_behind, seconds=LATE_S),
        settings={"deepgram": {"close_timeout_ms": 30_000}},
        shape=TWO_LEGS,
    ),
    Row(
        "leg-silent",
        "sockets dropped after 120 s of silence on one channel",
        partial(_drop, at=SILENT_AT_S + SILENT_S - 1),
        _calls(Mode.SILENT, SILENT_AT_S + SILENT_S + 6, at_s=SILENT_AT_S, for_s=SILENT_S),
        connections=2,
        check=_sent_again(0.0, MOST_AGAIN_S),
        shape=TWO_LEGS,
    ),
    Row(
        "leg-unanswered",
        "no finals for one channel",
        _watch,
        before=_never,
        gaps=frozenset({GapReason.NO_RESULT}),
        connections=10,
        within=120,
        check=_one_given_up,
        shape=TWO_LEGS,
    ),
    Row(
        "leg-change",
        "mono linear16 becomes two-channel mu-law as sockets are dropped",
        partial(_drop, at=CHANGE_S + 0.5),
        _calls(Mode.CHANGE, 16.0, at_s=CHANGE_S),
        connections=3,
        shape=TWO_LEGS,
    ),
    Row(
        "leg-mixed",
        "JSON and MessagePack in turn; sockets dropped",
        _drop,
        _calls(Mode.MIXED, 16.0),
        connections=2,
        quick=True,
        shape=TWO_LEGS,
    ),
    Row(
        "positions",
        "positions in any order, overlapping, some again",
        _watch,
        _calls(Mode.SCRAMBLED, 16.0),
        quick=True,
        shape=PLACED,
    ),
    Row(
        "positions-kill",
        "positions likewise; kill -9",
        _kill,
        _calls(Mode.SCRAMBLED, 16.0),
        connections=2,
        shape=PLACED,
    ),
    Row(
        "hole-3s",
        "positions leave out 3 s, which are filled",
        _watch,
        _calls(Mode.HOLE, 16.0, at_s=HOLE_AT_S, for_s=3.0),
        settings={"interaction": {"gap_fill_ms": FILLED_MS}},
        shape=PLACED,
    ),
    Row(
        "hole-30s",
        "positions leave out 30 s, a gap",
        _watch,
        _calls(Mode.HOLE, 45.0, at_s=HOLE_AT_S, for_s=30.0),
        settings={"interaction": {"gap_fill_ms": FILLED_MS}},
        gaps=frozenset({GapReason.SOURCE}),
        check=_hole(30.0),
        connections=2,
        shape=PLACED,
    ),
)

"""Two versions beside each other: one takes over from the other in mid-call, forward and back.

The other version may know mono linear16 alone, in JSON. So calls of other kinds begin, or change, once this
one is active.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from trio_asr.client.producer import Entries
from trio_asr.lab.chaos.daemon_rows import kill_with_standby, terminate_with_standby
from trio_asr.lab.chaos.row import ChaosRun, Finding, Row
from trio_asr.lab.rig.feeder import FedCall, Mode, calls
from trio_asr.lab.rig.shape import PLAIN, TWO_LEGS, Shape

MODES = (Mode.PLAIN, Mode.PLAIN, Mode.TWICE, Mode.DISORDER, Mode.MISSING, Mode.ODD)
SECONDS = 20.0
LATER_S = 14.0  # after the takeover, also that of a worker that was killed
SOCKETS = {"call": 2, "change": 3, "late": 1}  # of a call, by the first part of its name
PACKED = Shape(2, "mulaw", Entries.MSGPACK)


def _mono() -> list[FedCall]:
    """Return calls that every version knows, of the kinds that checkpoints differ by."""
    usual = calls(len(MODES), SECONDS)
    return [replace(call, mode=mode) for call, mode in zip(usual, MODES, strict=True)]


def _and_packed() -> list[FedCall]:
    """Return such calls, some that begin late with two channels, and one that gets its second one late."""
    mono = _mono()
    number = len(mono) + 1
    change = FedCall("change", number, SECONDS, Mode.CHANGE, shape=TWO_LEGS, at_s=LATER_S)
    later = [
        FedCall(f"late-{i}", number + i, SECONDS - LATER_S, begin_s=LATER_S + i * 0.3, shape=PACKED)
        for i in (1, 2, 3)
    ]
    return [*mono, change, *later]


async def _replaced(run: ChaosRun, stop: Callable[[ChaosRun], Awaitable[None]]) -> None:
    """Let the standby take over; the worker that was active becomes its standby."""
    await stop(run)
    await run.worker.start_and_wait("standby")


def _both(finding: Finding) -> list[str]:
    """Check that both workers are alive, and that those calls went through both that should have."""
    broken = [f"{worker.name} has ended" for worker in finding.run.rig.workers if not worker.running]
    for name, call in finding.account.calls.items():
        kind = name.partition("-")[0]
        if kind in SOCKETS and call.connections != SOCKETS[kind]:
            broken.append(f"{name} had {call.connections} connections, not {SOCKETS[kind]}")
    return broken


def _known(shape: Shape) -> str:
    return "" if shape == PLAIN else "the other version may know mono linear16 in JSON alone"


def _row(name: str, title: str, stop: Callable[[ChaosRun], Awaitable[None]], other: int) -> Row:
    """Return a row of two versions, in which worker `other` is of the other one."""
    forward = other == 0
    return Row(
        name,
        title,
        partial(_replaced, stop=stop),
        _and_packed if forward else _mono,
        workers=2,
        beside=frozenset({other}),
        connections=3 if forward else 2,
        check=_both,
        unfit=_known,
    )


ROWS = (
    _row("upgrade", "SIGTERM; a standby of this version takes over from another", terminate_with_standby, 0),
    _row("upgrade-kill", "kill -9; a standby of this version takes over from another", kill_with_standby, 0),
    _row("rollback", "SIGTERM; a standby of another version takes over from this", terminate_with_standby, 1),
    _row("rollback-kill", "kill -9; a standby of another version takes over from this", kill_with_standby, 1),
)

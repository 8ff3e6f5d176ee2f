"""The daemon at fault: killed, stopped, frozen, with and without a standby."""

from __future__ import annotations

import random
from functools import partial

import trio

from trio_asr.lab.chaos.stage import SECONDS, Finding, Row, Stage, of_seconds

LEASE_S = 5.0
TAKEOVER_S = LEASE_S + 2.0  # after a death; the lease has to expire
HANDOVER_S = 1.0  # after a SIGTERM; the lease is given back
NOISE_S = 0.5  # of a busy machine, in starting processes and asking over HTTP
FREEZE_S = 20.0


async def _kill(stage: Stage, at: float) -> None:
    await stage.at(at)
    await stage.kill()


async def _kill_connecting(stage: Stage) -> None:
    """Kill it while its handshakes are not answered yet."""
    await stage.at(1.8)
    await stage.kill()
    await stage.at(6)
    await stage.simulator.heal()


async def _slow(stage: Stage) -> None:
    await stage.simulator.faults(handshake_delay_s=3)


async def _kill_closing(stage: Stage) -> None:
    """Kill it between CloseStream and the last finals."""
    await stage.at(SECONDS + 1.2)
    await stage.kill()


async def _late(stage: Stage) -> None:
    await stage.simulator.faults(final_delay_s=1.5)


async def _kill_ten_times(stage: Stage) -> None:
    chance = random.Random(10)  # noqa: S311
    for _ in range(10):
        await trio.sleep(chance.uniform(0.5, 4.0))
        await stage.kill()


async def _terminate(stage: Stage) -> None:
    await stage.at(5)
    if (code := await stage.worker.stop()) != 0:
        stage.broken.append(f"exit code {code} after SIGTERM")
    stage.over()
    await stage.worker.start()


async def _terminate_with_standby(stage: Stage) -> None:
    await stage.at(5)
    since = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.worker.stop)
        await stage.takes_over(stage.standby, since, HANDOVER_S + NOISE_S)
        stage.over()


async def _kill_with_standby(stage: Stage) -> None:
    await stage.at(5)
    await stage.worker.kill()
    stage.over()
    await stage.takes_over(stage.standby, trio.current_time(), TAKEOVER_S + NOISE_S)


async def _freeze_with_standby(stage: Stage) -> None:
    await stage.at(5)
    stage.worker.freeze()
    stage.over()
    await stage.takes_over(stage.standby, trio.current_time(), TAKEOVER_S + NOISE_S)
    await stage.at(5 + FREEZE_S)
    stage.worker.thaw()
    await stage.worker.has_role("standby", 10)


def _woken(finding: Finding) -> list[str]:
    """The woken worker dialled nothing, and both are alive."""
    broken = []
    if finding.account.unannounced:
        broken.append(f"{finding.account.unannounced} connections that nobody told of")
    if not all(worker.running for worker in finding.stage.rig.workers):
        broken.append("a worker has ended")
    return broken


async def _freeze(stage: Stage, seconds: float) -> None:
    await stage.at(5)
    stage.worker.freeze()
    await trio.sleep(seconds)
    stage.worker.thaw()
    stage.over()


ROWS = (
    Row("kill-streaming", "kill -9 while streaming", partial(_kill, at=5), connections=2, quick=True),
    Row("kill-connecting", "kill -9 while connecting", _kill_connecting, before=_slow),
    Row("kill-closing", "kill -9 while closing", _kill_closing, before=_late, connections=2),
    Row(
        "kill-10x",
        "kill -9 ten times at random",
        _kill_ten_times,
        of_seconds(24.0),
        settings={"redis": {"lease_ms": 1000}},  # or most would meet one that waits for its own lease to end
        connections=11,
    ),
    Row("sigterm", "SIGTERM and a new start", _terminate, connections=2, quick=True),
    Row(
        "sigterm-standby",
        "SIGTERM with a standby",
        _terminate_with_standby,
        workers=2,
        connections=2,
        quick=True,
    ),
    Row("kill-standby", "kill -9 with a standby", _kill_with_standby, workers=2, connections=2),
    Row(
        "freeze-standby",
        "frozen for 20 s with a standby, then awake",
        _freeze_with_standby,
        of_seconds(28.0),
        workers=2,
        connections=2,
        overlaps=True,  # the frozen owner's sockets linger until Deepgram closes them; they get nothing
        check=_woken,
    ),
    Row("freeze-alone", "frozen for 8 s, nobody else there", partial(_freeze, seconds=8.0)),
)

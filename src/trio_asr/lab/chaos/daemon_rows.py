"""Faults of the daemon: killed, stopped, frozen, with and without a standby."""

from __future__ import annotations

import random
from functools import partial

import trio

from trio_asr.lab.chaos.row import SECONDS, ChaosRun, Finding, Row, of_seconds

LEASE_S = 5.0
TAKEOVER_S = LEASE_S + 2.0  # after a death: the lease has to expire
HANDOVER_S = 1.0  # after a SIGTERM: the lease is released
NOISE_S = 0.5  # allowed for a busy machine that starts processes and answers HTTP
FREEZE_S = 20.0


async def _kill(run: ChaosRun, at: float) -> None:
    await run.at(at)
    await run.kill()


async def _kill_connecting(run: ChaosRun) -> None:
    """Kill it before its handshakes are answered."""
    await run.at(1.8)
    await run.kill()
    await run.at(6)
    await run.simulator.heal()


async def _slow(run: ChaosRun) -> None:
    await run.simulator.faults(handshake_delay_s=3)


async def _kill_closing(run: ChaosRun) -> None:
    """Kill it between CloseStream and the last finals."""
    await run.at(SECONDS + 1.2)
    await run.kill()


async def _late(run: ChaosRun) -> None:
    await run.simulator.faults(final_delay_s=1.5)


async def _kill_ten_times(run: ChaosRun) -> None:
    chance = random.Random(10)  # noqa: S311
    for _ in range(10):
        await trio.sleep(chance.uniform(0.5, 4.0))
        await run.kill()


async def _terminate(run: ChaosRun) -> None:
    await run.at(5)
    if (code := await run.worker.stop()) != 0:
        run.broken.append(f"exit code {code} after SIGTERM")
    run.over()
    await run.worker.start()


async def terminate_with_standby(run: ChaosRun) -> None:
    """Terminate the worker; its standby takes over."""
    await run.at(5)
    since = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.worker.stop)
        await run.takes_over(run.standby, since, HANDOVER_S + NOISE_S)
        run.over()


async def kill_with_standby(run: ChaosRun) -> None:
    """Kill the worker; its standby takes over once the lease has expired."""
    await run.at(5)
    await run.worker.kill()
    run.over()
    await run.takes_over(run.standby, trio.current_time(), TAKEOVER_S + NOISE_S)


async def _freeze_with_standby(run: ChaosRun) -> None:
    await run.at(5)
    run.worker.freeze()
    run.over()
    await run.takes_over(run.standby, trio.current_time(), TAKEOVER_S + NOISE_S)
    await run.at(5 + FREEZE_S)
    run.worker.thaw()
    await run.worker.has_role("standby", 10)


def _woken(finding: Finding) -> list[str]:
    """Check that the woken worker dialled nothing and that both workers are alive."""
    broken = []
    if finding.account.unannounced:
        broken.append(f"{finding.account.unannounced} connections that nobody told of")
    if not all(worker.running for worker in finding.run.rig.workers):
        broken.append("a worker has ended")
    return broken


async def _freeze(run: ChaosRun, seconds: float) -> None:
    await run.at(5)
    run.worker.freeze()
    await trio.sleep(seconds)
    run.worker.thaw()
    run.over()


ROWS = (
    Row("kill-streaming", "kill -9 while streaming", partial(_kill, at=5), connections=2, quick=True),
    Row("kill-connecting", "kill -9 while connecting", _kill_connecting, before=_slow),
    Row("kill-closing", "kill -9 while closing", _kill_closing, before=_late, connections=2),
    Row(
        "kill-10x",
        "kill -9 ten times at random",
        _kill_ten_times,
        of_seconds(24.0),
        settings={"redis": {"lease_ms": 1000}},  # or most would meet a wait for the old lease to expire
        connections=11,
    ),
    Row("sigterm", "SIGTERM and a new start", _terminate, connections=2, quick=True),
    Row(
        "sigterm-standby",
        "SIGTERM with a standby",
        terminate_with_standby,
        workers=2,
        connections=2,
        quick=True,
    ),
    Row("kill-standby", "kill -9 with a standby", kill_with_standby, workers=2, connections=2),
    Row(
        "freeze-standby",
        "frozen for 20 s with a standby, then awake",
        _freeze_with_standby,
        of_seconds(28.0),
        workers=2,
        connections=2,
        overlaps=True,  # the frozen owner's sockets linger until Deepgram closes them; they receive nothing
        check=_woken,
    ),
    Row("freeze-alone", "frozen for 8 s, nobody else there", partial(_freeze, seconds=8.0)),
)

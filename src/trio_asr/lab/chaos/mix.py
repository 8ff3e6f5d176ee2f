"""Faults in random order, for as long as asked: combinations that no row covers."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from trio_asr.lab.chaos.row import ChaosRun, Finding, Row
from trio_asr.lab.rig.feeder import FedCall, Mode

AT_ONCE = 6  # calls
SETTLE_S = 20.0  # without faults, at the end
MODES = (
    Mode.PLAIN,
    Mode.PLAIN,
    Mode.PLAIN,
    Mode.TWICE,
    Mode.MISSING,
    Mode.END_EARLY,
    Mode.END_TWICE,
    Mode.ODD,
)

Fault = Callable[[ChaosRun, random.Random], Awaitable[None]]
Mix = Callable[[int, float], Row]  # of a seed, for so many minutes


def mixed(seed: int, minutes: float) -> Row:
    """Return one row of `minutes`; the same seed gives the same calls and faults."""
    seconds = minutes * 60
    return Row(
        f"random-{seed}",
        f"faults at random, {minutes:g} minutes, seed {seed}",
        partial(_mix, seed=seed, seconds=seconds),
        partial(random_calls, seed=seed, seconds=seconds),
        workers=2,
        within=120,
        connections=10_000,
        overlaps=True,  # of frozen owners, and of sockets that are no longer read
        check=_alive,
    )


def random_calls(
    seed: int, seconds: float, at_once: int = AT_ONCE, modes: Sequence[Mode] = MODES
) -> list[FedCall]:
    """Return calls of 10 to 40 s, several at any time."""
    chance = random.Random(seed)  # noqa: S311
    out: list[FedCall] = []
    for line in range(at_once):
        at = line * 0.7
        while at < seconds - 10:
            length = min(chance.uniform(10, 40), seconds - at)
            out.append(
                FedCall(
                    f"mixed-{len(out):04}",
                    len(out) + 1,
                    round(length, 2),
                    chance.choice(modes),
                    begin_s=at,
                )
            )
            at += length + chance.uniform(0.5, 5)
    return out


async def _mix(run: ChaosRun, *, seed: int, seconds: float) -> None:
    chance = random.Random(seed + 1)  # noqa: S311
    await run.at(4)
    while trio.current_time() < run.began + seconds - SETTLE_S:
        fault = chance.choice(FAULTS)
        run.notes.append(fault.__name__.strip("_"))
        await fault(run, chance)
        await trio.sleep(chance.uniform(0.5, 8))
    run.over()


def _alive(finding: Finding) -> list[str]:
    return [f"{worker.name} has ended" for worker in finding.run.rig.workers if not worker.running]


async def _drop(run: ChaosRun, chance: random.Random) -> None:
    await run.simulator.strike(abort_after_s=chance.uniform(0, 1))


async def _close(run: ChaosRun, chance: random.Random) -> None:
    code = chance.choice([1000, 1011, 1012, 1013])
    await run.simulator.strike(close_after_s=chance.uniform(0, 1), close_code=code)


async def _mute(run: ChaosRun, chance: random.Random) -> None:
    del chance
    await run.simulator.strike(mute_after_s=0)


async def _deaf(run: ChaosRun, chance: random.Random) -> None:
    del chance
    await run.simulator.strike(stop_reading_after_s=0)


async def _refuse(run: ChaosRun, chance: random.Random) -> None:
    await run.simulator.faults(refuse_status=chance.choice([429, 500, 503]))
    await run.simulator.strike(abort_after_s=0)
    await trio.sleep(chance.uniform(1, 6))
    await run.simulator.heal()


async def _slow(run: ChaosRun, chance: random.Random) -> None:
    await run.simulator.faults(handshake_delay_s=chance.uniform(1, 6), final_delay_s=chance.uniform(0, 2))
    await trio.sleep(chance.uniform(2, 6))
    await run.simulator.heal()


async def _nonsense(run: ChaosRun, chance: random.Random) -> None:
    await run.simulator.strike(
        duplicate_final_every=chance.randint(1, 3),
        shrink_final_every=chance.randint(1, 4),
        zero_final_every=chance.randint(1, 4),
        garbage_every=chance.randint(1, 5),
    )


async def _kill(run: ChaosRun, chance: random.Random) -> None:
    worker = chance.choice(run.rig.workers)
    await worker.kill()
    await trio.sleep(chance.uniform(0, 3))
    await worker.start()


async def _terminate(run: ChaosRun, chance: random.Random) -> None:
    worker = chance.choice(run.rig.workers)
    await worker.stop()
    await worker.start()


async def _freeze(run: ChaosRun, chance: random.Random) -> None:
    worker = chance.choice(run.rig.workers)
    worker.freeze()
    await trio.sleep(chance.uniform(1, 12))
    worker.thaw()


async def _restart_redis(run: ChaosRun, chance: random.Random) -> None:
    kill = chance.random() < 0.5
    await run.valkey(lambda: run.rig.valkey.restart(kill=kill))


async def _freeze_redis(run: ChaosRun, chance: random.Random) -> None:
    run.rig.valkey.pause()
    await trio.sleep(chance.uniform(1, 8))
    run.rig.valkey.resume()


async def _reset_redis(run: ChaosRun, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 5)):
        await run.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await trio.sleep(chance.uniform(0, 0.5))


FAULTS: tuple[Fault, ...] = (
    _drop,
    _close,
    _mute,
    _deaf,
    _refuse,
    _slow,
    _nonsense,
    _kill,
    _terminate,
    _freeze,
    _restart_redis,
    _freeze_redis,
    _reset_redis,
)

"""Faults in random order, for as long as told: what no row thought of."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from trio_asr.lab.chaos.stage import Finding, Row, Stage
from trio_asr.lab.rig.feeder import FedCall, Mode

AT_ONCE = 6  # calls
SETTLE_S = 20.0  # no faults towards the end
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

Fault = Callable[[Stage, random.Random], Awaitable[None]]


def mixed(seed: int, minutes: float) -> Row:
    """One row of `minutes`, the same calls and faults for the same seed."""
    seconds = minutes * 60
    return Row(
        f"random-{seed}",
        f"faults at random, {minutes:g} minutes, seed {seed}",
        partial(_mix, seed=seed, seconds=seconds),
        partial(_calls, seed=seed, seconds=seconds),
        workers=2,
        within=120,
        connections=10_000,
        overlaps=True,  # of frozen owners, and of sockets that are no longer read
        check=_alive,
    )


def _calls(seed: int, seconds: float) -> list[FedCall]:
    """Calls of 10 to 40 s, some at once at any time."""
    chance = random.Random(seed)  # noqa: S311
    out: list[FedCall] = []
    for line in range(AT_ONCE):
        at = line * 0.7
        while at < seconds - 10:
            length = min(chance.uniform(10, 40), seconds - at)
            out.append(
                FedCall(
                    f"mixed-{len(out):04}",
                    len(out) + 1,
                    round(length, 2),
                    chance.choice(MODES),
                    begin_s=at,
                )
            )
            at += length + chance.uniform(0.5, 5)
    return out


async def _mix(stage: Stage, *, seed: int, seconds: float) -> None:
    chance = random.Random(seed + 1)  # noqa: S311
    await stage.at(4)
    while trio.current_time() < stage.began + seconds - SETTLE_S:
        fault = chance.choice(FAULTS)
        stage.notes.append(fault.__name__.strip("_"))
        await fault(stage, chance)
        await trio.sleep(chance.uniform(0.5, 8))
    stage.over()


def _alive(finding: Finding) -> list[str]:
    return [f"{worker.name} has ended" for worker in finding.stage.rig.workers if not worker.running]


async def _drop(stage: Stage, chance: random.Random) -> None:
    await stage.simulator.strike(abort_after_s=chance.uniform(0, 1))


async def _close(stage: Stage, chance: random.Random) -> None:
    code = chance.choice([1000, 1011, 1012, 1013])
    await stage.simulator.strike(close_after_s=chance.uniform(0, 1), close_code=code)


async def _mute(stage: Stage, chance: random.Random) -> None:
    del chance
    await stage.simulator.strike(mute_after_s=0)


async def _deaf(stage: Stage, chance: random.Random) -> None:
    del chance
    await stage.simulator.strike(stop_reading_after_s=0)


async def _refuse(stage: Stage, chance: random.Random) -> None:
    await stage.simulator.faults(refuse_status=chance.choice([429, 500, 503]))
    await stage.simulator.strike(abort_after_s=0)
    await trio.sleep(chance.uniform(1, 6))
    await stage.simulator.heal()


async def _slow(stage: Stage, chance: random.Random) -> None:
    await stage.simulator.faults(handshake_delay_s=chance.uniform(1, 6), final_delay_s=chance.uniform(0, 2))
    await trio.sleep(chance.uniform(2, 6))
    await stage.simulator.heal()


async def _nonsense(stage: Stage, chance: random.Random) -> None:
    await stage.simulator.strike(
        duplicate_final_every=chance.randint(1, 3),
        shrink_final_every=chance.randint(1, 4),
        zero_final_every=chance.randint(1, 4),
        garbage_every=chance.randint(1, 5),
    )


async def _kill(stage: Stage, chance: random.Random) -> None:
    worker = chance.choice(stage.rig.workers)
    await worker.kill()
    await trio.sleep(chance.uniform(0, 3))
    await worker.start()


async def _terminate(stage: Stage, chance: random.Random) -> None:
    worker = chance.choice(stage.rig.workers)
    await worker.stop()
    await worker.start()


async def _freeze(stage: Stage, chance: random.Random) -> None:
    worker = chance.choice(stage.rig.workers)
    worker.freeze()
    await trio.sleep(chance.uniform(1, 12))
    worker.thaw()


async def _restart_redis(stage: Stage, chance: random.Random) -> None:
    kill = chance.random() < 0.5
    await stage.valkey(lambda: stage.rig.valkey.restart(kill=kill))


async def _freeze_redis(stage: Stage, chance: random.Random) -> None:
    stage.rig.valkey.pause()
    await trio.sleep(chance.uniform(1, 8))
    stage.rig.valkey.resume()


async def _reset_redis(stage: Stage, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 5)):
        await stage.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
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

"""Faults of Redis."""

from __future__ import annotations

import trio

from trio_asr.lab.chaos.row import ChaosRun, Finding, Row
from trio_asr.lab.rig.feeder import RATE
from trio_asr.lab.rig.spans import size

START_S = 5.0
UNREAD_S = 0.2
GONE = "gone with Redis"


def _alive(finding: Finding) -> list[str]:
    """Check that the daemon is alive: it never exits because of Redis."""
    return [] if finding.run.worker.running else ["the daemon has ended"]


async def restart(run: ChaosRun) -> None:
    """Kill Redis and start it again on its append-only file."""
    await run.at(START_S)
    await run.valkey(lambda: run.rig.valkey.restart(kill=True))
    run.over()


async def freeze(run: ChaosRun) -> None:
    """Freeze Redis for 8 s."""
    await run.at(START_S)
    run.rig.valkey.pause()
    await trio.sleep(8)
    run.rig.valkey.resume()
    run.over()


async def _pause(run: ChaosRun) -> None:
    await run.at(START_S)
    await run.command("CLIENT", "PAUSE", "10000", "ALL")
    await trio.sleep(10)
    run.over()


async def away(run: ChaosRun, seconds: float = 30.0) -> None:
    """Kill Redis, and start it again some seconds later."""
    await run.at(START_S)
    await run.valkey(run.rig.valkey.kill)
    await trio.sleep(seconds)
    await run.valkey(run.rig.valkey.start)
    run.over()


async def _reset(run: ChaosRun) -> None:
    """Break every connection again and again, those of the producers too."""
    await run.at(START_S)
    for _ in range(20):
        await run.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await trio.sleep(0.25)
    run.over()


async def _flush_scripts(run: ChaosRun) -> None:
    await run.at(START_S)
    for _ in range(8):
        await run.command("SCRIPT", "FLUSH")
        await trio.sleep(0.5)
    run.over()


async def _out_of_memory(run: ChaosRun) -> None:
    await run.at(START_S)
    await run.command("CONFIG", "SET", "maxmemory", "1mb")
    await trio.sleep(6)
    await run.command("CONFIG", "SET", "maxmemory", "0")
    run.over()


async def _read_only(run: ChaosRun) -> None:
    await run.at(START_S)
    await run.command("REPLICAOF", "127.0.0.1", "1")
    await trio.sleep(6)
    await run.command("REPLICAOF", "NO", "ONE")
    run.over()


async def _full_buffers(run: ChaosRun) -> None:
    """Drop every connection with more than 1 KB of replies waiting, those of the producers too."""
    await run.at(START_S)
    await run.command("CONFIG", "SET", "client-output-buffer-limit", "normal 1kb 1kb 1")
    await trio.sleep(6)
    await run.command("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
    run.over()


async def _empty(run: ChaosRun) -> None:
    """Empty Redis: what was published is gone, what was not published yet must not be lost."""
    await run.at(START_S)
    await run.command("FLUSHALL")
    run.over()


def goes_on(finding: Finding) -> list[str]:
    """Check that only what Redis held when it was emptied is lost; numbers and times continue from there."""
    broken = _alive(finding)
    for name, channel in finding.account.channels:
        # What was published before, and a frame or two that nobody had read yet.
        missing, unread = channel.missing, size(channel.missing[1:])
        if not missing or missing[-1][1] > START_S * RATE or unread > UNREAD_S * RATE:
            broken.append(f"{name} has lost {missing}")
        channel.gaps[GONE], channel.lost = channel.lost, 0
    for name in finding.account.calls:
        seqs = [one["seq"] for one in finding.evidence.transcripts[name]]
        if not seqs or seqs[0] == 1:
            broken.append(f"{name} begins again at seq {seqs[:1]}")
    return broken


async def _wrong_type(run: ChaosRun) -> None:
    """Make a key that one call needs a key of another type for a while."""
    await run.command("SET", "transcript.call-001", "in the way")
    await run.at(6)
    await run.command("DEL", "transcript.call-001")
    run.over()


ROWS = (
    Row("redis-restart", "Redis killed and restarted (append-only file)", restart, check=_alive, quick=True),
    Row("redis-frozen", "Redis frozen for 8 s", freeze, check=_alive),
    Row("redis-paused", "Redis paused for 10 s", _pause, check=_alive),
    Row("redis-away", "Redis away for 30 s", away, check=_alive, connections=2, within=60),
    Row("redis-resets", "connections to Redis reset for 5 s", _reset, check=_alive),
    Row("redis-buffers", "clients dropped for a full output buffer, for 6 s", _full_buffers, check=_alive),
    Row("redis-scripts", "script cache flushed again and again", _flush_scripts, check=_alive),
    Row("redis-oom", "Redis out of memory for 6 s", _out_of_memory, check=_alive),
    Row("redis-readonly", "Redis read-only for 6 s", _read_only, check=_alive),
    Row("redis-empty", "Redis emptied", _empty, trust_feeder=True, gaps=frozenset({GONE}), check=goes_on),
    Row("redis-wrongtype", "a transcript key of the wrong type for 6 s", _wrong_type, check=_alive),
)

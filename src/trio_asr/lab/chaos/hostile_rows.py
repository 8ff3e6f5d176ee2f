"""Hostile input, state and use, next to healthy calls that must not suffer."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Iterator

import msgspec
import trio

from trio_asr.client.audio import Recording
from trio_asr.client.producer import Call
from trio_asr.lab.chaos.redis_rows import GONE, goes_on
from trio_asr.lab.chaos.row import SECONDS, ChaosRun, Finding, Row, default_calls
from trio_asr.lab.rig.count import words_of
from trio_asr.lab.rig.feeder import FedCall, Mode, calls
from trio_asr.lab.rig.legs import LEG
from trio_asr.lab.rig.page import Page
from trio_asr.simulator.stamps import stamp
from trio_asr.wire.codes import GapReason

STATE = "trio_asr:{asr-worker}:call:"
START_S = 5.0
LATE_S = 3.0  # longest time between the finals of a call that speaks; its segments are 1 s
FIRST_S = 5.0  # for the first final of a new call
AT_ONCE_S = 150.0
LARGE, LARGE_BYTES = 60, 1_800_000
MOST_RSS = 400e6
MOST_TURN_S = 0.25
IDS = 1600
FUTURE_MS = 3_600_000


# -- checks of several rows ----------------------------------------------------------------------------------


def finals_late(finding: Finding, *names: str) -> list[str]:
    """Check how far apart the finals of each call came, but for the bad calls, which are named."""
    broken = []
    for name, said in finding.evidence.transcripts.items():
        times = [one["timestamp_ms"] / 1000 for one in said if one["type"] == "final"]
        longest = max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)
        if name in finding.account.calls and name not in names and longest > LATE_S:
            broken.append(f"{name} waited {longest:.1f} s for a final")
    return broken


def first_late(finding: Finding, call: FedCall) -> list[str]:
    """Check how soon a call's first final came, counted from its beginning."""
    said = [one for one in finding.evidence.transcripts.get(call.id, ()) if one["type"] == "final"]
    began_ms = finding.run.began_ms + call.begin_s * 1000
    took = (said[0]["timestamp_ms"] - began_ms) / 1000 if said else float("inf")
    return [f"{call.id} had its first final after {took:.1f} s"] if took > FIRST_S else []


def alive(finding: Finding) -> list[str]:
    return [f"{worker.name} has ended" for worker in finding.run.rig.workers if not worker.running]


# -- unreadable state ----------------------------------------------------------------------------------------


async def _break_checkpoint(run: ChaosRun) -> None:
    """Truncate a call's stored state while no worker runs."""
    await run.at(START_S)
    await run.worker.kill()
    await run.command("HSET", STATE + "call-001", "state", '{"place":{"finalized":16000,"en')
    run.over()
    await run.worker.start()


def _afresh(finding: Finding) -> list[str]:
    """Check that the broken call starts over: finals may repeat, at new times, but nothing is lost."""
    broken = alive(finding)
    call = finding.account.calls["call-001"]
    call.shift_ms = 0.0
    for channel in call.channels:
        channel.doubled = 0
    call.faults = [fault for fault in call.faults if "begins at" not in fault]
    told = [event["event"] for event in finding.evidence.events.get("call-001", ())]
    if "checkpoint_broken" not in told:
        broken.append("nobody was told of the broken checkpoint")
    return broken


# -- producers -----------------------------------------------------------------------------------------------


async def _fed_at_once(run: ChaosRun) -> None:
    await run.at(START_S)


def _at_once() -> list[FedCall]:
    return [*calls(5, 60.0), FedCall("at-once", 99, AT_ONCE_S, Mode.AT_ONCE, begin_s=START_S)]


def _behind_alone(finding: Finding) -> list[str]:
    return alive(finding) + finals_late(finding, "at-once")


async def _large(run: ChaosRun) -> None:
    """Add entries that take long to decode, each close to the size limit."""
    await run.at(START_S)
    many = ",".join(['{"a":1}'] * (LARGE_BYTES // 8))
    audio = base64.b64encode(bytes(320)).decode()
    odd = f'{{"interaction_id":"odd","seq":" 5","audio":"{audio}","x":[{many}]}}'
    await run.commands([("XADD", "audio_stream", "*", "data", odd)] * LARGE)
    run.over()
    await trio.sleep(5)
    page = Page(await run.worker.metrics())
    rss, turns = page.value("process_resident_memory_bytes"), page.histogram("asr_loop_delay_seconds")
    if not (rss and turns.counts):
        run.broken.append("its metrics cannot be had")
    if rss > MOST_RSS:
        run.broken.append(f"{rss / 1e6:.0f} MB are in use")
    if any(count for bound, count in zip(turns.bounds, turns.counts, strict=True) if bound > MOST_TURN_S):
        run.broken.append(f"the loop stood still for more than {MOST_TURN_S} s")


def _undisturbed(finding: Finding) -> list[str]:
    return alive(finding) + finals_late(finding)


GENUINE = FedCall("genuine", 77, 12.0, begin_s=12.0)


async def _new_ids(run: ChaosRun) -> None:
    """Add a frame of a new call a hundred times a second."""
    await run.at(1)
    frames = list(_frames())
    for first in range(0, IDS, 20):
        await run.commands(frames[first : first + 20])
        await trio.sleep(0.2)
    run.over()


def _frames() -> Iterator[tuple[str, ...]]:
    epoch_ms = int(time.time() * 1000)
    for number in range(IDS):
        call = Call(f"one-frame-{number}", Recording(stamp(5000 + number, 0, 160)))
        field, document = call.frame(0, 20, epoch_ms)
        yield "XADD", "audio_stream", "*", field, document.decode()


def _genuine_calls() -> list[FedCall]:
    return [*default_calls(), GENUINE]


def _heard(finding: Finding) -> list[str]:
    return alive(finding) + first_late(finding, GENUINE)


def _again() -> list[FedCall]:
    return [*calls(3, SECONDS), FedCall("again", 50, 5.0), FedCall("again", 51, 5.0, begin_s=12.0)]


async def _used_again(run: ChaosRun) -> None:
    await run.at(17)


def _two_calls(finding: Finding) -> list[str]:
    """Check that each tenant gets its own words; times start over at 0, and `seq` continues."""
    call = finding.account.calls["again"]
    call.faults = [fault for fault in call.faults if "begins at" not in fault]
    broken = alive(finding)
    for one in finding.evidence.transcripts.get("again", ()):
        number = words_of(one["text"])[0][0] % LEG
        if one["tenant_id"] != f"tenant-{number}":
            broken.append(f"seq {one['seq']} of tenant-{number} is under {one['tenant_id']}")
    return broken[:3]


# -- Redis emptied -------------------------------------------------------------------------------------------


async def _empty(run: ChaosRun) -> None:
    await run.at(START_S)
    await run.command("FLUSHALL")
    run.over()


async def _ahead(run: ChaosRun) -> None:
    """Put both streams' ids an hour ahead, so that those of an emptied server are of an earlier clock."""
    ahead = f"{int(time.time() * 1000) + FUTURE_MS}-0"
    for stream in ("audio_stream", "call_end"):
        await run.command("XADD", stream, ahead, "data", msgspec.json.encode({}))


ROWS = (
    Row(
        "broken-checkpoint",
        "a checkpoint that cannot be read, at a restart",
        _break_checkpoint,
        gaps=frozenset({GapReason.SOURCE}),  # where positions tell: what came before it starts over
        connections=3,
        check=_afresh,
    ),
    Row(
        "fed-at-once",
        "150 s of one call at once, beside live ones",
        _fed_at_once,
        _at_once,
        within=180,
        check=_behind_alone,
    ),
    Row("large-odd", "60 odd entries of 1.8 MB", _large, check=_undisturbed),
    Row(
        "new-ids",
        "a producer with a new id for every frame, beside genuine calls",
        _new_ids,
        _genuine_calls,
        settings={"interaction": {"max_calls": 60}},
        within=90,
        check=_heard,
    ),
    Row(
        "id-again", "an id used again by another tenant", _used_again, _again, connections=2, check=_two_calls
    ),
    Row(
        "empty-standby",
        "Redis emptied, with a standby",
        _empty,
        workers=2,
        trust_feeder=True,
        gaps=frozenset({GONE}),
        check=goes_on,
    ),
    Row(
        "empty-earlier",
        "Redis emptied, and its clock an hour earlier",
        _empty,
        before=_ahead,
        trust_feeder=True,
        gaps=frozenset({GONE}),
        check=goes_on,
    ),
)

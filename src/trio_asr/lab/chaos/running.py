"""Playing rows, each on its own rig, and judging the results by the promises."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from trio_asr.client.producer import Entries
from trio_asr.lab.chaos.row import ChaosRun, Finding, Row
from trio_asr.lab.rig.account import Account, recovery_s
from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.lab.rig.feeder import FedCall
from trio_asr.lab.rig.fleet import start_fleet
from trio_asr.lab.rig.processes import Rig, Settings, merged, rig
from trio_asr.lab.rig.programs import RigError
from trio_asr.lab.rig.run import Run
from trio_asr.lab.rig.shape import Shape
from trio_asr.lab.rig.valkey import EmbeddedServerError
from trio_asr.lab.rig.versions import OURS, Version
from trio_asr.lab.rig.ways import ways
from trio_asr.simulator.ledger import PACE_WINDOW_S
from trio_asr.telemetry.groups import leaves
from trio_asr.wire.audio_format import Encoding

MAX_SHIFT_MS = 30.0
MAX_SPEED = 1.25 + 0.1  # as received: audio that is sent evenly may arrive in bursts
# The allowance per call when all connect at once: the simulator reads nothing while it shakes hands (5 ms
# each, out of the 5 s over which the speed is measured).
CROWD_SPEED = 0.001
LATE_S = 0.05  # interval at which it is looked how late this machine is: what it reads late comes in a burst
FIRST_OTHER = 1000  # first number of the calls that only add to the crowd
MAX_SECONDS = 240.0  # for a row beyond its calls, whatever happens


@dataclass(frozen=True)
class Terms:
    """The conditions under which every row is played."""

    settings: Settings = field(default_factory=dict[str, dict[str, Any]])  # a row's own override these
    calls: int = 0  # at least this many
    wss: bool = False
    channels: int = 1  # at least so many
    encoding: Encoding | None = None
    entries: Entries | None = None
    positions: bool = False
    beside: Version | None = None  # another version, for the rows that need one

    def shape(self, needed: Shape) -> Shape:
        """Return the shape of calls: what was asked for, and what they need."""
        return Shape(
            max(needed.channels, self.channels),
            self.encoding or needed.encoding,
            self.entries or needed.entries,
            needed.positions or self.positions,
        )

    def unfit(self, row: Row) -> str:
        """Return why a row cannot be played, or would make no sense; "" if it can."""
        if row.beside and self.beside is None:
            return "it needs another version, which --beside names"
        return row.unfit(self.shape(row.shape))

    def version(self, row: Row, number: int) -> Version:
        """Return the version of a row's worker."""
        return self.beside if self.beside is not None and number in row.beside else OURS


@dataclass
class Outcome:
    """A row's figures, and the promises that it broke."""

    row: Row
    seconds: float = 0.0
    samples: int = 0
    covered: int = 0
    gaps: dict[str, int] = field(default_factory=dict[str, int])
    lost: int = 0
    doubled: int = 0
    shift_ms: float = 0.0
    connections: int = 0
    silence_s: float = 0.0
    recovery_s: float | None = None
    notes: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])

    @property
    def ok(self) -> bool:
        return not self.broken


async def play(
    rows: Sequence[Row],
    work: Path,
    *,
    jobs: int,
    terms: Terms,
    told: Callable[[Outcome], None],
) -> list[Outcome]:
    """Play rows, `jobs` at once; return the outcomes in the order of the rows."""
    outcomes: dict[str, Outcome] = {}
    places = trio.CapacityLimiter(jobs)

    async def one(row: Row) -> None:
        async with places:
            outcomes[row.name] = await play_row(row, work / row.name, terms)
        told(outcomes[row.name])

    async with trio.open_nursery() as nursery:
        for row in rows:
            nursery.start_soon(one, row)
    return [outcomes[row.name] for row in rows]


async def play_row(row: Row, work: Path, terms: Terms) -> Outcome:
    """Play one row; whatever goes wrong is part of the outcome."""
    outcome = Outcome(row)
    began = time.monotonic()
    await trio.Path(work).mkdir(parents=True, exist_ok=True)
    limit = MAX_SECONDS + max(call.begin_s + call.seconds for call in row.calls())
    try:
        with trio.fail_after(limit):
            await _play(row, work, terms, outcome)
    except* (RigError, EmbeddedServerError, OSError) as errors:
        outcome.broken += [str(error) for error in leaves(errors)]
    except* trio.TooSlowError:
        outcome.broken.append(f"not over within {limit:.0f} s")
    outcome.seconds = time.monotonic() - began
    return outcome


async def _play(row: Row, work: Path, terms: Terms, outcome: Outcome) -> None:
    fed = crowd([replace(call, shape=terms.shape(row.needs(call))) for call in row.calls()], terms.calls)
    room: Settings = {"deepgram": {"max_connections": terms.calls}} if terms.calls else {}
    settings = merged(room, terms.settings, row.settings)
    cluster = None
    if row.node_timeout_ms:
        cluster = EmbeddedCluster(replicas=True, node_timeout_ms=row.node_timeout_ms)
    async with (
        rig(
            work, settings=settings, simulate=row.simulate, places=row.places, cluster=cluster, wss=terms.wss
        ) as r,
        ways(cluster.servers if cluster else (), row.members if row.ways else "") as r.ways,
    ):
        run = ChaosRun(r)
        await (start_fleet(r, row.members) if row.members else _start_workers(r, row, terms))
        if row.before is not None:
            await row.before(run)
        producer = row.produce(row, run, fed)
        feeding = Run(r, producer, by_order=row.by_order, trust_feeder=row.trust_feeder)

        async def deed(began: float) -> None:
            run.began = began
            run.began_ms = time.time() * 1000 - (trio.current_time() - began) * 1000
            await row.deed(run)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_clock, run)
            account = await feeding.run(deed, within=row.within)
            nursery.cancel_scope.cancel()
        finding = Finding(run, account, feeding.evidence)
        outcome.broken += run.broken + row.check(finding) + judge(row, account, run.late_s)
        _fill(outcome, finding, fed)


async def _watch_clock(run: ChaosRun) -> None:
    """Note how late a process of this machine gets its turn at most. Never returns."""
    while True:
        due = trio.current_time() + LATE_S
        await trio.sleep_until(due)
        run.late_s = max(run.late_s, trio.current_time() - due)


async def _start_workers(r: Rig, row: Row, terms: Terms) -> None:
    for number in range(row.workers):
        worker = r.worker(version=terms.version(row, number))
        await worker.start_and_wait("standby" if number else "active")


def crowd(calls: list[FedCall], count: int) -> list[FedCall]:
    """Return the calls, filled up to `count` with similar ones that begin up to a second after those."""
    others = []
    for i in range(count - len(calls)):
        like = calls[i % len(calls)]
        begin_s = like.begin_s + i / count
        others.append(replace(like, id=f"other-{i}", number=FIRST_OTHER + i, begin_s=begin_s))
    return calls + others


def judge(row: Row, account: Account, late_s: float = 0.0) -> list[str]:
    """Return the promises of all rows that are broken, on a machine that was up to `late_s` late."""
    lost, doubled, strangers = account.total("lost"), account.total("doubled"), account.strangers
    most_speed = MAX_SPEED + CROWD_SPEED * len(account.calls) + late_s / PACE_WINDOW_S
    fed = account.fed_overlaps
    unended = [call.id for call in account.calls.values() if not call.ended]
    broken = {
        f"{lost} samples lost": lost,
        f"{doubled} samples doubled": doubled,
        f"{strangers} samples that were never there": strangers,
        f"given up: {account.gaps}": set(account.gaps) - row.gaps,
        f"shifted by {account.shift_ms:.0f} ms": account.shift_ms >= MAX_SHIFT_MS,
        f"a call had {account.most_connections} connections": account.most_connections > row.connections,
        f"{account.overlaps} connections beside another of their call": account.overlaps and not row.overlaps,
        f"{fed} connections fed beside another of their call, for {account.fed_together_s:.2f} s": fed,
        f"audio at {account.speed:.2f} times real time": account.speed > most_speed,
        f"not ended: {' '.join(unended)}": unended,
        "nothing was fed": not account.total("samples"),
    }
    return [text for text, is_broken in broken.items() if is_broken] + account.faults[:5]


def _fill(outcome: Outcome, finding: Finding, fed: Sequence[FedCall]) -> None:
    account, run = finding.account, finding.run
    outcome.samples, outcome.covered = account.total("samples"), account.total("covered")
    outcome.lost, outcome.doubled = account.total("lost"), account.total("doubled")
    outcome.gaps = account.gaps
    outcome.shift_ms, outcome.connections = account.shift_ms, account.most_connections
    outcome.silence_s = account.silence_s
    outcome.notes = run.notes
    if run.over_ms is not None:
        before_s = (run.over_ms - run.began_ms) / 1000
        begun = [call.id for call in fed if call.begin_s < before_s]
        outcome.recovery_s = recovery_s(finding.evidence, begun, run.over_ms)

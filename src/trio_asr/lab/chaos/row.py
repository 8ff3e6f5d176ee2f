"""What a row of the table works with: the rig, its workers, the clock, and a list of what broke."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from trio_asr.client.redis import connect
from trio_asr.core.fleet.places import SINGLE, Places
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.callers import Callers
from trio_asr.lab.rig.evidence import Evidence
from trio_asr.lab.rig.feeder import FedCall, Feeder, Mode, calls
from trio_asr.lab.rig.gateways import Gateway
from trio_asr.lab.rig.processes import Rig, Settings, Simulator, Worker
from trio_asr.lab.rig.programs import RigError
from trio_asr.lab.rig.run import Producer
from trio_asr.lab.rig.shape import PLAIN, Shape

CALLS, SECONDS = 6, 16.0


class ChaosRun:
    """A rig while its calls are fed. Times are in seconds since the first sample."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.began = 0.0
        self.began_ms = 0.0  # the same time, in epoch ms
        self.over_ms: float | None = None  # end of the fault, in epoch ms
        self.broken: list[str] = []
        self.notes: list[str] = []
        self.front: list[Gateway] = []  # in the order in which the balancer tries them
        self.callers: Callers | None = None  # where calls come through an ingest
        self.moves: list[int] = []  # of each shard of a fleet
        self.late_s = 0.0  # by how much this process got its turn too late, at most
        self.concerned: frozenset[int] | None = None  # shards of a fleet: by the fault; None: not said
        self.stalled_s = math.inf  # how long the fault kept calls waiting

    @property
    def simulator(self) -> Simulator:
        return self.rig.simulator

    @property
    def worker(self) -> Worker:
        return self.rig.workers[0]

    @property
    def standby(self) -> Worker:
        return self.rig.workers[1]

    def member(self, name: str) -> Worker:
        """Return a member of the fleet."""
        return next(worker for worker in self.rig.workers if worker.name == name)

    async def at(self, seconds: float) -> None:
        """Wait until `seconds` after the first sample."""
        await trio.sleep_until(self.began + seconds)

    def over(self) -> None:
        """Mark the end of the fault: recovery time counts from now."""
        self.over_ms = time.time() * 1000

    async def kill(self) -> None:
        """Kill the worker and restart it at once."""
        await self.worker.kill()
        self.over()
        await self.worker.start()

    async def takes_over(self, worker: Worker, since: float, within: float) -> None:
        """Wait until a worker is active, which should be at most `within` seconds after `since`."""
        try:
            await worker.has_role("active", within + 10)
        except RigError as error:
            self.broken.append(str(error).splitlines()[0])
            return
        took = trio.current_time() - since
        self.notes.append(f"takeover {took:.1f} s")
        if took > within:
            self.broken.append(f"takeover took {took:.1f} s, more than {within:.1f}")

    async def valkey(self, verb: Callable[[], object]) -> None:
        """Run a method of the server: `restart`, `pause`, ..."""
        await trio.to_thread.run_sync(verb)

    async def command(self, *words: Any) -> None:
        """Send the server a command."""
        await self.commands([words])

    async def commands(self, many: Sequence[Sequence[Any]]) -> None:
        """Send the server several commands in one pipeline."""

        def send() -> None:
            with connect(self.rig.valkey.url) as client:
                pipeline: Any = client.pipeline(transaction=False)
                for words in many:
                    pipeline.execute_command(*words)
                pipeline.execute()

        await trio.to_thread.run_sync(send)


@dataclass(frozen=True)
class Finding:
    """The input of a row's own check."""

    run: ChaosRun
    account: Account
    evidence: Evidence


Check = Callable[[Finding], list[str]]


def no_check(finding: Finding) -> list[str]:
    """Check nothing beyond the promises that hold for every row."""
    del finding
    return []


def fits(shape: Shape) -> str:
    """Return no reason why a row would make no sense in this shape."""
    del shape
    return ""


def fed(row: Row, run: ChaosRun, calls: Sequence[FedCall]) -> Producer:
    """Return a producer that puts the calls on the stream itself."""
    return Feeder(run.rig.valkey.url, calls, run.rig.places, maxlen=row.maxlen)


def default_calls() -> list[FedCall]:
    return calls(CALLS, SECONDS)


def all_of(mode: Mode, *, seconds: float = SECONDS) -> Callable[[], list[FedCall]]:
    """Return a maker of the usual number of calls, all of one mode."""
    return lambda: calls(CALLS, seconds, mode)


def of_seconds(seconds: float) -> Callable[[], list[FedCall]]:
    """Return a maker of the usual number of calls, of this length in seconds."""
    return lambda: calls(CALLS, seconds)


@dataclass(frozen=True)
class Row:
    """One row of the table: a fault, and what it may cost beyond the usual.

    `gaps` are the permitted reasons for giving up audio, `connections` the most that a call may have. `shape`
    is the least that its calls need, but for those with a shape of their own; the terms of a rehearsal may
    ask for more. `unfit` tells why it would make no sense in a shape, or "". `beside` are the numbers of the
    workers, from 0, that are of another version. `members` are those that a fleet at `places` begins with, a
    letter each, instead of workers. With `node_timeout_ms` they are on a cluster of three primaries with a
    replica each; with `ways`, the way of each of them to each node can be cut.
    """

    name: str
    title: str
    deed: Callable[[ChaosRun], Awaitable[None]]
    calls: Callable[[], list[FedCall]] = default_calls
    produce: Callable[[Row, ChaosRun, Sequence[FedCall]], Producer] = fed
    workers: int = 1
    beside: frozenset[int] = frozenset()
    places: Places = SINGLE
    members: str = ""
    node_timeout_ms: int = 0
    ways: bool = False
    quick: bool = False
    settings: Settings = field(default_factory=dict[str, Mapping[str, Any]])
    simulate: tuple[str, ...] = ("--segment-ms", "1000")
    before: Callable[[ChaosRun], Awaitable[None]] | None = None
    within: float = 45.0
    gaps: frozenset[str] = frozenset()
    connections: int = 1
    overlaps: bool = False
    by_order: bool = False
    trust_feeder: bool = False  # take what was fed as the truth: Redis has lost some of it
    maxlen: int = 0
    check: Check = no_check
    shape: Shape = PLAIN
    unfit: Callable[[Shape], str] = fits

    def needs(self, call: FedCall) -> Shape:
        """Return the least that a call of this row needs."""
        return self.shape if call.shape == PLAIN else call.shape

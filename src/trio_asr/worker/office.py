"""What belongs to the process, however many tenures there are: connections, bounds, metrics and problems."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import trio

from trio_asr.config import Config
from trio_asr.deepgram.admission import Admission
from trio_asr.deepgram.provider import Provider
from trio_asr.interaction.interaction import Interaction
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.wire import ids
from trio_asr.wire.codes import Problem
from trio_asr.worker.rounds import every_second
from trio_asr.worker.totals import Totals

if TYPE_CHECKING:
    from trio_asr.worker.tenure import Tenure

Shard = int | None  # None: all calls of a single worker


class Office:
    """The parts that all tenures of this process share. `tenures` are those at work, by shard."""

    def __init__(
        self, config: Config, provider: Provider, metrics: Metrics, internal: InternalErrors
    ) -> None:
        self.config = config  # a reload replaces it
        self.provider, self.metrics = provider, metrics
        self.problems = Problems()
        self.internal = internal
        self.tenures: dict[Shard, Tenure] = {}
        self.totals = Totals(self.tenures)
        self._held: set[Shard] = set()
        self._admission: Admission | None = None
        fleet = config.fleet  # a single worker is in none
        self._limit: int | None = 0 if fleet.max_connections and fleet.shards > 1 else None
        self._read_gauges()

    @property
    def admission(self) -> Admission:
        """The provider behind its admission control. What it knows of refusals ends with the last shard."""
        if self._admission is None:
            deepgram = self.config.deepgram
            self._admission = Admission(
                self.provider,
                limit=self._permits,
                connect_timeout_s=deepgram.connect_timeout_ms / 1000,
                metrics=self.metrics,
                problems=self.problems,
            )
        return self._admission

    @property
    def open_connections(self) -> int:
        """The number of connections that are open."""
        return 0 if self._admission is None else self._admission.open

    @property
    def refused(self) -> bool:
        """Whether the provider refuses the key or the account."""
        return self._admission is not None and self._admission.refused

    def interactions(self) -> Iterator[Interaction]:
        """Yield all calls in progress."""
        for tenure in self.tenures.values():
            yield from tenure.calls.interactions.values()

    def by_id(self) -> Mapping[str, Interaction]:
        """Return the calls in progress, by id."""
        tenures = list(self.tenures.values())
        if len(tenures) == 1:
            return tenures[0].calls.interactions
        return {name: one for tenure in tenures for name, one in tenure.calls.interactions.items()}

    def opened(self, shard: Shard) -> None:
        """Note that a shard is held from now on; its tenure is being built."""
        self._held.add(shard)

    def closed(self, shard: Shard) -> None:
        """Forget a shard that is no longer held, and with the last one what was known of the provider."""
        now = trio.current_time()
        self._held.discard(shard)
        self.tenures.pop(shard, None)
        self.problems.of_shard(shard).resolve_all(now)
        if not self._held:
            self._admission = None
            self.problems.resolve_all(now)

    def limit_connections(self, limit: int | None) -> None:
        """Set how many connections this process may have; None if the fleet as a whole is not limited."""
        if limit != self._limit:
            self._limit = limit
            self._resize()

    def _resize(self) -> None:
        if self._admission is not None:
            self._admission.resize(self._permits)

    @property
    def _permits(self) -> int:
        own = self.config.deepgram.max_connections
        return own if self._limit is None else min(own, self._limit)

    def reload(self, config: Config) -> None:
        """Let all tenures go on with another configuration."""
        self.config = config
        self._resize()
        for shard, tenure in self.tenures.items():
            tenure.services.config = config.of_shard(shard)

    async def run(self) -> None:
        """Hold all calls together within their bounds, once a second. Never returns, never raises."""
        await every_second((self.totals.bound, self._nobody_waits, self._say_who_waits), self.internal)

    def _nobody_waits(self) -> None:
        if self._admission is not None:
            self._admission.nobody_waits()

    def _say_who_waits(self) -> None:
        now = trio.current_time()
        if any(tenure.calls.waiting for tenure in self.tenures.values()):
            most = self.config.interaction.max_calls
            why = f"all places are taken: {most} calls are in progress"
            self.problems.report(Problem.MAX_CALLS, now, why)
        else:
            self.problems.resolve(Problem.MAX_CALLS, now)

    # -- gauges ----------------------------------------------------------------------------------------

    def _read_gauges(self) -> None:
        metrics = self.metrics
        metrics.calls.read = lambda: self.totals.calls
        metrics.calls_waiting.read = lambda: sum(len(one.calls.waiting) for one in self.tenures.values())
        metrics.calls_behind.read = lambda: sum(1 for _ in self._behind())
        metrics.unfinalized_seconds.read = lambda: sum(
            one.call.timeline.unfinalized_s for one in self.interactions()
        )
        metrics.unfinalized_bytes.read = lambda: sum(
            one.call.timeline.held_bytes for one in self.interactions()
        )
        metrics.reader_lag_seconds.read = self.lag_s
        metrics.connections.read = lambda: self.open_connections
        metrics.waiting_for_slot.read = lambda: 0 if self._admission is None else self._admission.waiting
        metrics.breaker_open.read = lambda: self.refused

    def _behind(self) -> Iterator[Interaction]:
        return (one for one in self.interactions() if one.missed and not one.over)

    def lag_s(self) -> float:
        """Return how far reading lags for the call that is furthest behind, in seconds."""
        readers = [tenure.dispatcher.lag_s for tenure in self.tenures.values()]
        return max([0.0, *readers, *map(_age_s, self._behind())])


def _age_s(interaction: Interaction) -> float:
    """Return how long ago the first entry was added that a call has not read, in seconds, or a bit more."""
    return max(0.0, time.time() - ids.milliseconds(interaction.latest) / 1000)

"""A fleet as one member sees it: for the pages, and as series of the member's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trio_asr.telemetry.counters import PlainHistogram, bound
from trio_asr.telemetry.labels import HANDOVERS, WAITS


class MemberRow(msgspec.Struct, gc=False, kw_only=True):
    """A member by its beat. `draining_s` is for how long it has been leaving, or None."""

    member: str
    generation: str
    version: str
    shards: int
    calls: int
    capacity: int
    lag_s: float
    connections: int
    cpu: float
    handing: int
    draining_s: float | None


class HotShard(msgspec.Struct, gc=False, kw_only=True):
    """The shard with the most calls, and the capacity of the member that holds it."""

    shard: int
    calls: int
    capacity: int


class FleetPicture(msgspec.Struct, gc=False, kw_only=True):
    """The fleet by the beats and leases that `member` saw last. All numbers are of shards.

    While they cannot be seen there are no members, and `unowned` and `share` are None.
    """

    member: str
    shards: int
    held: int
    wanted: int
    handing_over: int
    unowned: int | None
    share: int | None
    hottest: HotShard | None
    members: list[MemberRow]


class ShardLoad(NamedTuple):
    """What a shard that this member holds has to do; `entries` were read since it came here."""

    calls: int = 0
    lag_s: float = 0.0
    entries: int = 0


class FleetSeries(Collector):
    """The series of a member. A worker that is in no fleet has none of them."""

    def __init__(
        self,
        registry: CollectorRegistry,
        picture: Callable[[], FleetPicture],
        loads: Callable[[], Mapping[int, ShardLoad]],
        capacity: Callable[[], int],
    ) -> None:
        self._picture, self._loads, self._capacity = picture, loads, capacity
        registry.register(self)
        family = Counter(
            "asr_shard_handovers", "Shards that came to this member or left it, by how.", ("why",),
            registry=registry,
        )  # fmt: skip
        self.handovers = bound(family, HANDOVERS)
        self.handover_seconds = PlainHistogram(
            "asr_shard_handover_seconds", "From the decision to hand a shard over to the lease's passing on.",
            WAITS, registry,
        )  # fmt: skip

    def collect(self) -> Iterable[Metric]:
        picture, loads, capacity = self._picture(), self._loads(), self._capacity()
        yield _gauge("asr_fleet_members", "Members whose beat is fresh.", len(picture.members))
        yield _gauge("asr_fleet_shards", "Shards of the fleet.", picture.shards)
        yield from _known("asr_fleet_shards_unowned", "Shards that nobody holds.", picture.unowned)
        yield _gauge("asr_fleet_shards_held", "Shards that this member holds.", picture.held)
        yield from _known("asr_fleet_share", "Shards that are this member's part.", picture.share)
        yield _gauge("asr_fleet_capacity", "Calls that this member is good for.", capacity)
        yield _gauge(
            "asr_fleet_load_ratio",
            "Calls of this member by its capacity.",
            sum(load.calls for load in loads.values()) / capacity,
        )
        held = GaugeMetricFamily("asr_shard_held", "1 for a shard that this member holds.", labels=("shard",))
        calls = GaugeMetricFamily("asr_shard_calls", "Calls in progress in a shard.", labels=("shard",))
        lag = GaugeMetricFamily(
            "asr_shard_lag_seconds", "Age of the newest entry of a shard when it was read.", labels=("shard",)
        )
        entries = CounterMetricFamily(
            "asr_shard_entries",
            "Entries of a shard that were read, by its holder since it came there.",
            labels=("shard",),
        )
        for shard, load in sorted(loads.items()):
            held.add_metric((str(shard),), 1)
            calls.add_metric((str(shard),), load.calls)
            lag.add_metric((str(shard),), load.lag_s)
            entries.add_metric((str(shard),), load.entries)
        yield from (held, calls, lag, entries)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _known(name: str, text: str, value: float | None) -> Iterable[Metric]:
    # Without a value there is no gauge: an old one would be taken for news.
    return () if value is None else (_gauge(name, text, value),)

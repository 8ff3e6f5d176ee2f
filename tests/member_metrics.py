"""The metrics of a member of a fleet: a worker's, and the series that only a member has."""

from __future__ import annotations

from trio_asr.telemetry.fleet import FleetPicture, FleetSeries, ShardLoad
from trio_asr.telemetry.metrics import Metrics

PICTURE = FleetPicture(
    member="host-1", shards=8, held=4, wanted=0, handing_over=0, unowned=1, share=3, hottest=None, members=[]
)


def member_metrics() -> Metrics:
    metrics = Metrics()
    FleetSeries(metrics.registry, lambda: PICTURE, lambda: {7: ShardLoad(20, 0.5, 900)}, lambda: 40)
    return metrics

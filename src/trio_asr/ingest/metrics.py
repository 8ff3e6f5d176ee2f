"""What an ingest exports: sockets, calls, audio and what is missing of it, refusals by reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trio_asr.core.ingest.tally import Tally
from trio_asr.telemetry.counters import PlainCounter, PlainHistogram, ReadGauge
from trio_asr.telemetry.process import Process
from trio_asr.wire.codes import CaughtAt, ErrorKind

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
DELAYS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
# Of each platform: the field of its tally, the series, and its help text.
_TALLIED = (
    ("audio_bytes", "ingest_audio_bytes", "Audio that platforms brought, in bytes."),
    ("holes", "ingest_holes", "Holes in the audio, by the platform's clock or in its words."),
    ("hole_s", "ingest_hole_seconds", "Audio that is missing in these holes."),
    ("restarts", "ingest_clock_restarts", "Times that a platform's clock went back, or ahead by too much."),
    ("misses", "ingest_leg_misses", "Entries for which a leg was waited for in vain."),
    ("late_s", "ingest_late_seconds", "Audio of a leg that came after silence had gone out for it."),
    ("repeats", "ingest_repeats", "Messages that came again, or too late to be put in their place."),
    ("dropped_s", "ingest_dropped_seconds", "Audio that could not wait any longer for Redis: it is lost."),
    ("superseded_s", "ingest_superseded_seconds", "Audio of sockets whose calls other sockets had taken."),
)


class _Tallies(Collector):
    """The tallies of all platforms."""

    def __init__(self, registry: CollectorRegistry, tallies: dict[str, Tally]) -> None:
        self._tallies = tallies
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        for field, name, text in _TALLIED:
            family = CounterMetricFamily(name, text, labels=["platform"])
            for platform, tally in self._tallies.items():
                family.add_metric([platform], getattr(tally, field))
            yield family


class IngestMetrics:
    """The metrics of one gateway with routes for these platforms; `refusals` are the reasons to expect."""

    def __init__(self, platforms: Sequence[str] = (), refusals: Sequence[str] = ()) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        Process(registry=self.registry)
        GCCollector(registry=self.registry)
        self.tallies = {platform: Tally() for platform in platforms}
        _Tallies(self.registry, self.tallies)
        self.sockets = ReadGauge("ingest_sockets", "Open sockets of platforms.", self.registry)
        self.calls = ReadGauge("ingest_calls", "Calls whose audio is taken.", self.registry)
        self.buffered_s = ReadGauge(
            "ingest_buffered_seconds", "Audio that waits for Redis, of the call that has most.", self.registry
        )
        self.buffered_bytes = ReadGauge(
            "ingest_buffered_bytes", "Audio that waits for Redis, of all calls.", self.registry
        )
        self.delay = PlainHistogram(
            "ingest_delay_seconds",
            "From the moment that an entry is complete until Redis has it.",
            DELAYS,
            self.registry,
        )
        self.http_turned_away = PlainCounter(
            "ingest_http_turned_away", "Connections to the pages that were turned away.", self.registry
        )
        self._begun = self._family(
            "ingest_calls_begun", "Calls that began on a socket, again with each socket.", "platform"
        )
        self._ended = self._family("ingest_calls_ended", "Ends of calls.", "platform", "reason")
        self._refused = self._family("ingest_refusals", "Sockets that were refused.", "platform", "reason")
        self._odd = self._family("ingest_odd_messages", "Messages that were odd.", "platform", "kind")
        self._internal = self._family("ingest_internal_errors", "Bugs that were caught.", "place")
        # A series from the start, or the first of its kind would be no increase.
        for place in CaughtAt:
            self._internal.labels(place)
        for platform, kind in product(("", *platforms), refusals):
            self._refused.labels(platform, kind)
        self.ready = Gauge("ingest_ready", "Whether /ready says yes.", registry=self.registry)

    def tally(self, platform: str) -> Tally:
        """Return the tally of a platform."""
        return self.tallies.setdefault(platform, Tally())

    def begun(self, platform: str) -> None:
        """Count a call that began."""
        self._begun.labels(platform).inc()

    def ended(self, platform: str, reason: str) -> None:
        """Count a call's end."""
        self._ended.labels(platform, reason).inc()

    def refused(self, platform: str, reason: str) -> None:
        """Count a socket that was refused."""
        self._refused.labels(platform, reason).inc()

    def odd(self, platform: str, kind: str) -> None:
        """Count an odd message."""
        self._odd.labels(platform, kind).inc()

    @property
    def internal_errors(self) -> Callable[[CaughtAt], Counter]:
        """The counters of bugs, by where they were caught."""
        return self._internal.labels

    def failed(self, kind: ErrorKind, epoch_s: float) -> None:
        """Take note of an error; the counters have it already."""

    def exposition(self) -> bytes:
        """Return all series in Prometheus' text format, of media type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _family(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

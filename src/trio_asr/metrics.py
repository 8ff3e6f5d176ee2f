"""Everything the daemon counts, once for Prometheus and once for the ``metrics`` object of ``/health``.

Names follow Prometheus' conventions: base units, ``_total`` on counters, no label that grows with the calls.
What is used per frame or chunk is an attribute, or a child bound once and kept.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from trio_asr.labels import CLOSE_CODES, DEAD_LETTERS, ERRORS, GAPS, PLACES, PROBLEMS, ROLES
from trio_asr.machine import Process, memory_limit_bytes
from trio_asr.tallies import GapMeter, PlainCounter, PlainHistogram, bound, kept

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# What people wait for. Alerts compare with 2 s, so a bucket ends there and its neighbours are near.
_WAITS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 30.0)
# What the machine adds; promised is 25 ms at the 99th percentile.
_DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Around the default triggers of a flush: 200 ms of audio, 500 ms since the last one.
_FLUSHES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.21, 0.25, 0.3, 0.4, 0.5, 0.51, 0.55, 0.6, 0.75, 1.0, 2.5, 5.0)

_RECENT = 100  # how many samples each list of /health keeps


class Metrics:
    """The counters of one daemon, in a registry of their own."""

    def __init__(self) -> None:
        # A creation time beside every series would double the exposition. The library's switch is global.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        Process(registry=self.registry)
        GCCollector(registry=self.registry)
        self._chunks_after_initial = 0
        self._recent_waits_s: deque[float] = deque(maxlen=_RECENT)
        self._recent_intervals_s: deque[float] = deque(maxlen=_RECENT)
        self._recent_ages_s: deque[float] = deque(maxlen=_RECENT)
        self._audio()
        self._connections()
        self._transcripts()
        self._losses()
        self._errors()
        self._state()
        self._reloads()

    def _audio(self) -> None:
        self.frames_accepted = self._counter(
            "asr_audio_chunks_processed", "Audio frames accepted from Redis."
        )
        self.flush_interval = self._histogram(
            "asr_flush_interval_seconds", "Time between two flushes of a call.", _FLUSHES
        )
        self.flush_age = self._histogram(
            "asr_flush_age_seconds", "Age of the oldest audio of a flush.", _FLUSHES
        )
        self.flush_audio = self._histogram("asr_flush_audio_seconds", "Audio in one flush.", _FLUSHES)
        self.reads = self._counter("asr_reads", "Reads of the audio stream that brought something.")
        self.send_delay = self._histogram(
            "asr_send_delay_seconds", "From the moment that audio is due until it is on the socket.", _DELAYS
        )
        self.chunks_sent = self._counter(
            "deepgram_audio_chunks_sent", "Messages of audio sent to the provider."
        )
        self.audio_sent_seconds = self._counter(
            "deepgram_audio_sent_seconds",
            "Audio sent to the provider, repetitions included.",
        )

    def _connections(self) -> None:
        self.connections_created = self._counter("deepgram_connections_created", "Connections opened.")
        self.connections_reused = self._counter(
            "deepgram_connections_reused", "Chunks that found their call's connection ready."
        )
        self.duplicate_connection_attempts = self._counter(
            "deepgram_duplicate_connection_attempts",
            "Attempts at a second connection for a call that has one; always refused.",
        )
        self.duplicate_connections = self._counter(
            "deepgram_duplicate_connections", "Connections opened for a call that had one open."
        )
        self.connection_wait = self._histogram(
            "deepgram_connection_wait_seconds", "Time from the wish for a connection to its opening.", _WAITS
        )
        self.connection_timeouts = self._counter(
            "deepgram_connection_timeouts", "Connections that Deepgram closed with 1011 for want of audio."
        )
        closed = self._family("deepgram_connections_closed", "Connections closed, by close code.", "code")
        self._closed_label = bound(closed, (*map(str, sorted(CLOSE_CODES)), "other"))

    def _transcripts(self) -> None:
        self.transcripts_received = self._counter(
            "deepgram_transcripts_received", "Results received from the provider, empty ones included."
        )
        delivered = self._family("asr_transcripts_delivered", "Transcripts that reached Redis.", "kind")
        self.transcripts_delivered = bound(delivered, ("partial", "final"))
        self.chunks_covered = self._counter(
            "asr_audio_chunks_covered", "Chunks all of whose audio is inside a committed final."
        )
        self.first_partial_latency = self._histogram(
            "asr_first_partial_latency_seconds", "From a call's first frame to its first result.", _WAITS
        )
        self.result_latency = self._histogram(
            "asr_result_latency_seconds", "From the sending of audio to the result that covers it.", _WAITS
        )
        self.commit_latency = self._histogram(
            "asr_commit_latency_seconds", "From a result's arrival to its commit in Redis.", _DELAYS
        )

    def _losses(self) -> None:
        count = bound(self._family("asr_gaps", "Stretches of audio given up, by reason.", "reason"))
        samples = bound(self._family("asr_gap_samples", "Samples given up, by reason.", "reason"))
        seconds = bound(self._family("asr_gap_seconds", "Audio given up, by reason.", "reason"))
        self.gaps = kept(lambda reason: GapMeter(count(reason), samples(reason), seconds(reason)), GAPS)
        dead = self._family("asr_dead_letters", "Unusable entries, by reason.", "reason")
        self.dead_letters = bound(dead, DEAD_LETTERS)
        self.duplicates_dropped = self._counter(
            "asr_duplicates_dropped", "Audio entries and results that were repeats."
        )
        self.holes_filled_seconds = self._counter(
            "asr_holes_filled_seconds", "Silence put where frames were missing."
        )
        self.backlog_skipped = self._counter(
            "asr_backlog_skipped", "Audio entries skipped at start for their age."
        )
        self.input_trimmed = self._counter(
            "asr_input_trimmed", "Times that the audio stream was cut past what had been read."
        )
        self.late_frames = self._counter("asr_late_frames", "Frames that came after the end of their call.")
        self.overruns = self._counter("asr_overruns", "Calls that could not take a batch of frames in time.")

    def _errors(self) -> None:
        self.last_error: tuple[str, float] | None = None
        errors = self._family("asr_errors", "Errors of handling, provider and publishing.", "kind")
        self.errors = bound(errors, ERRORS)
        internal = self._family("asr_internal_errors", "Bugs that were caught, by place.", "place")
        self.internal_errors = bound(internal, PLACES)
        self.http_turned_away = self._counter(
            "asr_http_connections_turned_away", "HTTP connections closed for want of a place."
        )
        # The text of an error may quote a URL or a message, so the label says the kind only.
        self._last_error = self._gauge("asr_last_error_info", "The kind of the last error; 1.", "kind")
        self._last_error_time = self._gauge(
            "asr_last_error_timestamp_seconds", "When the last error happened, in seconds since 1970."
        )

    def _state(self) -> None:
        self.calls = self._gauge("asr_calls", "Calls in progress.")
        self.connections = self._gauge("deepgram_connections", "Connections open now.")
        self.waiting_for_slot = self._gauge(
            "deepgram_calls_waiting", "Calls waiting for deepgram.max_connections."
        )
        self.unfinalized_seconds = self._gauge(
            "asr_unfinalized_seconds", "Audio not yet inside a committed final, all calls."
        )
        self.unfinalized_bytes = self._gauge("asr_unfinalized_bytes", "Memory that this audio takes.")
        self.reader_lag_seconds = self._gauge(
            "asr_reader_lag_seconds", "Age of the newest audio entry when read."
        )
        self.loop_lag_seconds = self._gauge(
            "asr_loop_lag_seconds", "Delay of the event loop when last measured."
        )
        self.loop_delay = self._histogram(
            "asr_loop_delay_seconds", "Delay of the event loop, measured once a second.", _DELAYS
        )
        self.redis_up = self._gauge("asr_redis_up", "1 while Redis answers.")
        self.breaker_open = self._gauge(
            "deepgram_breaker_open",
            "1 while Deepgram refuses the key or the account.",
        )
        self.ready = self._gauge("asr_ready", "1 while /ready answers 200.")
        self._health = self._gauge("asr_health_status", "The HTTP status that /health answers.")
        self._problems = self._gauge(
            "asr_problem_seconds", "How long this has kept the worker from its job; 0: it does not.", "kind"
        )
        self._kinds = set(PROBLEMS)
        self.health(200, {})
        limit = self._gauge("asr_memory_limit_bytes", "How much memory the process may use.")
        limit.set(memory_limit_bytes())
        self._role = self._gauge("asr_role", "1 for the role the worker has now.", "role")
        self.set_role("starting")

    def _reloads(self) -> None:
        reloads = self._family("asr_config_reloads", "Reloads of the configuration, by result.", "result")
        self._reload_results = bound(reloads, ("success", "failure"))
        self._last_reload = self._gauge(
            "asr_config_last_reload_success", "1 unless the last reload of the configuration was refused."
        )
        self._last_reload.set(1)

    def reloaded(self, success: bool) -> None:
        """The configuration was read again, or refused."""
        self._reload_results("success" if success else "failure").inc()
        self._last_reload.set(success)

    def _counter(self, name: str, text: str) -> PlainCounter:
        return PlainCounter(name, text, self.registry)

    def _family(self, name: str, text: str, label: str) -> Counter:
        return Counter(name, text, (label,), registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...]) -> PlainHistogram:
        return PlainHistogram(name, text, bounds, self.registry)

    def connections_closed(self, code: int) -> Counter:
        """The counter of a close code; codes that mean nothing here share the label ``other``."""
        return self._closed_label(str(code) if code in CLOSE_CODES else "other")

    def connection_opened(self, wait_s: float) -> None:
        """A connection opened, ``wait_s`` seconds after it was wanted."""
        self.connections_created.inc()
        self.connection_wait.observe(wait_s)
        self._recent_waits_s.append(wait_s)

    def flushed(self, *, since_last_s: float | None, age_s: float, audio_s: float) -> None:
        """``audio_s`` seconds of a call were handed on.

        A call's first flush has no ``since_last_s``; ``age_s`` is how long the oldest audio waited.
        """
        self.flush_age.observe(age_s)
        self.flush_audio.observe(audio_s)
        self._recent_ages_s.append(age_s)
        if since_last_s is not None:
            self._chunks_after_initial += 1
            self.flush_interval.observe(since_last_s)
            self._recent_intervals_s.append(since_last_s)

    def sent(self, audio_s: float, delay_s: float) -> None:
        """One binary message with ``audio_s`` seconds went to the provider, ``delay_s`` after it was due."""
        self.chunks_sent.inc()
        self.send_delay.observe(delay_s)
        self.audio_sent_seconds.inc(audio_s)

    def failed(self, kind: str, epoch_s: float) -> None:
        """Count an error and remember it as the last one, at ``epoch_s`` seconds since 1970."""
        self.errors(kind).inc()
        self.last_error = kind, epoch_s
        self._last_error.clear()
        self._last_error.labels(kind).set(1)
        self._last_error_time.set(epoch_s)

    def loop_late(self, delay_s: float) -> None:
        """The event loop came back ``delay_s`` later than it was asked to."""
        self.loop_lag_seconds.set(delay_s)
        self.loop_delay.observe(delay_s)

    def health(self, status: int, problems: Mapping[str, float]) -> None:
        """``/health`` answers this status, because of these problems and their seconds."""
        self._health.set(status)
        self._kinds |= problems.keys()
        for kind in self._kinds:
            self._problems.labels(kind).set(problems.get(kind, 0))

    def no_calls(self) -> None:
        """The calls are nobody's, or another worker's: what was last seen of them is no state any more."""
        for gauge in (
            self.calls, self.waiting_for_slot, self.unfinalized_seconds, self.unfinalized_bytes,
            self.reader_lag_seconds,
        ):  # fmt: skip
            gauge.set(0)

    def set_role(self, role: str) -> None:
        for one in ROLES:
            self._role.labels(one).set(one == role)

    def exposition(self) -> bytes:
        """All series in Prometheus' text format; its media type is ``CONTENT_TYPE``."""
        return generate_latest(self.registry)

    def seed_snapshot(self) -> dict[str, Any]:
        """The ``metrics`` object of ``/health``: counts, and the last 100 times in milliseconds."""
        return {
            "connectionsCreated": int(self.connections_created.value),
            "connectionsReused": int(self.connections_reused.value),
            "duplicateConnectionAttempts": int(self.duplicate_connection_attempts.value),
            "connectionCreationWaitTime": [*map(_ms, self._recent_waits_s)],
            "chunksProcessedAfterInitial": self._chunks_after_initial,
            "averageTimeBetweenChunks": [*map(_ms, self._recent_intervals_s)],
            "bufferAgeAtProcessing": [*map(_ms, self._recent_ages_s)],
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)

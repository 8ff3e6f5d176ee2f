"""The series of the daemon: names, help texts, and the labels that are exported from the start.

Names follow Prometheus' conventions: base units, `_total` on counters, no label that grows with the calls. A
series that changes per frame or chunk is an attribute, or a child that is bound once and kept.
"""

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector

from trio_asr.telemetry import logs
from trio_asr.telemetry.counters import (
    GapMeter,
    PlainCounter,
    PlainHistogram,
    ReadCounter,
    ReadGauge,
    bound,
    kept,
)
from trio_asr.telemetry.labels import (
    CLOSE_CODES,
    DEAD_LETTERS,
    DELAYS,
    ERRORS,
    FLUSHES,
    GAPS,
    PLACES,
    PROBLEMS,
    STATES,
    WAITS,
)
from trio_asr.telemetry.process import Process, memory_limit_bytes


class Families:
    """All series of a daemon, in a registry of their own."""

    def __init__(self) -> None:
        # A creation time for every series would double the exposition. The library's switch is global.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        Process(registry=self.registry)
        GCCollector(registry=self.registry)
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
            "asr_flush_interval_seconds", "Time between two flushes of a call.", FLUSHES
        )
        self.flush_age = self._histogram(
            "asr_flush_age_seconds", "Age of the oldest audio of a flush.", FLUSHES
        )
        self.flush_audio = self._histogram("asr_flush_audio_seconds", "Audio in one flush.", FLUSHES)
        self.reads = self._counter("asr_reads", "Reads of the audio stream that brought something.")
        self.send_delay = self._histogram(
            "asr_send_delay_seconds", "From the moment that audio is due until it is on the socket.", DELAYS
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
            "deepgram_connection_wait_seconds", "Time from the wish for a connection to its opening.", WAITS
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
        self.messages_unusable = self._counter(
            "deepgram_messages_unusable",
            "Messages of the provider that could not be used, whatever they may have said.",
        )
        delivered = self._family("asr_transcripts_delivered", "Transcripts that reached Redis.", "kind")
        self.transcripts_delivered = bound(delivered, ("partial", "final"))
        self.chunks_covered = self._counter(
            "asr_audio_chunks_covered", "Chunks all of whose audio is inside a committed final."
        )
        self.first_partial_latency = self._histogram(
            "asr_first_partial_latency_seconds", "From a call's first frame to its first result.", WAITS
        )
        self.result_latency = self._histogram(
            "asr_result_latency_seconds", "From the sending of audio to the result that covers it.", WAITS
        )
        self.commit_latency = self._histogram(
            "asr_commit_latency_seconds", "From a result's arrival to its commit in Redis.", DELAYS
        )

    def _losses(self) -> None:
        count = bound(self._family("asr_gaps", "Stretches of audio given up, by reason.", "reason"))
        samples = bound(self._family("asr_gap_samples", "Samples given up, by reason.", "reason"))
        seconds = bound(self._family("asr_gap_seconds", "Audio given up, by reason.", "reason"))
        self.gaps = kept(lambda reason: GapMeter(count(reason), samples(reason), seconds(reason)), GAPS)
        dead = self._family("asr_dead_letters", "Unusable entries, by reason.", "reason")
        self.dead_letters = bound(dead, DEAD_LETTERS)
        self.dead_letters_dropped = self._counter(
            "asr_dead_letters_dropped", "Unusable entries not told of, because too many waited to be."
        )
        self.duplicates_dropped = self._counter(
            "asr_duplicates_dropped", "Audio entries and results that were repeats."
        )
        self.holes_filled_seconds = self._counter(
            "asr_holes_filled_seconds", "Silence put where frames were missing."
        )
        self.audio_late_seconds = self._counter(
            "asr_audio_late_seconds",
            "Audio that came after the silence in its place, and shifts what follows.",
        )
        self.positions_ignored = self._counter(
            "asr_positions_ignored", "Entries whose position cannot be meant, taken as if they had none."
        )
        self.backlog_skipped = self._counter(
            "asr_backlog_skipped", "Audio entries skipped at start for their age."
        )
        self.input_trimmed = self._counter(
            "asr_input_trimmed", "Times that the audio stream was cut past what had been read."
        )
        self.late_frames = self._counter("asr_late_frames", "Frames that came after the end of their call.")
        self.ends_dropped = self._counter(
            "asr_ends_dropped", "Ends of calls given up because too many waited for the audio before them."
        )
        self.streams_begun_again = self._counter(
            "asr_streams_begun_again", "Times that a stream was found to have begun again below our position."
        )
        self.calls_deferred = self._counter(
            "asr_calls_deferred", "Calls that had to wait for interaction.max_calls before they began."
        )
        self.calls_refused = self._counter(
            "asr_calls_refused", "Calls never begun, because too many waited for interaction.max_calls."
        )
        self.overruns = self._counter("asr_overruns", "Calls that could not take a batch of frames in time.")

    def _errors(self) -> None:
        self.last_error: tuple[str, float] | None = None
        errors = self._family("asr_errors", "Errors of handling, provider and publishing.", "kind")
        self.errors = bound(errors, ERRORS)
        internal = self._family("asr_internal_errors", "Bugs that were caught, by place.", "place")
        self.internal_errors = bound(internal, PLACES)
        broken = self._family(
            "asr_broken_states", "Stored states set aside because they make no sense.", "kind"
        )
        self.broken_states = bound(broken, STATES)
        self.http_turned_away = self._counter(
            "asr_http_connections_turned_away", "HTTP connections closed for want of a place."
        )
        dropped = "Log lines dropped, because standard error was not read in time or could not be written."
        ReadCounter("asr_log_lines_dropped", dropped, self.registry, logs.dropped)
        # An error's message may quote a URL or a transcript, so the label is its kind only.
        self._last_error = self._gauge("asr_last_error_info", "The kind of the last error; 1.", "kind")
        self._last_error_time = self._gauge(
            "asr_last_error_timestamp_seconds", "When the last error happened, in seconds since 1970."
        )

    def _state(self) -> None:
        # Whoever owns calls sets how these are read; without calls all are 0.
        self.calls = self._read("asr_calls", "Calls in progress.")
        self.connections = self._read("deepgram_connections", "Connections open now.")
        self.waiting_for_slot = self._read(
            "deepgram_calls_waiting", "Calls waiting for deepgram.max_connections."
        )
        self.breaker_open = self._read(
            "deepgram_breaker_open", "1 while Deepgram refuses the key or the account."
        )
        self.calls_waiting = self._read("asr_calls_waiting", "Calls waiting for interaction.max_calls.")
        self.calls_behind = self._read(
            "asr_calls_behind", "Calls that are read again for, behind the others."
        )
        self.unfinalized_seconds = self._read(
            "asr_unfinalized_seconds", "Audio not yet inside a committed final, all calls."
        )
        self.unfinalized_bytes = self._read("asr_unfinalized_bytes", "Memory that this audio takes.")
        self.reader_lag_seconds = self._read(
            "asr_reader_lag_seconds",
            "Age of the oldest audio entry not read yet, of the call that is furthest behind.",
        )
        self.loop_lag_seconds = self._gauge(
            "asr_loop_lag_seconds", "Delay of the event loop when last measured."
        )
        self.loop_delay = self._histogram(
            "asr_loop_delay_seconds", "Delay of the event loop, measured once a second.", DELAYS
        )
        self.redis_up = self._gauge("asr_redis_up", "1 while Redis answers.")
        self.ready = self._gauge("asr_ready", "1 while /ready answers 200.")
        self._health = self._gauge("asr_health_status", "The HTTP status that /health answers.")
        self._problems = self._gauge(
            "asr_problem_seconds", "How long this has kept the worker from its job; 0: it does not.", "kind"
        )
        self._kinds = set(PROBLEMS)
        limit = self._gauge("asr_memory_limit_bytes", "How much memory the process may use.")
        limit.set(memory_limit_bytes())
        self._role = self._gauge("asr_role", "1 for the role the worker has now.", "role")

    def _reloads(self) -> None:
        reloads = self._family("asr_config_reloads", "Reloads of the configuration, by result.", "result")
        self._reload_results = bound(reloads, ("success", "failure"))
        self._last_reload = self._gauge(
            "asr_config_last_reload_success", "1 unless the last reload of the configuration was refused."
        )
        self._last_reload.set(1)

    def _counter(self, name: str, text: str) -> PlainCounter:
        return PlainCounter(name, text, self.registry)

    def _family(self, name: str, text: str, label: str) -> Counter:
        return Counter(name, text, (label,), registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _read(self, name: str, text: str) -> ReadGauge:
        return ReadGauge(name, text, self.registry)

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...]) -> PlainHistogram:
        return PlainHistogram(name, text, bounds, self.registry)

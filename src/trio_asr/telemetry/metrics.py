"""All metrics of the daemon, for Prometheus and for the `metrics` object of `/health`."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from trio_asr.telemetry.families import Families
from trio_asr.telemetry.labels import CLOSE_CODES, ROLES
from trio_asr.wire.codes import ErrorKind

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_RECENT = 100  # samples in each list of /health


class Metrics(Families):
    """The metrics of one daemon."""

    def __init__(self) -> None:
        super().__init__()
        self._chunks_after_initial = 0
        self._recent_waits_s: deque[float] = deque(maxlen=_RECENT)
        self._recent_intervals_s: deque[float] = deque(maxlen=_RECENT)
        self._recent_ages_s: deque[float] = deque(maxlen=_RECENT)
        self.health(200, {})
        self.set_role("starting")

    def reloaded(self, success: bool) -> None:
        """Count a reload of the configuration that was applied, or refused."""
        self._reload_results("success" if success else "failure").inc()
        self._last_reload.set(success)

    def connections_closed(self, code: int) -> Counter:
        """Return the counter of a close code; unknown codes share the label `other`."""
        return self._closed_label(str(code) if code in CLOSE_CODES else "other")

    def connection_opened(self, wait_s: float) -> None:
        """Count a connection that opened `wait_s` seconds after it was wanted."""
        self.connections_created.inc()
        self.connection_wait.observe(wait_s)
        self._recent_waits_s.append(wait_s)

    def flushed(self, *, since_last_s: float | None, age_s: float, audio_s: float) -> None:
        """Count a flush of `audio_s` seconds of audio, the oldest of which had waited `age_s` seconds.

        `since_last_s` is None for a call's first flush.
        """
        self.flush_age.observe(age_s)
        self.flush_audio.observe(audio_s)
        self._recent_ages_s.append(age_s)
        if since_last_s is not None:
            self._chunks_after_initial += 1
            self.flush_interval.observe(since_last_s)
            self._recent_intervals_s.append(since_last_s)

    def sent(self, audio_s: float, delay_s: float) -> None:
        """Count one message of `audio_s` seconds of audio, sent to the provider `delay_s` seconds late."""
        self.chunks_sent.inc()
        self.send_delay.observe(delay_s)
        self.audio_sent_seconds.inc(audio_s)

    def failed(self, kind: ErrorKind, epoch_s: float) -> None:
        """Count an error, and export it as the last one, at `epoch_s` seconds since 1970."""
        self.errors(kind).inc()
        self.last_error = kind, epoch_s
        self._last_error.clear()
        self._last_error.labels(kind).set(1)
        self._last_error_time.set(epoch_s)

    def loop_late(self, delay_s: float) -> None:
        """Record that the event loop woke up `delay_s` seconds late."""
        self.loop_lag_seconds.set(delay_s)
        self.loop_delay.observe(delay_s)

    def health(self, status: int, problems: Mapping[str, float]) -> None:
        """Export the HTTP status of `/health` and the age of each open problem, in seconds."""
        self._health.set(status)
        self._kinds |= problems.keys()
        for kind in self._kinds:
            self._problems.labels(kind).set(problems.get(kind, 0))

    def set_role(self, role: str) -> None:
        """Export the worker's role, one of `labels.ROLES`."""
        for one in ROLES:
            self._role.labels(one).set(one == role)

    def exposition(self) -> bytes:
        """Return all series in Prometheus' text format, of media type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def seed_snapshot(self) -> dict[str, Any]:
        """Return the `metrics` object of `/health`: counts, and the last 100 times in milliseconds."""
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

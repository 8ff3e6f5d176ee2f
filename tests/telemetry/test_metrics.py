"""The metrics as a scraper and as the readers of /health see them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from trio_asr.telemetry.labels import DEAD_LETTERS, ERRORS, GAPS, PROBLEMS, ROLES
from trio_asr.telemetry.metrics import Metrics
from trio_asr.wire.codes import ErrorKind


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_exposition_parses_and_has_the_smoke_tests_lines() -> None:
    """Requirements 16: a scrape shows lines that match asr_ and deepgram_."""
    text = Metrics().exposition().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert any(line.startswith("asr_") for line in text.splitlines())
    assert any(line.startswith("deepgram_") for line in text.splitlines())
    assert not [name for name in families if "created" in name and "connections" not in name]
    assert all(family.documentation for family in families.values())


def test_every_series_that_triggers_and_alerts_use_is_there_before_anything_happens() -> None:
    """Requirements 19 and 20."""
    metrics = Metrics()
    for name in (
        "asr_audio_chunks_processed_total",
        "asr_audio_chunks_covered_total",
        "asr_first_partial_latency_seconds_count",
        "deepgram_audio_chunks_sent_total",
        "deepgram_connections_created_total",
        "deepgram_connections_reused_total",
        "deepgram_connection_timeouts_total",
        "deepgram_connection_wait_seconds_count",
        "deepgram_duplicate_connection_attempts_total",
        "deepgram_transcripts_received_total",
    ):
        assert value(metrics, name) == 0, name
    for kind in ERRORS:
        assert value(metrics, "asr_errors_total", kind=kind) == 0
    for reason in GAPS:
        assert value(metrics, "asr_gap_seconds_total", reason=reason) == 0
    for reason in DEAD_LETTERS:
        assert value(metrics, "asr_dead_letters_total", reason=reason) == 0
    for kind in PROBLEMS:
        assert value(metrics, "asr_problem_seconds", kind=kind) == 0
    assert value(metrics, "asr_health_status") == 200
    assert value(metrics, "asr_memory_limit_bytes")
    assert value(metrics, "deepgram_duplicate_connections_total") == 0
    assert value(metrics, "asr_transcripts_delivered_total", kind="final") == 0
    assert value(metrics, "asr_transcripts_delivered_total", kind="partial") == 0
    assert value(metrics, "deepgram_connections_closed_total", code="1011") == 0
    assert value(metrics, "process_resident_memory_bytes")


def test_no_label_can_grow_with_the_calls() -> None:
    text = Metrics().exposition().decode()
    for family in text_string_to_metric_families(text):
        if family.name.startswith(("asr_", "deepgram_")):
            for sample in family.samples:
                assert set(sample.labels) <= {"le", "kind", "reason", "code", "role", "result", "place"}


def test_histograms_resolve_the_thresholds() -> None:
    metrics = Metrics()
    assert value(metrics, "asr_first_partial_latency_seconds_bucket", le="2.0") == 0
    assert value(metrics, "asr_commit_latency_seconds_bucket", le="0.025") == 0
    assert value(metrics, "asr_send_delay_seconds_bucket", le="0.025") == 0
    assert value(metrics, "asr_loop_delay_seconds_bucket", le="0.1") == 0
    assert value(metrics, "asr_flush_interval_seconds_bucket", le="0.5") == 0


def test_health_and_its_problems_are_series() -> None:
    """Requirements 19: what /health answers can be alerted on without asking it."""
    metrics = Metrics()
    metrics.health(503, {"redis": 31.5, "something new": 1.0})
    assert value(metrics, "asr_health_status") == 503
    assert value(metrics, "asr_problem_seconds", kind="redis") == 31.5
    metrics.health(200, {})
    assert value(metrics, "asr_health_status") == 200
    assert value(metrics, "asr_problem_seconds", kind="redis") == 0
    assert value(metrics, "asr_problem_seconds", kind="something new") == 0


def test_the_gauges_of_calls_are_read_from_who_owns_them_now() -> None:
    metrics = Metrics()
    calls: list[str] = []
    metrics.calls.read = lambda: len(calls)
    assert value(metrics, "asr_calls") == value(metrics, "deepgram_breaker_open") == 0
    calls += ["one", "other"]
    assert value(metrics, "asr_calls") == 2


def test_two_daemons_in_one_process_do_not_share_counters() -> None:
    one, other = Metrics(), Metrics()
    one.frames_accepted.inc()
    assert value(other, "asr_audio_chunks_processed_total") == 0


def test_children_are_bound_once() -> None:
    metrics = Metrics()
    assert metrics.errors("redis") is metrics.errors("redis")
    assert metrics.gaps("overflow") is metrics.gaps("overflow")


def test_close_codes_that_mean_nothing_share_a_label() -> None:
    metrics = Metrics()
    for code in (1000, 1011, 4000, 4711):
        metrics.connections_closed(code).inc()
    assert value(metrics, "deepgram_connections_closed_total", code="1011") == 1
    assert value(metrics, "deepgram_connections_closed_total", code="other") == 2


def test_a_gap_is_counted_in_all_units() -> None:
    metrics = Metrics()
    metrics.gaps("overflow").add(4000, 0.5)
    assert value(metrics, "asr_gaps_total", reason="overflow") == 1
    assert value(metrics, "asr_gap_samples_total", reason="overflow") == 4000
    assert value(metrics, "asr_gap_seconds_total", reason="overflow") == 0.5


def test_the_last_error_is_the_last_only() -> None:
    metrics = Metrics()
    metrics.failed(ErrorKind.REDIS, 1.0)
    metrics.failed(ErrorKind.INPUT, 2.0)
    assert value(metrics, "asr_last_error_info", kind="redis") is None
    assert value(metrics, "asr_last_error_info", kind="input") == 1
    assert value(metrics, "asr_last_error_timestamp_seconds") == 2.0
    assert value(metrics, "asr_errors_total", kind="redis") == 1


@pytest.mark.parametrize("role", ROLES)
def test_the_role_is_one_of_them(role: str) -> None:
    metrics = Metrics()
    metrics.set_role(role)
    assert [one for one in ROLES if value(metrics, "asr_role", role=one)] == [role]


def test_health_metrics_of_an_idle_worker_are_zeros_and_empty_lists() -> None:
    """Requirements 9 and 10."""
    assert Metrics().seed_snapshot() == {
        "connectionsCreated": 0, "connectionsReused": 0, "duplicateConnectionAttempts": 0,
        "connectionCreationWaitTime": [], "chunksProcessedAfterInitial": 0, "averageTimeBetweenChunks": [],
        "bufferAgeAtProcessing": [],
    }  # fmt: skip


def test_health_metrics_and_series_agree() -> None:
    metrics = Metrics()
    metrics.connection_opened(0.1234)
    metrics.connections_reused.inc(3)
    metrics.duplicate_connection_attempts.inc()
    metrics.flushed(since_last_s=None, age_s=0.5, audio_s=0.5)
    metrics.flushed(since_last_s=0.2, age_s=0.2, audio_s=0.2)
    metrics.sent(0.5, 0.004)
    assert metrics.seed_snapshot() == {
        "connectionsCreated": 1, "connectionsReused": 3, "duplicateConnectionAttempts": 1,
        "connectionCreationWaitTime": [123.4], "chunksProcessedAfterInitial": 1,
        "averageTimeBetweenChunks": [200.0], "bufferAgeAtProcessing": [500.0, 200.0],
    }  # fmt: skip
    assert value(metrics, "deepgram_connections_created_total") == 1
    assert value(metrics, "deepgram_connection_wait_seconds_sum") == 0.1234
    assert value(metrics, "asr_flush_interval_seconds_count") == 1
    assert value(metrics, "asr_flush_age_seconds_count") == 2
    assert value(metrics, "deepgram_audio_chunks_sent_total") == 1
    assert value(metrics, "asr_send_delay_seconds_sum") == 0.004
    assert value(metrics, "deepgram_audio_sent_seconds_total") == 0.5


def test_health_lists_are_bounded() -> None:
    """Requirements 9."""
    metrics = Metrics()
    for number in range(1000):
        metrics.connection_opened(number)
        metrics.flushed(since_last_s=number, age_s=number, audio_s=0.2)
    snapshot = metrics.seed_snapshot()
    for name in ("connectionCreationWaitTime", "averageTimeBetweenChunks", "bufferAgeAtProcessing"):
        assert len(snapshot[name]) == 100
        assert snapshot[name][-1] == 999_000

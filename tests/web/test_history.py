"""The samples of the page's charts."""

from trio_asr.telemetry.metrics import Metrics
from trio_asr.web.history import KEPT, STEP_S, History


def test_beyond_the_last_bound_nothing_is_known() -> None:
    metrics = Metrics()
    history = History(metrics)
    metrics.commit_latency.observe(1e6)
    history.note(100.0, 1)
    assert history.samples[0].commit_ms == metrics.commit_latency.bounds[-1] * 1000


def test_a_sample_is_of_its_own_time() -> None:
    metrics = Metrics()
    history = History(metrics)
    metrics.sent(0.2, 0.9)
    history.note(100.0, 3)
    for _ in range(10):
        metrics.sent(0.2, 0.0005)
        metrics.commit_latency.observe(0.002)
    history.note(100.0 + STEP_S, 4)
    history.note(100.0 + 2 * STEP_S, 4)
    first, second, third = history.samples
    assert (first.calls, second.calls) == (3, 4)
    assert first.send_ms is not None
    assert 500 < first.send_ms <= 1000
    assert second.send_ms is not None
    assert second.send_ms <= 1
    assert second.commit_ms is not None
    assert 1 < second.commit_ms <= 2.5
    assert (third.send_ms, third.commit_ms) == (None, None)


def test_it_is_sampled_now_and_then_and_bounded() -> None:
    history = History(Metrics())
    for second in range(int(STEP_S) * (KEPT + 50)):
        history.note(float(second), second)
    assert history.number == KEPT + 50
    assert len(history.samples) == KEPT
    assert history.samples[-1].calls == int(STEP_S) * (KEPT + 49)

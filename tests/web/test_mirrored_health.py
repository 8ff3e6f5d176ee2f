"""What a scrape tells of /health: Prometheus asks one page only."""

from typing import Any

import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from trio_asr.config import Config
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.web.app import create_app


async def scraped(view: Any) -> dict[tuple[str, str], float]:
    client = create_app(view, metrics := Metrics(), InternalErrors(metrics), Config()).test_client()
    text = await (await client.get("/metrics")).get_data(as_text=True)
    assert (await client.get("/health")).status_code in (200, 503)
    return {
        (sample.name, sample.labels.get("kind", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_scrape_says_what_health_answers(view: Any, autojump_clock: MockClock) -> None:
    """Requirements 19 and 20."""
    assert (await scraped(view))["asr_health_status", ""] == 200
    view.since = {"redis": trio.current_time()}
    await trio.sleep(29)
    seen = await scraped(view)
    assert (seen["asr_health_status", ""], seen["asr_ready", ""]) == (200, 0)
    assert seen["asr_problem_seconds", "redis"] == 29
    await trio.sleep(2)
    seen = await scraped(view)
    assert seen["asr_health_status", ""] == 503
    assert seen["asr_problem_seconds", "commits"] == 0

"""The pages, asked over the application's test client."""

from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from trio_asr.config import Config, HttpConfig
from trio_asr.telemetry.fleet import FleetPicture
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.web.app import create_app


async def get(view: Any, path: str, metrics: Metrics | None = None) -> tuple[int, Any]:
    config = Config(http=HttpConfig(degraded_after_s=30))
    metrics = metrics or Metrics()
    app = create_app(view, metrics, InternalErrors(metrics), config)
    response = await app.test_client().get(path)
    return response.status_code, await response.get_json()


async def test_health_of_an_idle_worker(view: Any) -> None:
    """Requirements 10: the old fields with zeros."""
    code, body = await get(view, "/health")
    assert code == 200
    assert body == {
        "status": "ok",
        "service": "asr-worker",
        "provider": "deepgram",
        "activeBuffers": 0,
        "activeConnections": 0,
        "role": "active",
        "metrics": Metrics().seed_snapshot(),
    }
    assert list(body)[:5] == ["status", "service", "provider", "activeBuffers", "activeConnections"]


async def test_health_counts(view: Any) -> None:
    metrics = Metrics()
    metrics.connection_opened(0.25)
    view.active_buffers, view.active_connections = 3, 2
    _, body = await get(view, "/health", metrics)
    assert (body["activeBuffers"], body["activeConnections"]) == (3, 2)
    assert body["metrics"]["connectionsCreated"] == 1
    assert body["metrics"]["connectionCreationWaitTime"] == [250.0]


async def test_a_provider_without_connections_says_so(view: Any) -> None:
    view.provider, view.active_connections = "mock", None
    _, body = await get(view, "/health")
    assert (body["provider"], body["activeConnections"]) == ("mock", "N/A")


async def test_health_is_degraded_only_after_a_while(view: Any, autojump_clock: MockClock) -> None:
    """Requirements 19: 503, or a status that is not ok, pulls the new version back; a blip must not."""
    view.since = {"redis": trio.current_time()}
    await trio.sleep(29.9)
    code, body = await get(view, "/health")
    assert (code, body["status"]) == (200, "ok")
    assert "problems" not in body
    await trio.sleep(0.1)
    code, body = await get(view, "/health")
    assert (code, body["status"]) == (503, "degraded")
    assert body["problems"] == {"redis": 30.0}
    view.since = {}
    code, body = await get(view, "/health")
    assert (code, body["status"]) == (200, "ok")


async def test_others_that_cannot_be_seen_are_waited_for_ten_times_as_long(
    view: Any, autojump_clock: MockClock
) -> None:
    view.since = {"fleet": trio.current_time()}
    await trio.sleep(299.9)
    assert (await get(view, "/health"))[0] == 200
    assert (await get(view, "/ready"))[0] == 503  # at once: nobody is to be replaced meanwhile
    await trio.sleep(0.1)
    code, body = await get(view, "/health")
    assert (code, body["problems"]) == (503, {"fleet": 300.0})


async def test_a_standby_is_healthy_but_not_ready(view: Any) -> None:
    view.role = "standby"
    code, body = await get(view, "/health")
    assert (code, body["role"]) == (200, "standby")
    code, body = await get(view, "/ready")
    assert code == 503
    assert body == {"status": "not ready", "role": "standby", "reasons": ["role is standby"]}


@pytest.mark.parametrize(("role", "expected"), [("starting", 503), ("active", 200), ("stopping", 503)])
async def test_ready_is_for_the_active_one(view: Any, role: str, expected: int) -> None:
    view.role = role
    assert (await get(view, "/ready"))[0] == expected


async def test_a_problem_makes_it_unready_at_once(view: Any, autojump_clock: MockClock) -> None:
    view.since = {"deepgram refuses the key": trio.current_time()}
    await trio.sleep(2)
    code, body = await get(view, "/ready")
    assert code == 503
    assert body["reasons"] == ["deepgram refuses the key for 2 s"]


async def test_live_is_200_whatever_is_wrong(view: Any) -> None:
    view.role, view.since = "stopping", {"redis": -1000.0}
    assert await get(view, "/live") == (200, {"status": "alive"})


async def test_metrics_is_a_scrape(view: Any) -> None:
    """Requirements 16."""
    view.role = "standby"
    metrics = Metrics()
    app = create_app(view, metrics, InternalErrors(metrics), Config())
    response = await app.test_client().get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = await response.get_data(as_text=True)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    roles = {sample.labels["role"]: sample.value for sample in families["asr_role"].samples}
    assert roles == {"starting": 0, "standby": 1, "active": 0, "draining": 0, "stopping": 0}
    assert families["asr_ready"].samples[0].value == 0


@pytest.mark.parametrize("path", ["/healthz", "/health/", "/static/x", "/metrics/../secret", "/%00"])
async def test_anything_else_is_404_in_json(view: Any, path: str) -> None:
    assert await get(view, path) == (404, {"error": "Not Found"})


async def test_pages_only_read(view: Any) -> None:
    app = create_app(view, metrics := Metrics(), InternalErrors(metrics), Config())
    response = await app.test_client().post("/health")
    assert response.status_code == 405
    assert await response.get_json() == {"error": "Method Not Allowed"}


async def test_ready_knows_of_the_call_that_is_furthest_behind(view: Any) -> None:
    """It is read late, alone; health says nothing of it, for nothing is broken."""
    view.lag_s = 10.0
    assert (await get(view, "/ready"))[0] == 200
    view.lag_s = 64.6
    code, body = await get(view, "/ready")
    assert code == 503
    assert body["reasons"] == ["the call furthest behind is read 65 s late"]
    assert (await get(view, "/health"))[0] == 200


FLEET = FleetPicture(
    member="vm1-a",
    shards=64,
    held=30,
    wanted=2,
    handing_over=1,
    unowned=3,
    share=32,
    hottest=None,
    members=[],
)


async def test_health_of_a_member_names_it_and_counts_its_shards(view: Any) -> None:
    _, alone = await get(view, "/health")
    view.fleet = FLEET
    code, body = await get(view, "/health")
    assert code == 200
    assert body == alone | {
        "member": "vm1-a",
        "shards": {"held": 30, "wanted": 2, "handing_over": 1, "unowned": 3},
    }


async def test_a_standby_of_a_fleet_is_ready(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others count on it: a rollout may go on once its beats are seen."""
    view.role, view.fleet = "standby", FLEET
    monkeypatch.setattr(view, "takes_part", lambda now: True)
    assert await get(view, "/ready") == (200, {"status": "ready", "role": "standby", "reasons": []})


async def test_a_member_that_drains_is_healthy_but_not_ready(view: Any) -> None:
    view.role, view.fleet = "draining", FLEET
    assert (await get(view, "/health"))[0] == 200
    assert await get(view, "/ready") == (
        503,
        {"status": "not ready", "role": "draining", "reasons": ["role is draining"]},
    )


async def test_a_member_that_does_not_see_the_others_is_not_ready(
    view: Any, autojump_clock: MockClock
) -> None:
    view.fleet, view.since = FLEET, {"fleet": trio.current_time()}
    await trio.sleep(3)
    code, body = await get(view, "/ready")
    assert (code, body["reasons"]) == (503, ["fleet for 3 s"])
    assert (await get(view, "/health"))[0] == 200

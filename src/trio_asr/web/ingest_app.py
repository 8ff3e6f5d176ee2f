"""The pages of an ingest: health, readiness and metrics. They only read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio
from quart import Response
from quart.typing import ResponseReturnValue

from trio_asr.ingest.metrics import CONTENT_TYPE, IngestMetrics
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.web.base import App


class GatewayView(Protocol):
    """What the pages show of a gateway."""

    def health(self) -> dict[str, Any]:
        """Return what `/health` says."""
        ...

    def not_ready(self, now: float) -> list[str]:
        """Return why no call should be sent here; empty if nothing speaks against it."""
        ...


def create_ingest_app(view: GatewayView, metrics: IngestMetrics, internal: InternalErrors) -> App:
    """Return the application over one gateway."""
    app = App(metrics.http_turned_away, internal)

    def ready() -> ResponseReturnValue:
        reasons = view.not_ready(trio.current_time())
        return {"status": "not ready" if reasons else "ready", "reasons": reasons}, 503 if reasons else 200

    def exposition() -> ResponseReturnValue:
        metrics.ready.set(not view.not_ready(trio.current_time()))
        return Response(metrics.exposition(), content_type=CONTENT_TYPE)

    answers: dict[str, Callable[[], ResponseReturnValue]] = {
        "/health": view.health,
        "/ready": ready,
        "/live": lambda: {"status": "alive"},
        "/metrics": exposition,
    }
    for path, answer in answers.items():
        app.add_page(path, answer)
    return app

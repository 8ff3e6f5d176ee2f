"""The application and its routes. They only read: no request changes the daemon."""

from collections.abc import Collection, Mapping
from typing import Any

import trio
from quart import Response
from quart.typing import ResponseReturnValue

from trio_asr.config import Config
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import CONTENT_TYPE, Metrics
from trio_asr.web.access import Guard
from trio_asr.web.base import App
from trio_asr.web.live import Live
from trio_asr.web.pages import Pages
from trio_asr.web.view import View
from trio_asr.wire.codes import Problem

SERVICE = "asr-worker"  # the name that the old worker's monitoring expects

SHARDS = ("held", "wanted", "handing_over", "unowned")  # what /health tells of a fleet's
FLEET_TIMES = 10  # as long as other problems
LAG_S = 10.0  # seconds behind; audio that is read later than this is not live


def create_app(view: View, metrics: Metrics, internal: InternalErrors, config: Config) -> App:
    """Return the application over one daemon's view and metrics."""
    app = App(metrics.http_turned_away, internal)
    patience_s = config.http.degraded_after_s

    def health() -> ResponseReturnValue:
        problems = _lasting(view.problems(trio.current_time()), patience_s)
        return _health(view, metrics, problems), _status(problems)

    def ready() -> ResponseReturnValue:
        reasons = not_ready(view, trio.current_time())
        body = {"status": "not ready" if reasons else "ready", "role": view.role, "reasons": reasons}
        return body, _status(reasons)

    def exposition() -> ResponseReturnValue:
        now = trio.current_time()
        metrics.set_role(view.role)
        metrics.ready.set(not not_ready(view, now))
        problems = view.problems(now)
        # Before the first answer nothing is known of it. A member without a shard asks only for the others.
        in_sight = view.fleet is None or view.fleet.unowned is not None
        metrics.redis_up.set(view.role != "starting" and in_sight and Problem.REDIS not in problems)
        metrics.health(_status(_lasting(problems, patience_s)), problems)
        return Response(metrics.exposition(), content_type=CONTENT_TYPE)

    app.add_page("/health", health)
    app.add_page("/ready", ready)
    app.add_page("/live", lambda: {"status": "alive"})
    app.add_page("/metrics", exposition)
    Pages(view, Guard(config.http.token), Live(view, metrics, config)).add_to(app)
    return app


def not_ready(view: View, now: float) -> list[str]:
    """Return the reasons why calls may not be transcribed at the moment; empty if there are none."""
    reasons = [] if view.takes_part(now) else [f"role is {view.role}"]
    if view.lag_s > LAG_S:
        reasons.append(f"the call furthest behind is read {view.lag_s:.0f} s late")
    return reasons + [f"{name} for {seconds:.0f} s" for name, seconds in view.problems(now).items()]


def _lasting(problems: Mapping[str, float], patience_s: float) -> dict[str, float]:
    """Return the problems that have lasted for at least `patience_s`, with their ages in seconds.

    That the other members of a fleet cannot be seen keeps nobody from the work at hand: it may last longer.
    """
    return {
        name: round(age, 1)
        for name, age in problems.items()
        if age >= patience_s * (FLEET_TIMES if name == Problem.FLEET else 1)
    }


def _status(wrong: Collection[str]) -> int:
    return 503 if wrong else 200


def _health(view: View, metrics: Metrics, problems: Mapping[str, float]) -> dict[str, Any]:
    """Return the health page: the old worker's fields, the worker's role, and the problems, if any."""
    connections = view.active_connections
    body = {
        "status": "degraded" if problems else "ok",
        "service": SERVICE,
        "provider": view.provider,
        "activeBuffers": view.active_buffers,
        "activeConnections": "N/A" if connections is None else connections,
        "role": view.role,
        "metrics": metrics.seed_snapshot(),
    }
    if (fleet := view.fleet) is not None:
        body["member"] = fleet.member
        body["shards"] = {name: getattr(fleet, name) for name in SHARDS}
    return body | {"problems": problems} if problems else body

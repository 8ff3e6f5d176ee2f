"""The application and its routes. They only read: no request changes the daemon."""

from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any

import trio
from quart import Response
from quart.typing import ResponseReturnValue
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from trio_asr.config import Config
from trio_asr.telemetry.counters import PlainCounter
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import CONTENT_TYPE, Metrics
from trio_asr.web.access import Guard
from trio_asr.web.live import Live
from trio_asr.web.pages import SECURITY_HEADERS, Pages
from trio_asr.web.view import View
from trio_asr.wire.codes import CaughtAt, Problem

SERVICE = "asr-worker"  # the name that the old worker's monitoring expects

HOST = "localhost"
LAG_S = 10.0  # seconds behind; audio that is read later than this is not live
MAX_REQUEST_BYTES = 4096  # no page takes a body


class App(QuartTrio):
    """The application, and the counters of its server. A bug in a page is caught and counted."""

    def __init__(self, turned_away: PlainCounter, internal: InternalErrors) -> None:
        super().__init__("trio_asr.web", static_folder=None)
        self.internal = internal
        self.turned_away = turned_away

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Match routes by path alone: a Host header may contain anything, and no page depends on it."""
        if request is None:
            return super().create_url_adapter(request)
        return self.url_map.bind(HOST, path_info=request.path, default_method=request.method)

    def log_exception(
        self, exception_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None]
    ) -> None:
        """Count a bug in a page as an internal error."""
        error = exception_info[1]
        if error is not None:
            self.internal.caught(CaughtAt.PAGE, error)


def create_app(view: View, metrics: Metrics, internal: InternalErrors, config: Config) -> App:
    """Return the application over one daemon's view and metrics."""
    app = App(metrics.http_turned_away, internal)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the old worker's order is easier on the eye

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
        # Before the first answer nothing is known of it.
        metrics.redis_up.set(view.role != "starting" and Problem.REDIS not in problems)
        metrics.health(_status(_lasting(problems, patience_s)), problems)
        return Response(metrics.exposition(), content_type=CONTENT_TYPE)

    page(app, "/health", health)
    page(app, "/ready", ready)
    page(app, "/live", lambda: {"status": "alive"})
    page(app, "/metrics", exposition)
    Pages(view, Guard(config.http.token), Live(view, metrics, config)).add_to(app)
    app.register_error_handler(HTTPException, refusal)
    app.after_request(secured)
    return app


def page(app: QuartTrio, path: str, answer: Callable[[], ResponseReturnValue]) -> None:
    # Quart would run a plain function in a thread, concurrently with the event loop whose state it reads.
    async def handler() -> ResponseReturnValue:
        await trio.lowlevel.checkpoint()
        return answer()

    app.add_url_rule(path, endpoint=path, view_func=handler)


async def secured(response: Response) -> Response:
    """Return a response with the headers that keep browsers safe."""
    await trio.lowlevel.checkpoint()
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def refusal(error: HTTPException) -> ResponseReturnValue:
    """Answer a request that cannot be answered."""
    await trio.lowlevel.checkpoint()
    return {"error": error.name}, error.code or 500


def not_ready(view: View, now: float) -> list[str]:
    """Return the reasons why calls may not be transcribed at the moment; empty if there are none."""
    reasons = [] if view.role == "active" else [f"role is {view.role}"]
    if view.lag_s > LAG_S:
        reasons.append(f"the call furthest behind is read {view.lag_s:.0f} s late")
    return reasons + [f"{name} for {seconds:.0f} s" for name, seconds in view.problems(now).items()]


def _lasting(problems: Mapping[str, float], patience_s: float) -> dict[str, float]:
    """Return the problems that have lasted for at least `patience_s`, with their ages in seconds."""
    return {name: round(age, 1) for name, age in problems.items() if age >= patience_s}


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
    return body | {"problems": problems} if problems else body

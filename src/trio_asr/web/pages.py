"""The pages under access control: the live page, its stream, and the calls as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response, request
from quart.typing import ResponseReturnValue
from quart_trio import QuartTrio
from werkzeug.routing import BaseConverter

from trio_asr.interaction.portrait import portray, portray_closely
from trio_asr.telemetry import logs
from trio_asr.web.access import Access, Guard, is_cross_site
from trio_asr.web.live import Live
from trio_asr.web.view import View

SCRIPTS = ("page.js", "calls.js", "charts.js", "fleet.js", "stream.js")
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in SCRIPTS},
    "/page.svg": ("page.svg", "image/svg+xml"),
}
WARN_S = 10.0

Page = Callable[[bool], ResponseReturnValue]
Application = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


class _Id(BaseConverter):
    """A path converter for interaction ids: the whole rest of the path, since an id is any printable text."""

    regex = ".+"
    part_isolating = False


class Pages:
    """The routes that depend on who asks."""

    def __init__(self, view: View, guard: Guard, live: Live) -> None:
        self._view, self._guard, self._live = view, guard, live
        self._warnings = logs.Rate(WARN_S)
        self._log = logs.get("web")

    def add_to(self, app: QuartTrio) -> None:
        """Add the routes to the application."""
        app.url_map.converters["id"] = _Id
        app.url_map.merge_slashes = False
        here = Path(__file__).parent / "static"
        for path, (name, kind) in FILES.items():
            self._route(app, path, _file((here / name).read_bytes(), kind), data=False)
        self._route(app, "/events", self._events)
        self._route(app, "/interactions", self._interactions)
        self._route(app, "/interactions/<id:interaction_id>", self._interaction)
        app.asgi_app = self._seated(app.asgi_app)  # type: ignore[method-assign, assignment]

    def _route(self, app: QuartTrio, path: str, page: Page, *, data: bool = True) -> None:
        async def handler(**_: str) -> ResponseReturnValue:
            await trio.lowlevel.checkpoint()
            access = self._judge()
            refusal = self._refusal(access, data=data)
            return page(access is Access.TRUSTED) if refusal is None else refusal

        app.add_url_rule(path, endpoint=path, view_func=handler, methods=["GET"])

    def _judge(self) -> Access:
        peer = (request.scope.get("client") or ("",))[0]
        access = self._guard.judge(peer, request.headers, trio.current_time())
        if access in (Access.WRONG, Access.BARRED) and self._warnings.allow(trio.current_time()):
            self._log.warning("Wrong HTTP token", peer=peer, suppressed=self._warnings.skipped)
        return access

    def _refusal(self, access: Access, *, data: bool) -> ResponseReturnValue | None:
        """Return the answer to a request that may not see the page, or None if it may.

        `data` is False for static files, which have no data of calls.
        """
        if access is Access.BARRED:
            return {"error": "Too Many Requests"}, 429, {"Retry-After": "60"}
        if access is Access.WRONG:
            return {"error": "Unauthorized"}, 401, {"WWW-Authenticate": "Bearer"}
        if access is Access.OUTSIDE and not self._guard.has_token:
            return {"error": "Forbidden", "reason": "no http.token is set"}, 403
        if data and is_cross_site(request.headers):
            return {"error": "Forbidden"}, 403
        if data and access is Access.OUTSIDE:
            return {"error": "Unauthorized"}, 401, {"WWW-Authenticate": "Bearer"}
        return None

    # -- pages -----------------------------------------------------------------------------------------

    def _events(self, trusted: bool) -> ResponseReturnValue:
        if request.method == "HEAD":
            return Response(b"", content_type="text/event-stream")
        if not self._live.enter(id(request.scope), trusted=trusted):
            return {"error": "Service Unavailable", "reason": "too many watch"}, 503, {"Retry-After": "10"}
        stream = self._live.stream(trusted=trusted, call=request.args.get("call"))
        response = Response(stream, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        response.timeout = None  # it has no end
        return response

    def _interactions(self, trusted: bool) -> ResponseReturnValue:
        if not trusted:
            return self._needs_token()
        return _json(
            {"interactions": [portray(interaction) for interaction in self._view.interactions.values()]}
        )

    def _interaction(self, trusted: bool) -> ResponseReturnValue:
        if not trusted:
            return self._needs_token()
        name = str((request.view_args or {})["interaction_id"])
        interaction = self._view.interactions.get(name)
        if interaction is None:
            return {"error": "Not Found", **self._view.elsewhere(name)}, 404
        return _json(portray_closely(interaction))

    def _needs_token(self) -> ResponseReturnValue:
        if not self._guard.has_token:
            return {"error": "Forbidden", "reason": "no http.token is set"}, 403
        return {"error": "Unauthorized"}, 401, {"WWW-Authenticate": "Bearer"}

    def _seated(self, inner: Application) -> Application:
        """Wrap the application so that a watcher is removed however its request ends."""

        async def seated(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            try:
                await inner(scope, receive, send)
            finally:
                self._live.leave(id(scope))

        return seated


def _file(content: bytes, kind: str) -> Page:
    return lambda _: Response(content, content_type=kind)


def _json(document: Any) -> Response:
    return Response(msgspec.json.encode(document), content_type="application/json")

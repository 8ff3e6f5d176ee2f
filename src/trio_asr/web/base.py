"""What the applications of both processes have in common: they answer from memory, and take nothing."""

from collections.abc import Callable
from types import TracebackType

import trio
from quart import Response
from quart.typing import ResponseReturnValue
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from trio_asr.telemetry.counters import PlainCounter
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.wire.codes import CaughtAt

HOST = "localhost"
MAX_REQUEST_BYTES = 4096  # no page takes a body
# Only our own files, no inline script or style; and no text taken for markup, in browsers with trusted types.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class App(QuartTrio):
    """The application, and the counters of its server. A bug in a page is caught and counted."""

    def __init__(self, turned_away: PlainCounter, internal: InternalErrors) -> None:
        super().__init__("trio_asr.web", static_folder=None)
        self.internal = internal
        self.turned_away = turned_away
        self.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
        self.json.sort_keys = False  # type: ignore[attr-defined]  # the original's order is easier on the eye
        self.register_error_handler(HTTPException, _refusal)
        self.after_request(_secured)

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

    def add_page(self, path: str, answer: Callable[[], ResponseReturnValue]) -> None:
        """Add a page that is answered from memory."""

        # Quart would run a plain function in a thread, concurrently with the event loop whose state it reads.
        async def handler() -> ResponseReturnValue:
            await trio.lowlevel.checkpoint()
            return answer()

        self.add_url_rule(path, endpoint=path, view_func=handler)


async def _secured(response: Response) -> Response:
    await trio.lowlevel.checkpoint()
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _refusal(error: HTTPException) -> ResponseReturnValue:
    await trio.lowlevel.checkpoint()
    return {"error": error.name}, error.code or 500

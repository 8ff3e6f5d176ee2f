"""The control API: faults switched and connections inspected from outside, over HTTP and JSON.

===================  =================================================================================
`GET /connections`   the simulator's record: `{"now", "total", "open", "most_open", "connections"}`
`GET /faults`        the rules in force
`PUT /faults`        adds the rule `{"faults": {...}, "match": {"sample_rate": "16000"}}`
`DELETE /faults`     drops all rules
`POST /strike`       hits open connections: `{"faults": {...}, "connections": [3, 4]}`
===================  =================================================================================

Rules are for future connections. Faults go by the names in `faults.Faults`; `match` (of the query) and
`connections` (indices) are optional. A strike's times count from now: `{"faults": {"abort_after_s": 0}}`
drops all sockets at once. What acts when a connection begins (handshakes, `cut_every_s`) is for rules only.

Anybody who can connect may use it, except for a page in a browser (see `request`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, get_type_hints

import msgspec
import trio

from trio_asr.simulator import request
from trio_asr.simulator.board import Board, Rule
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.ledger import Ledger

_REQUEST_S: Final = 5.0
_LINGER_S: Final = 0.5
_MAX_AT_ONCE: Final = 64  # requests
_MAX_RULES: Final = 100
_MAX_ERROR: Final = 300  # characters of an error text, which may quote the request


class _Put(msgspec.Struct, forbid_unknown_fields=True):
    faults: dict[str, Any]
    match: dict[str, str] = {}


class _Strike(msgspec.Struct, forbid_unknown_fields=True):
    faults: dict[str, Any]
    connections: list[int] | None = None


@dataclass(frozen=True)
class Remote:
    """A handler of requests about one simulator. Pure: the time is an argument."""

    board: Board
    ledger: Ledger

    def answer(self, method: str, path: str, body: bytes, now: float) -> tuple[HTTPStatus, Any]:
        """Return the status and the JSON document of the answer."""
        ways: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", "/connections"): lambda: self._connections(now),
            ("GET", "/faults"): self._rules,
            ("PUT", "/faults"): lambda: self._put(msgspec.json.decode(body, type=_Put)),
            ("DELETE", "/faults"): self._clear,
            ("POST", "/strike"): lambda: self._strike(msgspec.json.decode(body, type=_Strike)),
        }
        way = ways.get((method, path))
        if way is None:
            known = any(path == known for _, known in ways)
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
            return status, {"error": f"there is no {method} {path}"[:_MAX_ERROR]}
        try:
            return HTTPStatus.OK, way()
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)[:_MAX_ERROR]}
        except RecursionError:
            return HTTPStatus.BAD_REQUEST, {"error": "the document is nested too deeply"}

    def _connections(self, now: float) -> dict[str, Any]:
        ledger = self.ledger
        counts = {"total": ledger.total, "open": ledger.open, "most_open": ledger.most_open}
        return {"now": now, **counts, "connections": [one.summary(now) for one in ledger.connections]}

    def _rules(self) -> list[dict[str, Any]]:
        return [
            {"match": dict(rule.match), "faults": dataclasses.asdict(rule.faults)}
            for rule in self.board.rules
        ]

    def _put(self, put: _Put) -> list[dict[str, Any]]:
        self.board.set(Rule(put.match, faults(put.faults)), most=_MAX_RULES)
        return self._rules()

    def _clear(self) -> list[dict[str, Any]]:
        self.board.clear()
        return self._rules()

    def _strike(self, strike: _Strike) -> dict[str, int]:
        only = None if strike.connections is None else frozenset(strike.connections)
        return {"struck": self.board.strike(faults(strike.faults), only)}


def faults(named: dict[str, Any]) -> Faults:
    """Return the faults of a JSON object.

    Raises:
        ValueError: A fault is unknown, or its value has the wrong type or is out of range.
    """
    if unknown := sorted(set(named) - set(_TYPES)):
        raise ValueError(f"there is no fault {unknown[0]!r}")
    return Faults(**{name: msgspec.convert(value, _TYPES[name]) for name, value in named.items()})


_TYPES: Final = get_type_hints(Faults)


async def serve_remote(
    remote: Remote, *, host: str, port: int, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; `nursery.start` returns the bound port.

    Raises:
        OSError: The port cannot be bound.
    """
    places = trio.Semaphore(_MAX_AT_ONCE)

    async def one(stream: trio.SocketStream) -> None:
        async with _closing(stream):
            try:
                places.acquire_nowait()
            except trio.WouldBlock:
                return
            try:
                with trio.move_on_after(_REQUEST_S):
                    await _exchange(stream, remote)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the client went away
            finally:
                places.release()

    listeners = await trio.open_tcp_listeners(port, host=host)
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(one, listeners)


@asynccontextmanager
async def _closing(stream: trio.SocketStream) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await trio.aclose_forcefully(stream)


async def _exchange(stream: trio.SocketStream, remote: Remote) -> None:
    """Read one request and answer it, whatever it is."""
    document: Any
    try:
        asked = await request.read(stream)
        if asked is None:
            return
        status, document = remote.answer(asked.method, asked.path, asked.body, trio.current_time())
    except request.Bad as bad:
        status, document = bad.status, {"error": str(bad)}
    payload = msgspec.json.encode(document)
    start = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
    )
    await stream.send_all(start.encode("ascii") + payload)
    await stream.send_eof()
    # Closing with unread data would reset the connection and take the answer back.
    with trio.move_on_after(_LINGER_S):
        while await stream.receive_some(request.MAX_HEAD):
            pass

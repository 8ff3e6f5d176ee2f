"""A stand-in until the real one comes."""

from typing import NamedTuple
from trio_asr.config import IngestConfig, Route
from trio_asr.ingest.dialect import Request


class Admitted(NamedTuple):
    route: Route
    address: str
    tenant: str = ""
    call: str = ""


class Turned(NamedTuple):
    status: int
    kind: str
    reason: str
    platform: str = ""


class Doors:
    def __init__(self, config: IngestConfig) -> None:
        self._config = config

    def judge(self, request: Request, now: float) -> Admitted | Turned:
        for route in self._config.route:
            if route.path == request.path:
                return Admitted(route, request.address)
        return Turned(404, "path", "no such path")

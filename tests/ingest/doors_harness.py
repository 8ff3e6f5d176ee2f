"""Helpers of the tests of doors: requests as they come from the wire, and routes with secrets."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trio_asr.config import IngestConfig, Route, Secret
from trio_asr.ingest.dialect import Request
from trio_asr.ingest.doors import Admitted, Doors, Turned
from trio_asr.ingest.request import request_of

NOW = 1_790_000_000.0
KEY = generate_private_key(65537, 2048)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PUBLIC_URL = "wss://asr.example.com"
TOKEN = "0123456789abcdef"


def request(target: str = "/v1/ingest", address: str = "192.0.2.7", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return request_of(target, raw, (), address)


def route(path: str = "/v1/ingest", **more: Any) -> Route:
    secrets = {name: Secret(text) for name, text in more.pop("secrets", {}).items()}
    return Route(**{"path": path, "platform": "generic", "secrets": secrets, **more})


def judge(one: Request, *routes: Route, now: float = NOW, **ingest: Any) -> Admitted | Turned:
    return Doors(IngestConfig(route=routes, **{"public_url": PUBLIC_URL, **ingest})).judge(one, now)


def turned(verdict: Admitted | Turned) -> tuple[int, str]:
    assert isinstance(verdict, Turned), verdict
    return verdict.status, verdict.kind

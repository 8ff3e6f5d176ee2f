"""The main job from its first hop: callers, gateways, Valkey, a worker, the simulator; every sample accounted for.

Callers, gateways and the worker are those of production. Gateways stand behind a balancer that speaks TLS, so
platforms sign its URL. What these tests say does not hang on the machine's speed, but for being done at all.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from tests.e2e.helpers import keeps_promises
from websockets.uri import WebSocketURI

from trio_asr.client.redis import connect
from trio_asr.config import Secret
from trio_asr.lab.dial.report import Outcome
from trio_asr.lab.dial.settings import Faults
from trio_asr.lab.rig.callers import Callers, DialledCall, dialled
from trio_asr.lab.rig.evidence import documents
from trio_asr.lab.rig.gateways import Gateway, balanced
from trio_asr.lab.rig.processes import Rig, rig
from trio_asr.lab.rig.run import Run
from trio_asr.wire.audio_format import Format, audio_format

pytestmark = pytest.mark.integration

ORIGIN = "wss://asr.example.com"
PATHS = {"generic": "/v1/ingest", "twilio": "/twilio", "exotel": "/exotel"}
AUTH_TOKEN, PASSWORD, SHARED = "auth-token-of-acme", "password-of-acme", "shared-secret-of-acme-and-of-nobody-else"
PROMPT = {"align_ms": 2000}  # a leg is waited for longer than a busy machine may hold back one of two messages
MULAW, ALAW, LINEAR = audio_format(8000, "mulaw"), audio_format(8000, "alaw"), audio_format(8000)
BOTH, LINEAR_BOTH, WIDE = audio_format(8000, "mulaw", 2), audio_format(8000, channels=2), audio_format(16000)

# The platform of each call, what it is called with, its format, and how its call ends.
CALLS: list[tuple[str, Format, str]] = [
    ("generic", LINEAR, "disconnected"),
    ("generic", ALAW, "disconnected"),
    ("generic", LINEAR_BOTH, "disconnected"),
    ("twilio", MULAW, "stop"),
    ("twilio", BOTH, "stop"),
    ("exotel", LINEAR, "callended"),
    ("exotel", WIDE, "callended"),
    ("exotel", MULAW, "callended"),
]


def routes(work: Path) -> list[dict[str, Any]]:
    """Return a route for each platform, with the usual proof of who calls; secrets are in files in `work`."""
    for name, secret in (("auth-token", AUTH_TOKEN), ("password", PASSWORD), ("shared", SHARED)):
        file = work / name
        file.write_text(secret)
        file.chmod(0o600)
    own: dict[str, dict[str, Any]] = {
        "generic": {"shared_secret_file": str(work / "shared")},
        "twilio": {
            "auth_token_file": str(work / "auth-token"),
            "roles": {"inbound": "customer", "outbound": "agent"},
        },
        "exotel": {"user": "acme", "password_file": str(work / "password")},
    }
    common = {"tenant": "acme", "meta": ["from", "to"]}
    return [{"path": path, "platform": name} | common | own[name] for name, path in PATHS.items()]


def call(number: int, platform: str, form: Format, seconds: float = 4.0, **more: Any) -> DialledCall:
    """Return a call of a platform, which proves itself as that does."""
    claims = {"exp": time.time() + 3600, "tenant_id": "acme"}
    secret = {"generic": jwt.encode(claims, SHARED, "HS256"), "twilio": AUTH_TOKEN}.get(platform)
    user = f"acme:{PASSWORD}@" if platform == "exotel" else ""
    return dialled(
        number, form, seconds,
        platform=platform, call=f"{platform}-{number}", url=f"wss://{user}{ORIGIN[6:]}{PATHS[platform]}",
        secret=None if secret is None else Secret(secret), caller="+4930123", called="+4940456", **more,
    )  # fmt: skip


def total(calls: Sequence[DialledCall]) -> int:
    """Return the samples of all channels of all calls."""
    return sum(one.samples * one.dial.recording.format.channels for one in calls)


@asynccontextmanager
async def deployment(work: Path, gateways: int = 1, **ingest: Any) -> AsyncIterator[tuple[Rig, list[Gateway]]]:
    """Run a rig with a worker and some gateways, all ready."""
    async with rig(work) as r:
        made = [
            r.gateway(routes(work), public_url=ORIGIN, **(PROMPT | ingest)) for _ in range(gateways)
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.worker().start_and_wait)
            for gateway in made:
                nursery.start_soon(gateway.start_and_wait)
        yield r, made


def ends(r: Rig) -> dict[str, list[str]]:
    """Return the reasons of the ends of each call."""
    found: dict[str, list[str]] = {}
    with connect(r.valkey.url) as client:
        for end in documents(client, "call_end"):
            found.setdefault(end["interaction_id"], []).append(end["reason"])
    return found


async def test_every_platform_from_the_first_hop(tmp_path: Path) -> None:
    async with deployment(tmp_path) as (r, (gateway,)):
        calls = [call(number, platform, form) for number, (platform, form, _) in enumerate(CALLS, 1)]
        callers = Callers(calls, balanced([gateway]))
        run = Run(r, callers)
        account = await run.run()
        assert {name: one.sockets[-1].outcome for name, one in callers.reports.items()} == {
            one.id: Outcome.FINISHED for one in calls
        }
        keeps_promises(account, samples=total(calls), connections=1)
        assert ends(r) == {one.id: [end] for one, (*_, end) in zip(calls, CALLS, strict=True)}
        for one in calls:
            life = [event["event"] for event in run.evidence.events[one.id]]
            assert (life.count("started"), life.count("ended")) == (1, 1)
            started = run.evidence.events[one.id][0]
            assert started["tenant_id"] == "acme"
            roles = {each.get("role") for each in run.evidence.transcripts[one.id]}
            both = one.dial.platform == "twilio" and one.dial.recording.format.channels == 2
            assert roles == ({"customer", "agent"} if both else {None})
        assert await gateway.stop() == 0

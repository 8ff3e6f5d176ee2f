"""The main job from its first hop: callers, gateways, Valkey, a worker, the simulator; every sample counts.

Callers, gateways and the worker are real. The gateways stand behind a balancer that speaks TLS, whose URL the
platforms sign. No verdict hangs on the machine's speed.
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
from tests.e2e.helpers import PATIENT, keeps_promises
from websockets.uri import WebSocketURI

from trio_asr.client.redis import connect
from trio_asr.config import Secret
from trio_asr.config.ingest import USUAL
from trio_asr.lab.dial.report import Outcome
from trio_asr.lab.dial.settings import Faults
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.callers import Callers, DialledCall, dialled
from trio_asr.lab.rig.evidence import documents
from trio_asr.lab.rig.gateways import Gateway, balanced
from trio_asr.lab.rig.legs import number_of
from trio_asr.lab.rig.present import present
from trio_asr.lab.rig.processes import Rig, rig
from trio_asr.lab.rig.run import Run
from trio_asr.lab.rig.spans import Span
from trio_asr.lab.rig.valkey import free_port
from trio_asr.wire.audio_format import Format, audio_format

pytestmark = pytest.mark.integration

ORIGIN = "wss://asr.example.com"
SECRETS = {
    "shared_secret": "shared-secret-of-acme-and-of-nobody-else",
    "auth_token": "auth-token-of-acme",
    "password": "password-of-acme",
    "token": "token-of-acme-and-nobody-else",
    "half": "0123456789abcdef",
    "api_key": "api-key-of-acme",
    "client_secret": "Y2xpZW50LXNlY3JldC1vZi1hY21l",
}
LEGS = {"roles": {"inbound": "customer", "outbound": "agent"}}
# By platform: the secrets of its route, and the other keys.
ROUTES: dict[str, tuple[Sequence[str], dict[str, Any]]] = {
    "generic": (["shared_secret"], {}),
    "twilio": (["auth_token"], LEGS),
    "telnyx": (["token"], LEGS),
    "plivo": (["token"], LEGS),
    "smartflo": (["token"], {}),
    "exotel": (["password"], {"user": "acme"}),
    "ozonetel": (["token"], {}),
    "vonage": (["shared_secret"], {}),
    "knowlarity": (["token"], {}),
    "asterisk": (["password"], {"user": "acme"}),
    "genesys": (["api_key", "client_secret"], {"roles": {"external": "customer", "internal": "agent"}}),
    "audiocodes": (
        ["token"],
        {"tracks": ["caller", "callee"], "roles": {"caller": "customer", "callee": "agent"}},
    ),
    "jambonz": (["password"], {"user": "acme", "roles": {"left": "customer", "right": "agent"}}),
}
MULAW, ALAW, LINEAR = audio_format(8000, "mulaw"), audio_format(8000, "alaw"), audio_format(8000)
BOTH, LINEAR_BOTH, WIDE = audio_format(8000, "mulaw", 2), audio_format(8000, channels=2), audio_format(16000)
ALAW_BOTH = audio_format(8000, "alaw", 2)
# Who is dialled as one platform, and taken as another.
TAKEN_AS = {"vobiz": "plivo"}
PLAYED: list[tuple[str, Format, str]] = [  # with the reason of the call's end
    ("generic", LINEAR, "disconnected"),
    ("generic", ALAW, "disconnected"),
    ("generic", LINEAR_BOTH, "disconnected"),
    ("twilio", MULAW, "stop"),
    ("twilio", BOTH, "stop"),
    ("telnyx", BOTH, "stop"),
    ("telnyx", ALAW_BOTH, "stop"),
    ("plivo", WIDE, "disconnected"),
    ("plivo", BOTH, "disconnected"),
    ("vobiz", MULAW, "disconnected"),
    ("smartflo", MULAW, "The caller disconnected the call"),
    ("exotel", LINEAR, "callended"),
    ("exotel", WIDE, "callended"),
    ("exotel", MULAW, "callended"),
    ("ozonetel", LINEAR, "stop"),
    ("genesys", MULAW, "end"),
    ("genesys", BOTH, "end"),
    ("audiocodes", BOTH, "client-disconnected"),
    ("audiocodes", audio_format(16000, channels=2), "client-disconnected"),
    ("jambonz", WIDE, "disconnected"),
    ("jambonz", LINEAR_BOTH, "disconnected"),
    ("vonage", WIDE, "disconnected"),
    ("knowlarity", WIDE, "disconnected"),
    ("asterisk", MULAW, "disconnected"),
    ("asterisk", WIDE, "disconnected"),
]
# A leg is waited for longer than a busy machine holds back one of two messages.
ALIGNED = {"align_ms": 2000}
MINUTE = {"reconnect_grace_s": 60}
CUT = 2 * 8000  # samples of a channel: there something happens


def in_path(platform: Any) -> bool:
    """Return whether the platform's token stands in the path."""
    return USUAL[platform] == "path"


def routes(work: Path) -> list[dict[str, Any]]:
    """Return a route for each platform, with the usual proof of who calls; secrets are in files in `work`."""
    for name, secret in SECRETS.items():
        (work / name).write_text(secret)
        (work / name).chmod(0o600)
    return [
        {
            "path": f"/{platform}" + ("/{token}" if in_path(platform) else ""),
            "platform": platform,
            "tenant": "acme",
            "meta": ["from", "to"],
        }
        | {f"{name}_file": str(work / name) for name in names}
        | more
        for platform, (names, more) in ROUTES.items()
    ]


def call(number: int, platform: str, form: Format, seconds: float = 4.0, **more: Any) -> DialledCall:
    """Return a call of a platform, which proves itself as that does."""
    token = jwt.encode({"exp": time.time() + 3600, "tenant_id": "acme"}, SECRETS["shared_secret"], "HS256")
    held = {
        "generic": token, "twilio": SECRETS["auth_token"], "genesys": SECRETS["client_secret"],
        "audiocodes": SECRETS["token"], "vonage": SECRETS["shared_secret"],
    }  # fmt: skip
    secret = Secret(held[platform]) if platform in held else None
    route = TAKEN_AS.get(platform, platform)
    user = f"acme:{SECRETS['password']}@" if "password" in ROUTES[route][0] else ""
    path = f"{route}/{SECRETS['token']}" if in_path(route) else route
    return dialled(
        number, form, seconds,
        platform=platform, call=f"{platform}-{number}", url=f"wss://{user}asr.example.com/{path}",
        secret=secret, key=SECRETS["api_key"], caller="+4930123", called="+4940456", **more,
    )  # fmt: skip


@asynccontextmanager
async def deployment(work: Path, *gateways: dict[str, Any]) -> AsyncIterator[tuple[Rig, list[Gateway]]]:
    """Run a rig with a worker and gateways with these keys of `[ingest]`, all of them ready."""
    async with rig(work, settings=PATIENT) as r:
        made = [r.gateway(routes(work), public_url=ORIGIN, **ALIGNED, **keys) for keys in gateways]
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


async def stored(r: Rig, calls: Sequence[DialledCall], samples: int) -> None:
    """Wait until so many samples of each channel of each call are on the stream."""
    with connect(r.valkey.url) as client:
        for one in calls:
            while int(client.hget(f"trio_asr:ingest:{one.id}", "pos") or 0) < samples:  # noqa: ASYNC110 (Redis)
                await trio.sleep(0.05)


def on_stream(run: Run, one: DialledCall) -> list[list[Span]]:
    """Return the stretches of a call that are on the stream, by channel."""
    there = present(run.evidence.audio[one.id], one.rate)
    return [
        [*there.channels[channel].get(number_of(one.number, channel), ())]
        for channel in range(one.dial.recording.format.channels)
    ]


def keeps_what_came(account: Account, calls: Sequence[DialledCall]) -> None:
    """Check that what is on the stream is in one final each, whatever is missing."""
    for one in calls:
        found = account.calls[one.id]
        assert (found.total("lost"), found.total("doubled"), found.strangers) == (0, 0, 0), found
        assert (found.ended, found.faults) == (True, [])
        assert set(found.gaps) <= {"source"}


def audiosocket(work: Path, port: int) -> dict[str, Any]:
    """Return a route of AudioSocket, which is on a port of its own."""
    return {
        "path": "/audiosocket/{token}",
        "platform": "audiosocket",
        "port": port,
        "tenant": "acme",
        "token_file": str(work / "half"),
    }


async def test_every_platform(tmp_path: Path) -> None:
    port = free_port()
    own = {"route": [*routes(tmp_path), audiosocket(tmp_path, port)]}
    async with deployment(tmp_path, own) as (r, (gateway,)):
        calls = [call(number, platform, form) for number, (platform, form, _) in enumerate(PLAYED, 1)]
        for number, form in ((98, LINEAR), (99, WIDE)):
            url = f"tcp://127.0.0.1:{port}/{SECRETS['half']}"
            calls.append(dialled(number, form, 4.0, platform="audiosocket", call=f"{number:016x}", url=url))

        async def reach(url: WebSocketURI) -> trio.abc.Stream:
            if not url.secure:
                return await trio.open_tcp_stream(url.host, url.port)
            return await balanced([gateway])(url)

        callers = Callers(calls, reach)
        run = Run(r, callers)
        account = await run.run()
        outcomes = {name: [one.outcome for one in report.sockets] for name, report in callers.reports.items()}
        assert outcomes == {one.id: [Outcome.FINISHED] for one in calls}
        samples = sum(one.samples * one.dial.recording.format.channels for one in calls)
        keeps_promises(account, samples=samples, connections=1)
        reasons = [*(end for *_, end in PLAYED), "hangup", "hangup"]
        assert ends(r) == {one.id: [end] for one, end in zip(calls, reasons, strict=True)}
        for one in calls:
            life = [event["event"] for event in run.evidence.events[one.id]]
            assert (life[0], life.count("started"), life.count("ended")) == ("started", 1, 1)
            started = run.evidence.events[one.id][0]
            platform = TAKEN_AS.get(one.dial.platform, one.dial.platform)
            assert (started["tenant_id"], started["meta"]["platform"]) == ("acme", platform)
            roles = {each.get("role") for each in run.evidence.transcripts[one.id]}
            named = one.dial.platform != "generic" and one.dial.recording.format.channels == 2
            assert roles == ({"customer", "agent"} if named else {None})
        assert await gateway.stop() == 0


async def test_the_next_socket_of_a_call_goes_to_another_gateway(tmp_path: Path) -> None:
    """A client that resumes loses nothing; Twilio's stream goes on behind a hole."""
    async with deployment(tmp_path, MINUTE, {}) as (r, gateways):
        again = {"reconnect_after_s": 1.0, "faults": Faults(drop_at_s=2.0)}
        calls = [call(1, "generic", LINEAR_BOTH, 5.0, **again), call(2, "twilio", BOTH, 5.0, **again)]
        opened = 0

        async def reach(url: WebSocketURI) -> trio.abc.Stream:
            nonlocal opened
            opened += 1
            if opened <= len(calls):
                return await balanced(gateways)(url)
            await stored(r, calls, CUT)
            return await balanced(gateways[1:])(url)

        callers = Callers(calls, reach)
        run = Run(r, callers)
        account = await run.run()
        for report in callers.reports.values():
            assert [one.outcome for one in report.sockets] == [Outcome.CUT, Outcome.FINISHED]
        keeps_what_came(account, calls)
        generic, twilio = calls
        assert account.calls[generic.id].gaps == {}
        assert on_stream(run, generic) == [[(0, generic.samples)]] * 2
        for leg, spans in enumerate(on_stream(run, twilio)):
            second = callers.reports[twilio.id].sockets[1].samples[leg]
            assert spans == [(0, CUT), (twilio.samples - second, twilio.samples)]
        assert ends(r) == {generic.id: ["disconnected"], twilio.id: ["stop"]}


async def test_kill_9_costs_what_was_not_added_yet(tmp_path: Path) -> None:
    async with deployment(tmp_path, {}, {}) as (r, gateways):
        calls = [
            call(1, "generic", LINEAR, 5.0, reconnect_after_s=0.5),
            call(2, "twilio", BOTH, 5.0, reconnect_after_s=0.5),
        ]

        async def kill(began: float) -> None:
            del began
            await stored(r, calls, CUT)
            await gateways[0].kill()

        callers = Callers(calls, balanced(gateways))
        run = Run(r, callers)
        account = await run.run(kill)
        for report in callers.reports.values():
            assert [one.outcome for one in report.sockets] == [Outcome.LOST, Outcome.FINISHED]
        keeps_what_came(account, calls)
        generic, twilio = calls
        assert on_stream(run, generic) == [[(0, generic.samples)]]  # it had kept what was not acknowledged
        for leg, (before, after) in enumerate(on_stream(run, twilio)):
            assert before[0] == 0
            assert CUT <= before[1] <= after[0]
            second = callers.reports[twilio.id].sockets[1].samples[leg]
            assert after == (twilio.samples - second, twilio.samples)
        assert ends(r) == {generic.id: ["disconnected"], twilio.id: ["stop"]}


async def test_sigterm_lets_calls_end_that_do_so_in_time(tmp_path: Path) -> None:
    async with deployment(tmp_path, {"drain_s": 60}) as (r, (gateway,)):
        calls = [call(1, "generic", LINEAR), call(2, "twilio", BOTH), call(3, "genesys", BOTH)]

        async def stop(began: float) -> None:
            del began
            await stored(r, calls, CUT)
            assert await gateway.stop(60) == 0

        callers = Callers(calls, balanced([gateway]))
        account = await Run(r, callers).run(stop)
        assert all(report.as_wished for report in callers.reports.values())
        keeps_promises(account, samples=5 * 4 * 8000, connections=1)
        assert ends(r) == {"generic-1": ["disconnected"], "twilio-2": ["stop"], "genesys-3": ["end"]}


async def test_sigterm_ends_the_calls_that_last(tmp_path: Path) -> None:
    """A client that comes again, to another gateway, has its call go on, and loses nothing."""
    async with deployment(tmp_path, {"drain_s": 0.2}, {}) as (r, gateways):
        again = call(1, "generic", LINEAR, 5.0, reconnect_after_s=0.5)
        cut = [call(2, "twilio", BOTH, 60.0), call(3, "exotel", MULAW, 60.0)]

        async def stop(began: float) -> None:
            del began
            await stored(r, [again, *cut], CUT)
            assert await gateways[0].stop(60) == 0

        callers = Callers([again, *cut], balanced(gateways))
        run = Run(r, callers)
        account = await run.run(stop)
        for report in callers.reports.values():
            socket = report.sockets[0]
            assert (socket.outcome, socket.code, socket.reason) == (Outcome.CLOSED, 1001, "the server stops")
        keeps_what_came(account, [again, *cut])
        assert on_stream(run, again) == [[(0, again.samples)]]
        for one in cut:
            for leg, ((first, last),) in enumerate(on_stream(run, one)):
                assert first == 0
                assert CUT <= last <= callers.reports[one.id].samples[leg]
        assert ends(r) == {again.id: ["shutdown", "disconnected"]} | {one.id: ["shutdown"] for one in cut}


async def test_a_restart_of_redis_changes_nothing(tmp_path: Path) -> None:
    async with deployment(tmp_path, {}) as (r, (gateway,)):
        calls = [call(1, "generic", LINEAR), call(2, "twilio", BOTH), call(3, "jambonz", WIDE)]

        async def restart(began: float) -> None:
            del began
            await stored(r, calls, CUT)
            await trio.to_thread.run_sync(r.valkey.restart)

        account = await Run(r, Callers(calls, balanced([gateway]))).run(restart)
        keeps_promises(account, samples=(1 + 2 + 2) * 4 * 8000, connections=1)
        assert ends(r) == {"generic-1": ["disconnected"], "twilio-2": ["stop"], "jambonz-3": ["disconnected"]}

"""The gateway on the autojump clock: what callers play is on the stream, once, where it belongs."""

from __future__ import annotations

import pytest
import trio
from tests.ingest.gateway_harness import recording, run_gateway
from trio.testing import MockClock

from trio_asr.config import Route
from trio_asr.lab.dial.report import Outcome
from trio_asr.lab.dial.settings import Dial, Faults
from trio_asr.wire.audio_format import Format, audio_format

MULAW, BOTH, LINEAR = audio_format(8000, "mulaw"), audio_format(8000, "mulaw", 2), audio_format(8000)
GENERIC = Route(path="/v1/ingest", platform="generic", auth="none")
TWILIO = Route(
    path="/twilio",
    platform="twilio",
    auth="none",
    tenant="acme",
    roles={"inbound": "customer", "outbound": "agent"},
)


def url(route: Route) -> str:
    return f"ws://gateway{route.path}"


async def test_a_generic_client(autojump_clock: MockClock) -> None:
    played = recording(3.25, LINEAR)
    async with run_gateway(GENERIC) as on:
        report = await on.place(Dial("generic", url(GENERIC), "c-1", played, account="acme"))
        assert report.as_wished
        await trio.sleep(5)
        assert on.audio("c-1", b"\0\0") == played.audio
        assert [entry["seq"] for entry in on.entries("c-1")] == list(range(1, 34))
        assert {entry["tenant_id"] for entry in on.entries("c-1")} == {"acme"}
        assert on.ends("c-1") == ["disconnected"]
        assert report.sockets[0].acked == 160
        assert on.gateway.adder.entrants == {}


@pytest.mark.parametrize("fmt", [MULAW, BOTH])
async def test_a_stream_of_twilio(autojump_clock: MockClock, fmt: Format) -> None:
    played = recording(5, fmt)
    async with run_gateway(TWILIO) as on:
        report = await on.place(Dial("twilio", url(TWILIO), "CA1", played))
        assert report.as_wished
        await trio.sleep(1)
        assert on.audio("CA1", played.format.silence) == played.audio
        assert on.ends("CA1") == ["stop"]
        first = on.entries("CA1")[0]
        assert (first["channels"], first.get("roles")) == (
            (2, ["customer", "agent"]) if played.format.channels == 2 else (1, None)
        )
        assert [on.count(f"ingest_{name}_total", platform="twilio") for name in ("holes", "leg_misses")] == [
            0,
            0,
        ]


async def test_a_client_that_resumes_at_another_socket(autojump_clock: MockClock) -> None:
    played = recording(8, LINEAR)
    async with run_gateway(GENERIC) as on:
        dial = Dial(
            "generic", url(GENERIC), "c-1", played, reconnect_after_s=1, faults=Faults(drop_at_s=3.05)
        )
        report = await on.place(dial)
        assert [one.outcome for one in report.sockets] == [Outcome.CUT, Outcome.FINISHED]
        await trio.sleep(5)
        assert on.audio("c-1", b"\0\0") == played.audio
        assert on.ends("c-1") == ["disconnected"]


async def test_twilio_comes_again_within_the_grace(autojump_clock: MockClock) -> None:
    played = recording(8, MULAW)
    async with run_gateway(TWILIO) as on:
        dial = Dial("twilio", url(TWILIO), "CA1", played, reconnect_after_s=2, faults=Faults(drop_at_s=3))
        await on.place(dial)
        await trio.sleep(1)
        got = on.audio("CA1")
        assert on.ends("CA1") == ["stop"]
        assert got[:20_000] == played.audio[:20_000]
        assert abs(len(got) - len(played.audio)) <= 160
        assert got[-16_000:] == played.audio[-16_000:]


async def test_lost_answers_double_nothing(autojump_clock: MockClock) -> None:
    played = recording(6, BOTH)
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        nursery.start_soon(on.place, Dial("twilio", url(TWILIO), "CA1", played))
        for _ in range(12):
            await trio.sleep(0.5)
            on.calls.lose_answers = 2
        await trio.sleep(3)
        assert on.audio("CA1", b"\xff\xff") == played.audio
        assert on.ends("CA1") == ["stop"]


async def test_a_store_that_is_away_for_twenty_seconds(autojump_clock: MockClock) -> None:
    played = recording(40, BOTH)
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        nursery.start_soon(on.place, Dial("twilio", url(TWILIO), "CA1", played))
        await trio.sleep(5)
        on.calls.away = True
        await trio.sleep(20)
        assert on.gateway.not_ready(trio.current_time()) != []
        on.calls.away = False
        await trio.sleep(20)
        assert on.gateway.not_ready(trio.current_time()) == []
        assert on.audio("CA1", b"\xff\xff") == played.audio
        assert on.ends("CA1") == ["stop"]


async def test_a_socket_that_comes_while_the_store_is_away_takes_nothing_from_the_one_before(
    autojump_clock: MockClock,
) -> None:
    played = recording(40, MULAW)
    async with run_gateway(TWILIO) as on, trio.open_nursery() as nursery:
        faults = Faults(drop_at_s=22)
        nursery.start_soon(
            on.place, Dial("twilio", url(TWILIO), "CA1", played, reconnect_after_s=1, faults=faults)
        )
        await trio.sleep(5)
        on.calls.away = True
        await trio.sleep(22)
        on.calls.away = False
        await trio.sleep(20)
        got = on.audio("CA1")
        assert got[: 22 * 8000 - 320] == played.audio[: 22 * 8000 - 320]
        assert got[-16 * 8000 :] == played.audio[-16 * 8000 :]
        assert on.ends("CA1") == ["stop"]
        assert on.count("ingest_superseded_seconds_total", platform="twilio") == 0


async def test_a_store_that_is_away_for_too_long(autojump_clock: MockClock) -> None:
    """The oldest audio is a hole; the rest is where it belongs."""
    played = recording(30, MULAW)
    async with run_gateway(TWILIO, max_buffered_s=5.0) as on, trio.open_nursery() as nursery:
        nursery.start_soon(on.place, Dial("twilio", url(TWILIO), "CA1", played))
        await trio.sleep(5)
        on.calls.away = True
        await trio.sleep(15)
        on.calls.away = False
        await trio.sleep(15)
        got = on.audio("CA1")
        lost = sum(1 for ours, its in zip(got, played.audio, strict=True) if ours != its)
        assert lost == round(on.count("ingest_dropped_seconds_total", platform="twilio") * 8000)
        assert 9.5 * 8000 < lost < 12.5 * 8000  # up to 2 s may pass until it is asked again


async def test_what_twilio_lost_is_a_hole_of_that_length(autojump_clock: MockClock) -> None:
    played = recording(6, BOTH)
    async with run_gateway(TWILIO) as on:
        await on.place(Dial("twilio", url(TWILIO), "CA1", played, faults=Faults(lose=(2.0, 1500))))
        await trio.sleep(1)
        got = on.audio("CA1", b"\xff\xff")
        assert abs(len(got) - len(played.audio)) <= 2 * 8 * 5
        assert got[:32_000] == played.audio[:32_000]
        for leg in (0, 1):  # each has jitter of its own
            assert got[leg::2].rstrip(b"\xff")[-20_000:] == played.audio[leg::2][-20_000:]
        assert on.count("ingest_hole_seconds_total", platform="twilio") == pytest.approx(3.0, abs=0.02)


async def test_the_newer_of_two_sockets_has_the_call(autojump_clock: MockClock) -> None:
    played = recording(6, MULAW)
    async with run_gateway(TWILIO) as on:
        report = await on.place(Dial("twilio", url(TWILIO), "CA1", played, faults=Faults(second_socket_s=2)))
        await trio.sleep(5)
        assert (report.sockets[0].code, report.sockets[1].outcome) == (1008, Outcome.FINISHED)
        assert on.ends("CA1") == ["stop"]
        assert on.count("ingest_refusals_total", platform="twilio", reason="superseded") == 1
        positions = [entry["position"] for entry in on.entries("CA1")]
        assert positions == sorted(positions)


async def test_a_client_of_another_tenant_than_the_routes(autojump_clock: MockClock) -> None:
    route = Route(path="/v1/ingest", platform="generic", auth="none", tenant="acme")
    async with run_gateway(route) as on:
        report = await on.place(Dial("generic", url(route), "c-1", recording(1, LINEAR), account="other"))
        (socket,) = report.sockets
        assert (socket.code, socket.reason) == (1008, "tenant_id 'other' may not use /v1/ingest")
        assert on.count("ingest_refusals_total", platform="generic", reason="tenant") == 1


async def test_what_is_said_of_a_call(autojump_clock: MockClock) -> None:
    """Its platform, and what the route lets through; no platform says itself who it is."""
    parameters = {"queue": "sales", "platform": "mine", "card": "secret"}
    route = Route(
        path="/twilio", platform="twilio", auth="none", tenant="acme", meta=("queue", "from", "platform")
    )
    async with run_gateway(route) as on:
        await on.place(
            Dial("twilio", url(route), "CA1", recording(1, MULAW), caller="+49301", parameters=parameters)
        )
        await trio.sleep(1)
        first, *others = on.entries("CA1")
        assert first["meta"] == {"platform": "twilio", "queue": "sales", "from": "+49301"}
        assert not any("meta" in entry for entry in others)

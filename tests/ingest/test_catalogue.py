"""What goes wrong on the way from a platform, as it was reported of other gateways; the number is a row's.

Each is done by hand to the real server, on the autojump clock.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
import trio
from tests.ingest.gateway_harness import GatewayHarness, peer, run_gateway
from trio.testing import MockClock

from trio_asr.config import Route

TWILIO = Route(path="/twilio", platform="twilio", auth="none", tenant="acme")
GENERIC = Route(path="/v1/ingest", platform="generic", auth="none")
AUDIOCODES = Route(
    path="/audiocodes", platform="audiocodes", auth="none", tenant="acme", tracks=("caller", "callee")
)


def start(call: str = "CA1", stream: str = "MZ1", **more: Any) -> dict[str, Any]:
    body = {
        "accountSid": "AC1",
        "streamSid": stream,
        "callSid": call,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    return {"event": "start", "sequenceNumber": "1", "streamSid": stream, "start": body | more}


def media(n: int, byte: int = 1, track: str = "inbound", size: int = 160) -> dict[str, Any]:
    payload = base64.b64encode(bytes([byte]) * size).decode()
    return {
        "event": "media",
        "media": {"track": track, "timestamp": str(n * 20), "chunk": str(n + 1), "payload": payload},
    }


def stop(call: str = "CA1") -> dict[str, Any]:
    return {"event": "stop", "stop": {"callSid": call}}


def codes(kind: str, audio: bytes = b"", **fields: Any) -> dict[str, Any]:
    """A message of AudioCodes' session v-1."""
    chunk = {"audioChunk": base64.b64encode(audio).decode()} if audio else {}
    return {"type": kind, "conversationId": "v-1"} | chunk | fields


def generic_start(tenant: str = "t") -> dict[str, Any]:
    return {
        "event": "start",
        "interaction_id": "c",
        "tenant_id": tenant,
        "sample_rate": 8000,
        "encoding": "mulaw",
    }


def spoken(on: GatewayHarness, call: str = "CA1") -> list[tuple[int, bytes]]:
    """What is on the stream of a call: where, and the bytes that occur."""
    return [(entry["position"], bytes(sorted(set(entry["audio"])))) for entry in on.entries(call)]


async def test_1_the_same_start_twice_is_ignored_and_counted(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0), start(), media(1), stop())
        await trio.sleep(1)
        assert on.audio("CA1") == b"\x01" * 320
        assert on.ends("CA1") == ["stop"]
        assert on.count("ingest_odd_messages_total", platform="twilio", kind="start_again") == 1
        assert on.count("ingest_calls_begun_total", platform="twilio") == 1


async def test_1_another_start_ends_the_first_call_and_begins_the_second(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0), start("CA2", "MZ2"), media(0, 2), stop("CA2"))
        await trio.sleep(1)
        assert (on.audio("CA1"), on.audio("CA2")) == (b"\x01" * 160, b"\x02" * 160)
        assert (on.ends("CA1"), on.ends("CA2")) == (["replaced: another call on its socket"], ["stop"])


async def test_2_media_before_the_start_is_held(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(media(0), media(1))
        await trio.sleep(0.5)
        await it.say(start(), media(2), stop())
        await trio.sleep(1)
        assert on.audio("CA1") == b"\x01" * 480


async def test_2_but_not_for_longer_than_a_second(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(media(0))
        await trio.sleep(3)
        assert it.close[0] == 1008
        assert it.closed_at == pytest.approx(1.0, abs=0.1)
        assert on.count("ingest_refusals_total", platform="twilio", reason="no_start") == 1


async def test_2_and_not_more_than_64_kb(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(*(media(n, size=8000) for n in range(8)))
        await trio.sleep(0.1)
        assert it.close[0] == 1008


async def test_3_a_socket_that_dies_without_a_stop_ends_its_call_after_the_grace(
    autojump_clock: MockClock,
) -> None:
    async with run_gateway(TWILIO) as on:
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
        await trio.sleep(2.5)
        assert on.ends("CA1") == []
        assert on.audio("CA1") == b"\x01" * 160
        await trio.sleep(1)
        assert on.ends("CA1") == ["disconnected"]


async def test_4_the_next_socket_goes_on_at_the_clock(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on:
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
        await trio.sleep(2)
        async with peer(on, TWILIO) as it:
            await it.say(start(stream="MZ2"), media(0, 2))
            await trio.sleep(10)
            assert on.ends("CA1") == []
            await it.say(stop())
        await trio.sleep(1)
        assert spoken(on) == [(0, b"\x01"), (16_400, b"\x02")]  # 2.05 s later, which is 2 s and a pause
        assert on.ends("CA1") == ["stop"]


async def test_4_and_its_first_audio_is_heard_when_it_comes(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on:
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
        await trio.sleep(2)
        async with peer(on, TWILIO) as it:
            await it.say(start(stream="MZ2"))
            await it.say(media(0, 2), stop())
        await trio.sleep(1)
        assert spoken(on) == [(0, b"\x01"), (16_800, b"\x02")]  # 2.1 s later, which is 2 s and two pauses


async def test_5_a_jump_forward_is_a_hole_of_that_length(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0), media(50, 2), stop())
        await trio.sleep(1)
        assert spoken(on) == [(0, b"\x01"), (8000, b"\x02")]
        assert on.count("ingest_hole_seconds_total", platform="twilio") == 0.98


async def test_6_a_clock_that_restarts_leaves_no_hole(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(), *(media(n) for n in range(100, 110)), *(media(n, 2) for n in range(10)), stop())
        await trio.sleep(1)
        assert on.audio("CA1") == b"\x01" * 1600 + b"\x02" * 1600
        assert on.count("ingest_clock_restarts_total", platform="twilio") == 1


async def test_8_a_burst_at_the_start_is_taken(autojump_clock: MockClock) -> None:
    """Five seconds, and the start, in one read."""
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say({"event": "connected"}, start(), *(media(n, n % 250) for n in range(250)))
        await trio.sleep(0.3)  # it was more than one read
        assert on.audio("CA1")[:38_400] == b"".join(bytes([n % 250]) * 160 for n in range(240))
        await it.say(stop())
        await trio.sleep(1)
        assert on.audio("CA1") == b"".join(bytes([n % 250]) * 160 for n in range(250))


async def test_9_nothing_for_minutes_is_no_end(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0))
        await trio.sleep(240)
        await it.say(media(12_000, 2), stop())
        await trio.sleep(1)
        assert spoken(on) == [(0, b"\x01"), (1_920_000, b"\x02")]
        assert on.ends("CA1") == ["stop"]


async def test_9_but_nothing_for_as_long_as_configured_is(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO, idle_s=60) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0))
        await trio.sleep(62)
        assert on.ends("CA1") == ["idle"]
        assert it.close[0] == 1000


async def test_10_half_a_sample_waits_for_the_rest(autojump_clock: MockClock) -> None:
    async with run_gateway(GENERIC) as on, peer(on, GENERIC) as it:
        begin = {
            "event": "start",
            "interaction_id": "c",
            "tenant_id": "t",
            "sample_rate": 8000,
            "encoding": "pcm16",
        }
        await it.say(begin, b"abc", b"", b"d", b"efg", {"event": "stop"})
        await trio.sleep(1)
        assert on.audio("c", b"\0\0") == b"abcdef"


@pytest.mark.parametrize("payload", ["", "!!!", None, 5, "AAA", [1]])
async def test_11_what_is_no_payload_costs_itself(autojump_clock: MockClock, payload: object) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        odd = {"event": "media", "media": {"track": "inbound", "timestamp": "20", "payload": payload}}
        await it.say(start(), media(0), odd, media(1, 2), stop())
        await trio.sleep(1)
        got = on.audio("CA1")
        assert (got[:160], got[-160:]) == (b"\x01" * 160, b"\x02" * 160)
        assert on.ends("CA1") == ["stop"]


async def test_a_stop_of_the_generic_protocol_acknowledges_all(autojump_clock: MockClock) -> None:
    """And its reason is a word that a log and a metric can take."""
    begin = generic_start()
    async with run_gateway(GENERIC) as on, peer(on, GENERIC) as it:
        await it.say(begin, *[b"a" * 160] * 25, {"event": "stop", "reason": "x" * 1000 + "\n"})
        await trio.sleep(1)
        assert it.said[0] == {"event": "started", "interaction_id": "c"}
        assert it.said[-1] == {"event": "ack", "seq": 25}
        assert on.ends("c") == ["stop"]
        assert on.count("ingest_calls_ended_total", platform="generic", reason="stopped") == 1


@pytest.mark.parametrize("tenant", ["t" * 257, "t\n", "\u202e", "t" * 200_000])
async def test_a_tenant_that_no_entry_can_carry_is_refused(autojump_clock: MockClock, tenant: str) -> None:
    """It would be in every entry, and in what Redis has of the call."""
    begin = generic_start(tenant)
    async with run_gateway(GENERIC) as on, peer(on, GENERIC) as it:
        await it.say(begin, b"a" * 800)
        await trio.sleep(1)
        assert it.close == (1008, "tenant_id is not a text of up to 256 printable characters")
        assert (on.entries("c"), on.calls.calls) == ([], {})


async def test_what_cannot_be_passed_on_of_a_call_costs_itself(autojump_clock: MockClock) -> None:
    """A number that MessagePack does not have."""
    route = msgspec.structs.replace(GENERIC, meta=("queue", "big"))
    begin = generic_start()
    async with run_gateway(route) as on, peer(on, route) as it:
        await it.say(
            json.dumps({**begin, "meta": {"queue": "gold", "big": 10**30}}), b"a" * 800, {"event": "stop"}
        )
        await trio.sleep(1)
        assert on.audio("c") == b"a" * 800
        assert on.entries("c")[0]["meta"] == {"platform": "generic", "queue": "gold"}
        assert on.count("ingest_internal_errors_total", place="message") == 0
        assert on.count("ingest_internal_errors_total", place="call") == 0


async def test_a_bug_over_one_call_costs_that_call_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it, peer(on, TWILIO) as other:
        await it.say(start(), media(0))
        await other.say(start("CA2"), media(0, 2))
        (entrant,) = [one for one in on.gateway.adder.entrants.values() if one.series.identity.call == "CA1"]
        monkeypatch.setattr(entrant.series, "batch", lambda: 1 // 0)
        await it.say(*(media(n) for n in range(1, 10)))
        await trio.sleep(1)
        assert it.close == (1011, "an internal error")
        assert on.count("ingest_internal_errors_total", place="call") == 1
        await other.say(media(1, 2), stop("CA2"))
        await trio.sleep(1)
        assert on.audio("CA2") == b"\x02" * 320
        assert on.ends("CA2") == ["stop"]


async def test_11_a_message_that_is_too_large_closes_its_socket_alone(autojump_clock: MockClock) -> None:
    async with (
        run_gateway(TWILIO, max_message_kb=64) as on,
        peer(on, TWILIO) as it,
        peer(on, TWILIO) as other,
    ):
        await other.say(start("CA2"), media(0))
        await it.say(start(), media(0), b"x" * 65_537)
        await trio.sleep(1)
        assert it.close[0] == 1009
        assert on.ends("CA1") == ["refused: too_large"]
        assert on.audio("CA1") == b"\x01" * 160
        await other.say(media(1), stop("CA2"))
        await trio.sleep(1)
        assert on.ends("CA2") == ["stop"]


@pytest.mark.parametrize(
    "junk",
    [
        b"{}",
        "[]",
        "nonsense",
        '{"event":1e400}',
        '{"event":"media","media":NaN}',
        "\ufeff{}",
        "{" * 5000,
        b"\xff" * 100,
    ],
)
async def test_12_nonsense_is_counted_and_the_call_goes_on(
    autojump_clock: MockClock, junk: bytes | str
) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0), junk, media(1, 2), stop())
        await trio.sleep(1)
        assert on.audio("CA1") == b"\x01" * 160 + b"\x02" * 160
        assert on.ends("CA1") == ["stop"]
        assert on.count("ingest_internal_errors_total", place="message") == 0


async def test_13_an_unknown_encoding_is_refused_with_its_name(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(mediaFormat={"encoding": "G722", "sampleRate": 8000}), media(0))
        await trio.sleep(1)
        assert it.close == (1003, "encoding 'G722' is not linear16, mulaw or alaw")
        assert on.count("ingest_refusals_total", platform="twilio", reason="encoding") == 1
        assert (on.entries("CA1"), on.ends("CA1")) == ([], [])


async def test_13_an_encoding_that_changes_ends_the_call(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0), start(mediaFormat={"encoding": "PCMA", "sampleRate": 8000}))
        await trio.sleep(1)
        assert it.close[0] == 1008
        assert on.ends("CA1") == ["refused: format"]


async def test_13_formats_of_which_none_can_be_taken_are_answered_before_the_close(
    autojump_clock: MockClock,
) -> None:
    async with run_gateway(AUDIOCODES) as on, peer(on, AUDIOCODES) as it:
        await it.say(codes("session.initiate", supportedMediaFormats=["wav/mulaw"]))
        await trio.sleep(1)
        reason = "none of raw/lpcm16, raw/lpcm16_8, raw/mulaw, raw/lpcm16_24 is offered"
        assert it.said == [{"type": "session.error", "reason": reason}]
        assert it.close == (1003, reason)
        assert on.count("ingest_refusals_total", platform="audiocodes", reason="media") == 1


async def test_15_a_probe_is_answered_and_makes_no_call(autojump_clock: MockClock) -> None:
    async with run_gateway(AUDIOCODES) as on, peer(on, AUDIOCODES) as it:
        await it.say({"type": "connection.validate"})
        await trio.sleep(3)
        assert it.said == [{"type": "connection.validated", "success": True}]
        assert on.calls.calls == {}
        assert on.count("ingest_odd_messages_total", platform="audiocodes", kind="probe") == 1
        assert on.count("ingest_calls_begun_total", platform="audiocodes") == 0
        assert on.count("ingest_refusals_total", platform="audiocodes", reason="no_start") == 0


async def test_a_participant_whose_stream_stops_is_silent_for_that_time(autojump_clock: MockClock) -> None:
    """The other's audio is the time that passes; without it none does."""
    async with run_gateway(AUDIOCODES) as on, peer(on, AUDIOCODES) as it:
        offer = codes("session.initiate", supportedMediaFormats=["raw/mulaw"])
        legs = {"caller": b"\x01", "callee": b"\x02"}
        await it.say(offer, *(codes("userStream.start", participant=who) for who in legs))

        async def speak(ticks: int, *speakers: str) -> None:
            for _ in range(ticks):
                await it.say(
                    *(codes("userStream.chunk", legs[who] * 160, participant=who) for who in speakers)
                )

        await speak(50, "caller", "callee")
        await it.say(codes("userStream.stop", participant="callee"))
        await speak(100, "caller")
        await it.say(codes("userStream.stop", participant="caller"))
        await trio.sleep(5)  # both
        await it.say(*(codes("userStream.start", participant=who) for who in legs))
        await speak(50, "caller", "callee")
        await it.say(codes("session.end", reasonCode="client-disconnected"))
        await trio.sleep(1)
        audio = on.audio("v-1", b"\xff\xff")
        assert (len(audio), audio.count(1), audio.count(2)) == (2 * 32_000, 32_000, 16_000)
        assert audio[0::2] == b"\x01" * 32_000
        assert audio[1::2].strip(b"\x02") == b"\xff" * 16_000
        assert on.ends("v-1") == ["client-disconnected"]


async def test_16_a_slow_store_does_not_stop_the_reading(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO, max_buffered_s=2) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0))
        on.calls.away = True
        for n in range(1, 251):
            await it.say(media(n))
        assert on.gateway.metrics.tally("twilio").audio_bytes == 251 * 160
        assert on.gateway.adder.buffered_s <= 2.0
        on.calls.away = False
        await it.say(stop())
        await trio.sleep(4)
        dropped = on.count("ingest_dropped_seconds_total", platform="twilio")
        stored = sum(len(entry["audio"]) for entry in on.entries("CA1"))
        assert stored + round(dropped * 8000) == 251 * 160
        assert dropped > 2


async def test_18_no_ids_but_the_calls_are_needed(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say({"event": "start", "start": {"callSid": "CA1"}}, media(0), {"event": "stop"})
        await trio.sleep(1)
        assert on.audio("CA1") == b"\x01" * 160
        assert on.ends("CA1") == ["stop"]


async def test_19_another_tenants_call_is_not_touched(autojump_clock: MockClock) -> None:
    other = Route(path="/other", platform="twilio", auth="none", tenant="other")
    async with run_gateway(TWILIO, other) as on, peer(on, TWILIO) as it, peer(on, other) as thief:
        await it.say(start(), media(0))
        await thief.say(start(stream="MZ9"), media(0, 9))
        await trio.sleep(0.5)
        assert thief.close == (1008, "this call is another tenant's")
        await it.say(media(1), stop())
        await trio.sleep(1)
        assert spoken(on) == [(0, b"\x01"), (160, b"\x01")]
        assert on.ends("CA1") == ["stop"]


async def test_19_unless_the_routes_keep_their_ids_apart(autojump_clock: MockClock) -> None:
    other = Route(path="/other", platform="twilio", auth="none", tenant="other", id_prefix="other-")
    async with run_gateway(TWILIO, other) as on, peer(on, TWILIO) as it, peer(on, other) as another:
        await it.say(start(), media(0), stop())
        await another.say(start(), media(0, 2), stop())
        await trio.sleep(1)
        assert (on.audio("CA1"), on.audio("other-CA1")) == (b"\x01" * 160, b"\x02" * 160)


async def test_20_what_comes_after_the_stop_is_ignored(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(), media(0), stop(), media(1, 2))
        await it.say(media(2, 2))
        await trio.sleep(1)
        assert on.audio("CA1") == b"\x01" * 160
        assert on.ends("CA1") == ["stop"]
        await trio.sleep(15)
        assert it.close[0] == 1000  # the platform had the time to close

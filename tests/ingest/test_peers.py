"""What peers do that their pages do not say, on the autojump clock."""

from __future__ import annotations

from typing import Any

import trio
from tests.ingest.gateway_harness import ENDS, peer, run_gateway
from tests.ingest.test_catalogue import media, start, stop
from trio.testing import MockClock

from trio_asr.config import Route

TWILIO = Route(path="/twilio", platform="twilio", auth="none", tenant="acme")
GENERIC = Route(path="/v1/ingest", platform="generic", auth="none")
GENESYS = Route(path="/genesys", platform="genesys", auth="none", tenant="acme", accounts=("o-1",))


def generic(**more: Any) -> dict[str, Any]:
    return {
        "event": "start", "interaction_id": "c-1", "tenant_id": "acme", "sample_rate": 8000,
        "encoding": "linear16",
    } | more  # fmt: skip


async def test_an_empty_message_begins_no_call(autojump_clock: MockClock) -> None:
    async with run_gateway(GENERIC) as on:
        async with peer(on, GENERIC) as it:
            await it.say(generic(), b"")
        await trio.sleep(5)
        assert (on.store.messages(ENDS), on.gateway.adder.entrants) == ([], {})


async def test_a_client_that_does_not_wait_for_what_it_asked_loses_nothing(autojump_clock: MockClock) -> None:
    """It is closed while it is not known what is stored, and has all that it was not told to be."""
    async with run_gateway(GENERIC) as on:
        on.calls.away = True
        async with peer(on, GENERIC) as it:
            await it.say(generic(resume_from=0), *[bytes(3200)] * 82)
            await trio.sleep(1)
            assert it.close == (1008, "too much audio before the answer to resume_from")
            assert it.said == []


async def test_tracks_that_come_in_turns_of_two_seconds(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(tracks=["inbound", "outbound"]))
        for turn in range(0, 300, 100):
            await it.say(*(media(n, 1) for n in range(turn, turn + 100)))
            await it.say(*(media(n, 2, "outbound") for n in range(turn, turn + 100)))
            await trio.sleep(1.9)
        await it.say(stop())
        await trio.sleep(1)
        assert on.audio("CA1", b"\xff\xff") == b"\x01\x02" * 48_000


async def test_a_track_that_is_first_heard_when_the_other_is_silent(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start(tracks=["inbound", "outbound"]), media(0, 1))
        await trio.sleep(10)
        await it.say(media(500, 2, "outbound"), media(500, 3), stop())
        await trio.sleep(1)
        heard = b"\x01\xff" * 160 + b"\xff\xff" * 160 * 499 + b"\x03\x02" * 160
        assert on.audio("CA1", b"\xff\xff") == heard


async def test_what_is_of_a_stream_that_was_replaced_is_not_the_next_ones(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it:
        await it.say(start("CA1", "MZ1"), media(0, 1) | {"streamSid": "MZ1"})
        await it.say(start("CA2", "MZ2"), media(0, 2) | {"streamSid": "MZ2"})
        await it.say(media(1, 1) | {"streamSid": "MZ1"}, stop() | {"stream_sid": "MZ1"})
        await it.say(media(1, 2) | {"streamSid": "MZ2"}, media(2, 2), stop("CA2") | {"streamSid": "MZ2"})
        await trio.sleep(1)
        assert (on.audio("CA1"), on.audio("CA2")) == (b"\x01" * 160, b"\x02" * 480)
        assert on.ends("CA2") == ["stop"]
        assert on.count("ingest_odd_messages_total", platform="twilio", kind="late") == 2


async def test_genesys_is_told_that_a_refusal_is_one(autojump_clock: MockClock) -> None:
    offer = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
    parameters = {"organizationId": "o-2", "conversationId": "v-1", "media": [offer]}
    opening = {
        "version": "2", "id": "s-1", "type": "open", "seq": 1, "serverseq": 0, "position": "PT0S",
        "parameters": parameters,
    }  # fmt: skip
    async with run_gateway(GENESYS) as on, peer(on, GENESYS) as it:
        await it.say(opening)
        assert [(one["type"], one["parameters"].get("reason")) for one in it.said] == [
            ("opened", None),
            ("disconnect", "error"),
        ]


async def test_of_calls_that_have_too_much_together_the_longest_loses_its_oldest(
    autojump_clock: MockClock,
) -> None:
    async with run_gateway(GENERIC, max_buffered_total_mb=1, max_buffered_s=300.0) as on:
        on.calls.away = True
        async with peer(on, GENERIC) as one, peer(on, GENERIC) as two:
            await one.say(generic(interaction_id="c-1"), *[bytes(16_000)] * 50)
            await two.say(generic(interaction_id="c-2"), *[bytes(16_000)] * 20)
            await trio.sleep(5)
            assert on.gateway.adder.buffered_bytes == 2**20 - 2**20 % 1600
            assert on.count("ingest_dropped_seconds_total", platform="generic") == 4.5
            on.calls.away = False
            await trio.sleep(5)
            assert [on.entries(call)[0]["position"] for call in ("c-1", "c-2")] == [36_000, 0]

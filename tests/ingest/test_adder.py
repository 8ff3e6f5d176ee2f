"""The adder: what the sockets of one call may do to each other, and to all others."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
import trio
from tests.ingest.gateway_harness import AUDIO, GatewayHarness, peer, run_gateway
from tests.ingest.test_catalogue import TWILIO, media, start, stop
from trio.testing import MockClock

from trio_asr.config import Route
from trio_asr.core.ingest.series import Identity, Series, Terms
from trio_asr.core.ingest.tally import Tally
from trio_asr.ingest.adder import ROUND, ROUND_S, Entrant
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.call_entries import EntryWriter

MULAW = audio_format(8000, "mulaw")
GENERIC = Route(path="/v1/g", platform="generic", auth="none", tenant="acme")
OTHER = Route(path="/other", platform="twilio", auth="none", tenant="other")


def enter(on: GatewayHarness, call: str, owner: str, seconds: float) -> Series:
    """Have a socket bring so much audio of a call."""
    series = Series(
        Identity(call, "acme", owner), MULAW, EntryWriter(call, "acme", MULAW),
        terms=Terms(), tally=Tally(), now=trio.current_time(),
    )  # fmt: skip
    series.hear(bytes([1]) * round(seconds * 8000), trio.current_time())
    series.gather(trio.current_time())
    on.gateway.adder.enter(Entrant(series, lambda _: None, lambda _: None, lambda _: None))
    return series


async def test_sockets_that_wait_for_others_take_nobodys_place(autojump_clock: MockClock) -> None:
    """More calls than a round has steps, with more audio than one step adds; each has a second socket."""
    async with run_gateway(TWILIO) as on:
        calls = [f"c{n}" for n in range(ROUND + 50)]
        on.calls.away = True
        first = [enter(on, call, f"{call}-1", 12) for call in calls]
        await trio.sleep(1)
        second = [enter(on, call, f"{call}-2", 1) for call in calls]
        await trio.sleep(1)
        on.calls.away = False
        await trio.sleep(5)
        assert on.gateway.adder.buffered_bytes == 0
        assert not any(one.has_audio for one in first + second)
        stored = Counter[str]()
        for _, fields in on.store.streams[AUDIO]:
            entry = msgspec.msgpack.decode(fields[1])
            stored[entry["interaction_id"]] += len(entry["audio"])
        assert stored == dict.fromkeys(calls, 13 * 8000)


@pytest.mark.parametrize("how", ["away_places", "frozen_places"])
async def test_a_place_that_is_away_costs_its_own_calls_only(autojump_clock: MockClock, how: str) -> None:
    """Those of the other go on at their pace; the problem lasts until both are back."""
    async with run_gateway(TWILIO) as on:
        on.calls.places = {"c1": "a", "c2": "b"}
        bad: set[str] = getattr(on.calls, how)
        bad.add("a")
        one, two = enter(on, "c1", "one", 1), enter(on, "c2", "two", 1)
        await trio.sleep(0.1)
        assert (one.has_audio, two.has_audio) == (True, False)
        await trio.sleep(6)
        more = enter(on, "c2", "three", 1)
        await trio.sleep(0.1)
        assert not more.has_audio
        assert not on.gateway.health()["pubsub"]
        bad.clear()
        await trio.sleep(6)
        assert not one.has_audio
        assert len(on.audio("c1")) == 8000
        assert on.gateway.health()["pubsub"]


async def test_calls_go_on_where_their_place_is_by_now(autojump_clock: MockClock) -> None:
    """A node that is gone for good: its calls are at another once the store knows, and nothing is doubled."""
    async with run_gateway(TWILIO) as on:
        on.calls.places = {"c1": "a"}
        on.calls.away_places = {"a"}
        one = enter(on, "c1", "one", 1)
        await trio.sleep(3)
        assert on.entries("c1") == []
        on.calls.places["c1"] = "b"
        await trio.sleep(3)
        assert not one.has_audio
        assert len(on.audio("c1")) == 8000
        assert on.gateway.health()["pubsub"]


async def test_the_problem_ends_when_the_place_answers_though_no_call_waits_for_it(
    autojump_clock: MockClock,
) -> None:
    """A balancer sends nobody here until then: so nobody would come to find out."""
    async with run_gateway(GENERIC) as on:
        on.calls.away = True
        async with peer(on, GENERIC) as one:
            await one.say(
                {"event": "start", "interaction_id": "c1", "tenant_id": "acme", "resume_from": 0}
                | {"sample_rate": 8000, "encoding": "mulaw"}
            )
            await trio.sleep(1)
        await trio.sleep(100)
        assert on.gateway.health()["calls"] == 0
        assert on.gateway.not_ready(trio.current_time()) != []
        on.calls.away = False
        await trio.sleep(2)
        assert on.gateway.not_ready(trio.current_time()) == []


async def test_a_round_without_steps_is_no_answer(autojump_clock: MockClock) -> None:
    """The only call gives up between two tries: that nothing was asked for ends no problem."""
    async with run_gateway(TWILIO) as on:
        on.calls.away = True
        one = enter(on, "c", "one", 1)
        await trio.sleep(1)
        one.give_up()
        on.gateway.adder.note(one)
        for _ in range(100):
            await trio.sleep(0.1)
            assert on.gateway.not_ready(trio.current_time()) != []
        on.calls.away = False
        await trio.sleep(3)
        assert on.gateway.not_ready(trio.current_time()) == []
        assert one.over


async def test_many_sockets_of_one_call_take_it_in_turn(autojump_clock: MockClock) -> None:
    """Each takes the call in turn, and nobody else waits."""
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as other:
        await other.say(start("CA2"), media(0))
        for n in range(300):
            enter(on, "c", f"c-{n}", 0.1)
        await other.say(media(1), stop("CA2"))
        await trio.sleep(0.5)
        assert on.ends("CA2") == ["stop"]
        await trio.sleep(30)
        assert len(on.entries("c")) == 300


async def test_a_round_looks_at_each_socket_of_a_call_once_for_all_that_wait(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call of a thousand sockets would else hold up all others: each is asked about each."""
    looks, has_audio = 0, vars(Series)["has_audio"].__get__

    def counted(series: Series) -> bool:
        nonlocal looks
        looks += 1
        return bool(has_audio(series))

    async with run_gateway(TWILIO) as on:
        for n in range(200):
            enter(on, "c", f"silent-{n}", 0)
        for n in range(200):
            enter(on, "c", f"speaking-{n}", 0.1)
        monkeypatch.setattr(Series, "has_audio", property(counted))
        rounds = 100
        await trio.sleep((rounds - 0.5) * ROUND_S)
        assert 0 < looks <= 400 * rounds
        await trio.sleep(10)
        assert len(on.entries("c")) == 200


async def test_another_tenant_does_not_keep_a_call_from_its_end(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO, OTHER) as on, peer(on, OTHER) as thief:
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
            await thief.say(start(stream="MZ9"), media(0, 9))
        await trio.sleep(10)
        assert thief.close == (1008, "this call is another tenant's")
        assert on.ends("CA1") == ["disconnected"]
        assert on.audio("CA1") == b"\x01" * 160


async def test_nor_does_a_socket_with_other_legs(autojump_clock: MockClock) -> None:
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as refused:
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
            await refused.say(start(stream="MZ9", tracks=["outbound"]), media(0, 9, "outbound"))
        await trio.sleep(10)
        assert refused.close[0] == 1008
        assert on.ends("CA1") == ["disconnected"]


async def test_a_socket_that_is_followed_while_the_store_is_away_does_not_end_its_call(
    autojump_clock: MockClock,
) -> None:
    """The one that follows does, once."""
    async with run_gateway(TWILIO) as on:
        async with peer(on, TWILIO) as it:
            await it.say(start(), media(0))
            await trio.sleep(1)
            on.calls.away = True
        async with peer(on, TWILIO) as it:
            await trio.sleep(2.8)
            await it.say(start(stream="MZ2"), media(0, 2))
            await trio.sleep(2)
            on.calls.away = False
            await trio.sleep(10)
            assert on.ends("CA1") == []
            await it.say(stop())
        await trio.sleep(1)
        assert on.ends("CA1") == ["stop"]
        assert on.audio("CA1").replace(b"\xff", b"") == b"\x01" * 160 + b"\x02" * 160


@pytest.mark.parametrize("where", ["take", "due_at"])
async def test_a_bug_that_comes_again_at_the_end_costs_its_call_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """What ends a call because of it runs into it again."""
    async with run_gateway(TWILIO) as on, peer(on, TWILIO) as it, peer(on, TWILIO) as other:
        await it.say(start(), media(0))
        await other.say(start("CA2"), media(0, 2))
        (entrant,) = [one for one in on.gateway.adder.entrants.values() if one.series.identity.call == "CA1"]
        legs = entrant.series._legs
        true = getattr(type(legs), where)
        monkeypatch.setattr(
            type(legs),
            where,
            lambda self, *args, **more: 1 // (self is not legs) and true(self, *args, **more),
        )
        await it.say(media(1))
        await trio.sleep(2)
        assert it.close == (1011, "an internal error")
        await other.say(media(1, 2), stop("CA2"))
        await trio.sleep(1)
        assert on.ends("CA2") == ["stop"]
        assert set(on.gateway.adder.entrants) == set()

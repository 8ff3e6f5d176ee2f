import math
from typing import Any

import pytest
import trio
from tests.simulator.helpers import (
    CLOSE,
    INTERIMS,
    KEEP_ALIVE,
    RAW,
    VOICE,
    brief,
    connected,
    refused,
    results,
    session,
    told,
)
from trio.testing import MockClock

from trio_asr.simulator.actions import Abort, Action, Close, StopReading
from trio_asr.simulator.command import FAULT_HELP
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.faults import PARSERS, Faults, refusal, with_query
from trio_asr.simulator.faulty import FaultyPeer
from trio_asr.simulator.query import Refused
from trio_asr.simulator.server import SimulatorSettings


def faulty(query: str = RAW, segment_ms: int = 1000, **faults: Any) -> FaultyPeer:
    return FaultyPeer(session(query, EchoEngine(segment_ms, word_ms=500)), Faults(**faults), now=0)


def finals(peer: FaultyPeer, seconds: int = 4) -> list[Any]:
    return brief(told(peer.audio(VOICE * 10 * seconds, 0)))


def test_each_fault_is_an_option_and_has_a_parser() -> None:
    assert list(FAULT_HELP) == list(PARSERS) == list(Faults.__dataclass_fields__)


def test_without_faults_nothing_changes() -> None:
    assert not Faults(handshake_delay_s=1, refuse_status=503).in_stream
    assert Faults(mute_after_s=1).in_stream
    assert finals(faulty()) == brief(told(session(RAW, EchoEngine(1000, word_ms=500)).audio(VOICE * 40, 0)))


def test_dropped_finals() -> None:
    assert [f[0] for f in finals(faulty(drop_final_every=2))] == [0, 2]


def test_duplicate_finals() -> None:
    assert [f[0] for f in finals(faulty(duplicate_final_every=3))] == [0, 1, 2, 2, 3]


def test_a_shrunk_final_leaves_its_last_word_to_another() -> None:
    assert finals(faulty(shrink_final_every=2), 2) == [
        (0, 1, "fs", "s0-4000 s4000-8000"),
        (1, 0.5, "f", "s8000-12000"),
        (1.5, 0.5, "fs", "s12000-16000"),
    ]


def test_a_final_of_one_word_is_not_shrunk() -> None:
    assert [f[:3] for f in finals(faulty(segment_ms=500, shrink_final_every=1), 1)] == [
        (0, 0.5, "fs"),
        (0.5, 0.5, "fs"),
    ]


def test_finals_of_no_length() -> None:
    assert [f[:2] for f in finals(faulty(zero_final_every=2), 2)] == [(0, 1), (1, 1), (2, 0)]


def test_unknown_types_and_garbage() -> None:
    peer = faulty(unknown_every=2, garbage_every=3)
    kinds = [m["type"] if isinstance(m, dict) else len(m) for m in told(peer.audio(VOICE * 40, 0))]
    assert kinds == ["Results", "Weather", "Results", 256, "Results", "Weather", "Results"]


def test_late_finals_do_not_hold_interims_but_the_end_waits_for_them() -> None:
    peer = faulty(INTERIMS + "&endpointing=false", segment_ms=1500, final_delay_s=2)
    assert [f[:3] for f in brief(told(peer.audio(VOICE * 15, 0)))] == [(0, 1.04, "i")]
    assert [f[:3] for f in brief(told(peer.audio(VOICE * 11, 1)))] == [(1.5, 1.04, "i")]
    assert told(peer.text(CLOSE, 1.5)) == []
    assert peer.next_timeout() == 2
    assert [f[:3] for f in brief(told(peer.on_timeout(2)))] == [(0, 1.5, "f")]
    assert peer.next_timeout() == 3.5
    assert [f[0] for f in brief(told(peer.on_timeout(3.5)))] == [1.5, 2.6, "Metadata", 1000]
    assert peer.next_timeout() is None


def test_a_mute_server_says_nothing_not_even_a_close() -> None:
    peer = faulty(INTERIMS, mute_after_s=1)
    assert told(peer.audio(VOICE * 11, 0.9))
    assert told(peer.audio(VOICE * 40, 1)) == []
    assert peer.on_timeout(11) == []
    assert peer.next_timeout() is None


def test_timers_end_a_connection() -> None:
    cases: list[tuple[dict[str, Any], Action]] = [
        ({"abort_after_s": 2.5}, Abort()),
        ({"stop_reading_after_s": 2.5}, StopReading()),
        ({"close_after_s": 2.5, "close_code": 1012, "close_reason": "restart"}, Close(1012, "restart")),
    ]
    for faults, action in cases:
        peer = faulty(**faults)
        assert peer.next_timeout() == 2.5
        assert peer.on_timeout(2.4) == []
        assert peer.on_timeout(2.5) == [action]
        assert (peer.next_timeout(), peer.on_timeout(99), peer.text(CLOSE, 3)) == (None, [], [])


def test_an_abort_after_so_many_bytes() -> None:
    peer = faulty(abort_after_bytes=3200)
    assert peer.audio(bytes(3198), 0) == []
    assert peer.audio(bytes(2), 0) == [Abort()]
    assert peer.audio(bytes(2), 0) == []


def test_timeouts_of_the_session_still_strike() -> None:
    peer = faulty(drop_final_every=1)
    assert peer.next_timeout() == 10
    assert told(peer.on_timeout(10))[-1][0] == 1011


def test_refusals_of_the_first_connections_or_for_a_while() -> None:
    def refuses(index: int, since: float, **faults: Any) -> bool:
        return refusal(Faults(**faults), index=index, since_first=since) is not None

    assert not refuses(0, 0)
    assert refuses(9, 99, refuse_status=503)
    assert [refuses(i, 0, refuse_status=503, refuse_first=2) for i in range(3)] == [True, True, False]
    assert [refuses(0, s, refuse_status=429, refuse_for_s=15) for s in (0, 14.9, 15)] == [True, True, False]


def test_faults_from_the_query() -> None:
    query = {"extra": ("id:7", "sim_mute_after_s:1.5", "sim_drop_final_every:3", "sim_close_reason:a:b")}
    assert with_query(Faults(close_code=1012), query) == Faults(
        close_code=1012, mute_after_s=1.5, drop_final_every=3, close_reason="a:b"
    )
    for bad in ("sim_nothing:1", "sim_abort_after_s:soon", "sim_abort_after_s:-1", "sim_close_code:7"):
        with pytest.raises(Refused):
            with_query(Faults(), {"extra": (bad,)})


@pytest.mark.parametrize(
    "faults",
    [{"refuse_status": 200}, {"close_code": 999}, {"final_delay_s": -1.0}, {"mute_after_s": math.nan}],
)
def test_impossible_faults_are_refused(faults: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Faults(**faults)


# Over the real protocol.


def simulator(**faults: Any) -> SimulatorSettings:
    return SimulatorSettings(engine=EchoEngine(1000), faults_for=lambda index, query: Faults(**faults))


async def test_a_slow_handshake(autojump_clock: MockClock) -> None:
    async with connected(simulator(handshake_delay_s=6.0)):
        assert trio.current_time() == 6.0


async def test_refusals_carry_deepgrams_text(autojump_clock: MockClock) -> None:
    settings = simulator(refuse_status=429, refuse_first=1)
    answer = await refused(settings)
    assert (answer.status_code, dict(answer.headers)[b"dg-error"]) == (
        429,
        b"Too many requests. Please try again later",
    )
    async with connected(settings):
        pass
    assert [record.status for record in settings.ledger.connections] == [429, 101]


async def test_faults_by_connection_and_by_query(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(
        faults_for=lambda index, query: Faults(close_after_s=1.0 if index == 1 else None, close_code=1012)
    )
    for query, ends in [("", (2.0, 1011)), ("", (1.0, 1012)), ("&extra=sim_close_after_s:0.5", (0.5, 1012))]:
        began = trio.current_time()
        if not query and ends[1] == 1011:
            query = "&extra=sim_close_after_s:2&extra=sim_close_code:1011"  # noqa: PLW2901
        async with connected(settings, RAW + query) as client:
            await client.ended()
            assert (round(trio.current_time() - began, 6), client.code) == ends


async def test_an_aborted_connection_has_no_close_frame(autojump_clock: MockClock) -> None:
    settings = simulator(abort_after_s=0.75)
    async with connected(settings) as client:
        await client.ended()
        assert (trio.current_time(), client.code) == (0.75, 1006)
    assert settings.ledger.connections[0].close_code == 1006


async def test_a_mute_server_still_reads(autojump_clock: MockClock) -> None:
    settings = simulator(mute_after_s=1.5)
    async with connected(settings) as client:
        for _ in range(40):
            await client.send(VOICE * 10)
            await trio.sleep(1)
    assert [results(r)[0] for r in client.finals] == [0, 1]
    record = settings.ledger.connections[0]
    assert (record.binary_messages, record.close_code) == (40, 1000)


async def test_a_server_that_stops_reading_stays_connected(autojump_clock: MockClock) -> None:
    settings = simulator(stop_reading_after_s=1.5)
    async with connected(settings) as client:
        for _ in range(30):
            await client.send(VOICE * 10)
            await trio.sleep(1)
        assert client.code is None
        await client.websocket._stream.aclose()
    record = settings.ledger.connections[0]
    assert record.binary_messages == 3
    assert [results(r)[0] for r in client.finals] == [0, 1]


async def test_late_finals_arrive_at_their_time(autojump_clock: MockClock) -> None:
    async with connected(simulator(final_delay_s=0.7)) as client:
        await client.send(VOICE * 10, KEEP_ALIVE)
        await trio.sleep(0.5)
        await client.send(CLOSE)
        await client.ended()
    assert [(at, m["type"]) for at, m in client.messages] == [
        (0.7, "Results"),
        (1.2, "Results"),
        (1.2, "Metadata"),
    ]


async def test_garbage_comes_as_binary(autojump_clock: MockClock) -> None:
    async with connected(simulator(garbage_every=1, unknown_every=1)) as client:
        await client.send(VOICE * 10)
        await trio.sleep(0.1)
    assert client.kinds == ["Weather", "bytes", "Results"]

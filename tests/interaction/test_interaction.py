"""One call, its real tasks and the real WebSocket protocol, on the autojump clock: times are exact."""

from __future__ import annotations

import itertools

import pytest
import trio
from tests.call_harness import CallHarness, call_harness, config, start_call, whole
from trio.testing import MockClock

from trio_asr.deepgram.websocket import MAX_MESSAGE_BYTES
from trio_asr.simulator import faulty
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.server import SimulatorSettings


def simulator(*connections: Faults, segment_ms: int = 2000) -> SimulatorSettings:
    """Return a simulator whose connections have these faults, the last ones none."""

    def faults_for(index: int, query: object) -> Faults:
        return connections[index] if index < len(connections) else Faults()

    return SimulatorSettings(engine=EchoEngine(segment_ms=segment_ms), faults_for=faults_for)


def counted(on: CallHarness, name: str) -> float:
    value = on.metrics.registry.get_sample_value(name)
    assert value is not None
    return value


@pytest.mark.parametrize("handshake_s", [0, 0.3, 6])
async def test_frames_at_once_open_one_connection(handshake_s: float, autojump_clock: MockClock) -> None:
    """Requirements 1, 2, 11: three sends of 1600 bytes at once, however slow the handshake is."""
    async with call_harness(simulator(Faults(handshake_delay_s=handshake_s))) as (on, nursery):
        line = await start_call(on, nursery)
        for _ in range(3):
            line.speak(0.1)
        await trio.sleep(handshake_s / 2)
        line.speak(0.1)  # a second send while the connection is being created waits for it
        await trio.sleep(handshake_s / 2 + 0.2)
        assert len(on.connections) == 1
        line.hang_up()
        await line.done.wait()
        assert len(on.connections) == 1
        assert on.connections[0].audio_bytes == 4 * 1600
        assert whole(on.finals(), 4 * 800)
        assert counted(on, "deepgram_connections_created_total") == 1
        assert counted(on, "deepgram_duplicate_connection_attempts_total") >= (handshake_s > 0)  # joined
        assert on.metrics.seed_snapshot()["connectionCreationWaitTime"] == [handshake_s * 1000]


async def test_the_flush_instants_of_the_seed(autojump_clock: MockClock) -> None:
    """Requirements 3, 4: 577 bytes every 36 ms; first at 500 ms of audio, then by 200 ms, never 500 apart."""
    async with call_harness() as (on, nursery):
        line = await start_call(on, nursery)
        for _ in range(20):
            line.say(bytes(577))
            await trio.sleep(0.036)
        # 14 frames hold 504.9 ms, 6 more 216.4 ms: the 14th comes at 13 * 36 ms, the 20th at 19 * 36 ms.
        assert on.sent() == [0.468, 0.684]
        assert on.connections[0].audio_bytes == 20 * 577
        for _ in range(60):
            line.say(bytes(577))
            await trio.sleep(0.036)
        instants = on.sent()
        assert max(b - a for a, b in itertools.pairwise(instants)) <= 0.5
        # An odd number of bytes never leaves: half a sample waits for its other half.
        assert all(size % 2 == 0 for _, kind, size in on.connections[0].received if kind == "audio")


async def test_frames_stop_and_the_rest_leaves_by_timer(autojump_clock: MockClock) -> None:
    """Requirements 3: no further frame is needed; KeepAlive every 4 s; no 1011 after 50 s."""
    async with call_harness() as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(0.5)
        await trio.sleep(0.1)
        line.speak(0.1)  # less than is due by amount
        await trio.sleep(50)
        assert on.sent() == [0.0, 0.5]  # 500 ms after the last flush
        # A source that paused gets one Finalize, 2 s later; then KeepAlive.
        assert on.sent(kind="text") == [2.5 + 4 * i for i in range(12)]
        assert on.connections[0].finalizes == 1
        assert on.connections[0].keepalives == 11
        assert on.connections[0].close_code is None
        line.speak(0.5)
        await trio.lowlevel.checkpoint()
        line.hang_up()
        await line.done.wait()
        assert len(on.connections) == 1
        assert whole(on.finals(), round(1.1 * 8000))


async def test_less_than_the_first_chunk_leaves_by_timer_too(autojump_clock: MockClock) -> None:
    """Requirements 4: 300 ms and nothing more leave 500 ms after they came."""
    async with call_harness() as (on, nursery):
        line = await start_call(on, nursery)
        await trio.sleep(1)
        line.speak(0.3)
        await trio.sleep(1)
        assert on.sent() == [1.5]


async def test_a_silent_provider_does_not_hold_back_sending(autojump_clock: MockClock) -> None:
    async with call_harness(simulator(Faults(mute_after_s=0))) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(5)
        instants = on.sent()
        assert instants[0] == 0.48  # the frame that completes 500 ms comes at 24 * 20 ms
        assert [round(b - a, 6) for a, b in itertools.pairwise(instants)] == [0.2] * 22


async def test_a_stuck_call_does_not_delay_another(autojump_clock: MockClock) -> None:
    async with call_harness(simulator(Faults(stop_reading_after_s=0))) as (on, nursery):
        stuck = await start_call(on, nursery, "stuck")
        stuck.speak(0.5)
        await trio.sleep(0.1)
        well = await start_call(on, nursery, "well")
        async with trio.open_nursery() as talkers:
            talkers.start_soon(stuck.talk, 3)
            talkers.start_soon(well.talk, 3)
        well.hang_up()
        await well.done.wait()
        assert whole(on.finals("well"), 3 * 8000)
        instants = on.sent(connection=1)
        assert instants[0] == pytest.approx(0.58)
        assert max(b - a for a, b in itertools.pairwise(instants)) <= 0.5


async def test_the_end_of_a_call_waits_for_its_last_results(autojump_clock: MockClock) -> None:
    """Requirements 7: the old worker lost the tail of every call; results come 3 s after the end here."""
    async with call_harness(simulator(Faults(final_delay_s=3))) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(2.7)
        line.hang_up()
        assert not on.finals()
        await line.done.wait()
        assert whole(on.finals(), round(2.7 * 8000))
        assert on.connections[0].close_streams == 1
        assert on.connections[0].close_code == 1000
        assert [e["event"] for e in on.events()] == [
            "started",
            "connection_opened",
            "connection_closed",
            "ended",
        ]


async def test_what_is_published(autojump_clock: MockClock) -> None:
    """Requirements 7: the old readers' fields, and times, connection and request id."""
    async with call_harness() as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(3)
        line.hang_up()
        await line.done.wait()
        messages = on.transcripts()
        assert [m["seq"] for m in messages] == list(range(1, len(messages) + 1))
        assert {m["type"] for m in messages} == {"partial", "final"}
        assert all(m["text"] for m in messages)
        first = on.finals()[0]
        assert {k: first[k] for k in first if k not in ("timestamp_ms", "text", "request_id")} == {
            "interaction_id": "call",
            "tenant_id": "tenant",
            "seq": first["seq"],
            "type": "final",
            "confidence": first["confidence"],
            "start_ms": 0,
            "end_ms": 2000,
            "speech_final": True,
            "connection": 1,
        }
        assert first["request_id"] == on.connections[0].request_id
        assert on.finals()[-1]["end_ms"] == 3000


async def test_a_lost_connection_is_one_more_connection(autojump_clock: MockClock) -> None:
    """Requirements 7: what was not finalized is sent again; times go on; nothing twice."""
    async with call_harness(simulator(Faults(abort_after_s=3.3))) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(8)
        line.hang_up()
        await line.done.wait()
        assert len(on.connections) == 2
        assert whole(on.finals(), 8 * 8000)
        assert [f["start_ms"] for f in on.finals()] == [0, 2000, 4000, 6000]
        assert [f["connection"] for f in on.finals()] == [1, 2, 2, 2]


async def test_a_message_above_the_limit_ends_the_connection_and_nothing_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken into memory; what it might have said is asked for again on the next connection."""
    monkeypatch.setattr(faulty, "_GARBAGE", bytes(MAX_MESSAGE_BYTES + 1))
    async with call_harness(simulator(Faults(garbage_every=5))) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(8)
        line.hang_up()
        await line.done.wait()
        closed = [(e["connection"], e["code"]) for e in on.events() if e["event"] == "connection_closed"]
        assert closed == [(1, 1009), (2, 1000)]
        assert whole(on.finals(), 8 * 8000)


async def test_a_refused_handshake_is_tried_again(autojump_clock: MockClock) -> None:
    async with call_harness(simulator(Faults(refuse_status=503), Faults(refuse_status=503))) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(4)
        line.hang_up()
        await line.done.wait()
        assert [c.status for c in on.connections] == [503, 503, 101]
        assert whole(on.finals(), 4 * 8000)


async def test_a_call_that_ends_while_disconnected_is_finished(autojump_clock: MockClock) -> None:
    refusing = SimulatorSettings(faults_for=lambda i, q: Faults(refuse_status=503, refuse_for_s=20))
    async with call_harness(refusing) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(3)
        line.hang_up()
        await line.done.wait()
        assert whole(on.finals(), 3 * 8000)
        assert on.connections[-1].opened_at >= 20
        assert on.connections[-1].close_code == 1000


async def test_a_mute_connection_is_abandoned(autojump_clock: MockClock) -> None:
    """A stall: 3 s of unanswered audio and 8 s without a message."""
    async with call_harness(simulator(Faults(mute_after_s=2.5))) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(14)
        line.hang_up()
        await line.done.wait()
        assert len(on.connections) == 2
        # The last message, a final, answered the chunk of 2.08 s; the one of 2.28 s waits for 8 s.
        assert on.connections[0].closed_at == pytest.approx(2.28 + 8)
        assert whole(on.finals(), 14 * 8000)


async def test_a_change_of_rate_closes_one_connection_and_opens_another(autojump_clock: MockClock) -> None:
    async with call_harness() as (on, nursery):
        line = await start_call(on, nursery)
        for _ in range(60):
            line.say(b"\1\1" * 160, 8000)
            await trio.sleep(0.02)
        for _ in range(60):
            line.say(b"\1\1" * 320, 16000)
            await trio.sleep(0.02)
        line.hang_up()
        await line.done.wait()
        assert [c.query["sample_rate"] for c in on.connections] == [("8000",), ("16000",)]
        assert [c.audio_bytes for c in on.connections] == [60 * 320, 60 * 640]
        assert [c.close_code for c in on.connections] == [1000, 1000]
        assert [(f["start_ms"], f["end_ms"]) for f in on.finals()] == [(0, 1200), (1200, 2400)]


async def test_catching_up_keeps_to_the_rate(autojump_clock: MockClock) -> None:
    """After a handshake of 6 s the backlog leaves at 1.25 times real time over any 5 s, evenly."""
    async with call_harness(simulator(Faults(handshake_delay_s=6))) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(40)
        sends = [(at, size / 16000) for at, kind, size in on.connections[0].received if kind == "audio"]
        for at, _ in sends:
            assert sum(s for when, s in sends if at <= when < at + 5) <= 6.25 + 1e-6
        gaps = [b[0] - a[0] for a, b in itertools.pairwise(sends)]
        assert max(gaps) <= 0.5
        assert sum(s for _, s in sends) == pytest.approx(40, abs=0.5)  # caught up: 6 s at a quarter more


@pytest.mark.parametrize("when", [0.0, 0.1, 0.5, 1.0, 2.04, 2.5, 4.9, 5.2])
async def test_cancelling_anywhere_leaves_no_socket_and_no_task(
    when: float, autojump_clock: MockClock
) -> None:
    """Requirements 6: no leaked sockets; cancelled while connecting, streaming, closing."""
    on_stage: list[CallHarness] = []
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(when):
        async with call_harness(simulator(Faults(handshake_delay_s=0.3, final_delay_s=1))) as (on, nursery):
            on_stage.append(on)
            line = await start_call(on, nursery)
            await line.talk(5)
            line.hang_up()
            await line.done.wait()
            await trio.sleep_forever()
    assert all(c.closed_at is not None for on in on_stage for c in on.connections)
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_places_are_given_first_in_first_out(autojump_clock: MockClock) -> None:
    async with call_harness(settings=config(max_connections=1)) as (on, nursery):
        first, second = await start_call(on, nursery, "first"), await start_call(on, nursery, "second")
        async with trio.open_nursery() as talkers:
            talkers.start_soon(first.talk, 2)
            talkers.start_soon(second.talk, 2)
        assert on.simulator.ledger.most_open == 1
        first.hang_up()
        second.hang_up()
        await second.done.wait()
        assert on.simulator.ledger.most_open == 1
        assert whole(on.finals("first"), 2 * 8000)
        assert whole(on.finals("second"), 2 * 8000)


async def test_the_key_is_sent_and_never_shown(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = SimulatorSettings(engine=EchoEngine(), api_key="another-key")
    async with call_harness(settings) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(0.5)
        await trio.sleep(3)
        assert on.connections[0].status == 401
        shown = capsys.readouterr()
        assert "Invalid credentials" in shown.err
        assert "secret-key" not in shown.err + shown.out + repr(on.services.admission.provider.__dict__)


async def test_a_refused_key_holds_all_calls_and_one_probes(autojump_clock: MockClock) -> None:
    """401 opens the breaker: attempts at 0, 1, 3, 7, 15, 25 s..., by one call after the other."""
    refusing = SimulatorSettings(faults_for=lambda index, query: Faults(refuse_status=401, refuse_for_s=20))
    async with call_harness(refusing) as (on, nursery):
        lines = [await start_call(on, nursery, f"call-{n}") for n in range(3)]
        for line in lines:
            line.speak(0.5)
        await trio.sleep(19)
        attempts = [round(c.opened_at, 3) for c in on.connections]
        assert attempts[-4:] == [1, 3, 7, 15]
        assert attempts.count(0) <= 3  # those that were on their way already
        assert counted(on, "deepgram_breaker_open") == 1
        await trio.sleep(10)
        assert counted(on, "deepgram_breaker_open") == 0
        for line in lines:
            line.hang_up()
            await line.done.wait()
            assert whole(on.finals(line.call.id), 4000)


async def test_a_refused_query_holds_only_calls_that_have_the_same(autojump_clock: MockClock) -> None:
    def faults_for(index: int, query: object) -> Faults:
        return Faults(refuse_status=400) if "16000" in str(query) else Faults()

    async with call_harness(SimulatorSettings(faults_for=faults_for), config(max_connections=1)) as (
        on,
        nursery,
    ):
        poisoned = await start_call(on, nursery, "poisoned")
        poisoned.say(bytes(3200), 16000)
        await trio.sleep(0.5)
        assert on.problems.ages(trio.current_time()), "of all calls that there are, none is connected"
        well = await start_call(on, nursery, "well")
        await well.talk(3)
        assert not on.problems.ages(trio.current_time())
        well.hang_up()
        await well.done.wait()
        assert whole(on.finals("well"), 3 * 8000)  # although there is one place only
        assert counted(on, "deepgram_breaker_open") == 0


async def test_audio_that_is_rejected_twice_is_a_gap(autojump_clock: MockClock) -> None:
    rejecting = Faults(close_after_s=1, close_code=1008, close_reason="DATA-0000")
    async with call_harness(simulator(rejecting, rejecting)) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(0.5)
        await trio.sleep(30)
        line.hang_up()
        await line.done.wait()
        gap = next(e for e in on.events() if e["event"] == "gap")
        assert (gap["reason"], gap["start_ms"], gap["end_ms"], gap["samples"]) == ("rejected", 0, 500, 4000)
        for name, value in (("asr_gaps", 1), ("asr_gap_samples", 4000), ("asr_gap_seconds", 0.5)):
            counted_as = {"reason": "rejected"}
            assert on.metrics.registry.get_sample_value(f"{name}_total", counted_as) == value
        assert len(on.connections) == 2


async def test_an_unasked_1000_is_a_drop(autojump_clock: MockClock) -> None:
    closing = Faults(close_after_s=1, close_code=1000)
    async with call_harness(simulator(*[closing] * 10)) as (on, nursery):
        line = await start_call(on, nursery)
        line.speak(0.5)
        await trio.sleep(120)
        line.hang_up()
        await line.done.wait()
        assert len(on.connections) == 11
        assert whole(on.finals(), 4000)

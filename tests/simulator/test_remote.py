"""Faults switched at run time, and the record looked at from outside."""

import re
import subprocess
import sys
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
import trio
from tests.simulator.helpers import INTERIMS, RAW, VOICE, brief, connected, refused, session, told
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_asr.client.http import get
from trio_asr.simulator.board import Board, Rule
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.faulty import FaultyPeer
from trio_asr.simulator.ledger import Ledger
from trio_asr.simulator.remote import Remote
from trio_asr.simulator.server import SimulatorSettings


def ask(remote: Remote, method: str, path: str, document: Any = None, now: float = 0.0) -> tuple[int, Any]:
    status, answer = remote.answer(method, path, msgspec.json.encode(document), now)
    return status.value, answer


def test_the_closest_rule_counts_and_replaces_its_like() -> None:
    board = Board(Faults(close_code=4000))
    board.set(Rule({}, Faults(close_code=4001)))
    board.set(Rule({"model": "nova-3"}, Faults(close_code=4002)))
    board.set(Rule({}, Faults(close_code=4003)))
    assert board.faults_for(0, {"model": ("nova-3",)}).close_code == 4002
    assert board.faults_for(0, {"model": ("nova-2",)}).close_code == 4003
    assert len(board.rules) == 2
    board.clear()
    assert board.faults_for(0, {}).close_code == 4000


def test_mistakes_are_answered() -> None:
    remote = Remote(Board(), Ledger())
    cases: list[tuple[str, str, Any, HTTPStatus]] = [
        ("GET", "/nothing", None, HTTPStatus.NOT_FOUND),
        ("GET", "/strike", None, HTTPStatus.METHOD_NOT_ALLOWED),
        ("PUT", "/faults", {"faults": {"mute": 1}}, HTTPStatus.BAD_REQUEST),
        ("PUT", "/faults", {"faults": {"mute_after_s": "soon"}}, HTTPStatus.BAD_REQUEST),
        ("PUT", "/faults", {"faults": {"refuse_status": 1}}, HTTPStatus.BAD_REQUEST),
        ("PUT", "/faults", {"faults": {}, "whom": "all"}, HTTPStatus.BAD_REQUEST),
        ("POST", "/strike", [], HTTPStatus.BAD_REQUEST),
    ]
    for method, path, document, status in cases:
        got, answer = ask(remote, method, path, document)
        assert got == status
        assert answer["error"]
    assert remote.answer("PUT", "/faults", b"{", 0)[0] == HTTPStatus.BAD_REQUEST
    assert not remote.board.rules


async def test_a_rule_refuses_until_it_is_dropped(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()
    remote = Remote(settings.board, settings.ledger)
    assert ask(remote, "PUT", "/faults", {"faults": {"refuse_status": 503}})[0] == 200
    assert (await refused(settings)).status_code == 503
    assert ask(remote, "DELETE", "/faults") == (200, [])
    async with connected(settings):
        pass


async def test_a_strike_drops_what_is_open_and_nothing_else(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()
    remote = Remote(settings.board, settings.ledger)
    async with connected(settings) as first, connected(settings) as second:
        await trio.sleep(1)
        assert ask(remote, "POST", "/strike", {"faults": {"abort_after_s": 0}, "connections": [0]}) == (
            200,
            {"struck": 1},
        )
        with trio.fail_after(1):
            await first.ended()
        await wait_all_tasks_blocked()
        strike = {"faults": {"close_after_s": 2, "close_code": 1012}}
        assert ask(remote, "POST", "/strike", strike) == (200, {"struck": 1})
        struck = trio.current_time()
        await second.ended()
        assert trio.current_time() - struck == pytest.approx(2)
        assert second.code == 1012
    async with connected(settings) as third:
        await third.send(VOICE * 20)
        await wait_all_tasks_blocked()
        assert third.finals


async def test_a_connection_struck_mute_stays_open_and_silent(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()
    async with connected(settings, INTERIMS) as client:
        settings.board.strike(Faults(mute_after_s=0))
        for _ in range(40):
            await client.send(VOICE)
            await trio.sleep(0.1)
        assert not client.messages
        assert client.websocket.closed is None


async def test_the_record_shows_pace_and_silence(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()
    remote = Remote(settings.board, settings.ledger)
    async with connected(settings) as client:
        await client.send(VOICE * 20)  # 2 s at once
        await trio.sleep(4)
        await client.send(VOICE * 80)  # 8 s more: 10 s within 5 s
        await trio.sleep(6)
        await client.send(VOICE)
        await trio.sleep(3)
        status, answer = ask(remote, "GET", "/connections", now=trio.current_time())
    assert status == 200
    assert (answer["total"], answer["open"], answer["most_open"]) == (1, 1, 1)
    (shown,) = answer["connections"]
    assert (shown["audio_bytes"], shown["speed"]) == (len(VOICE) * 101, pytest.approx(2.0))
    assert shown["silence_s"] == pytest.approx(6)
    assert not any(name.startswith("_") for name in shown)


@pytest.mark.parametrize(
    ("encoding", "more", "second"),
    [
        ("linear16", "", 16_000),
        ("mulaw", "", 8000),
        ("alaw", "&channels=2&multichannel=true", 16_000),
        ("linear16", "&channels=2", 32_000),
        ("linear32", "", 32_000),
    ],
)
async def test_pace_is_measured_in_seconds_whatever_the_format(
    encoding: str, more: str, second: int, autojump_clock: MockClock
) -> None:
    settings = SimulatorSettings()
    async with connected(settings, RAW.replace("linear16", encoding) + more) as client:
        await client.send(bytes(6 * second))
        await trio.sleep(7)
        (shown,) = Remote(settings.board, settings.ledger)._connections(trio.current_time())["connections"]
    assert (shown["bytes_per_s"], shown["audio_bytes"]) == (second, 6 * second)
    assert shown["speed"] == pytest.approx(1.2)
    assert shown["silence_s"] == pytest.approx(7)


async def test_what_a_deaf_server_does_not_hear_is_no_silence(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()
    async with connected(settings) as client:
        await client.send(VOICE)
        await trio.sleep(2)
        settings.board.strike(Faults(stop_reading_after_s=1))
        await trio.sleep(8)
        (shown,) = Remote(settings.board, settings.ledger)._connections(trio.current_time())["connections"]
        assert shown["silence_s"] == pytest.approx(3)
        assert shown["stopped_at"] == pytest.approx(3)
        settings.board.strike(Faults(abort_after_s=0))


def test_overlapping_finals_say_their_first_word_again() -> None:
    peer = FaultyPeer(session(RAW, EchoEngine(1000, word_ms=500)), Faults(overlap_final_every=2), now=0)
    assert [f[0::3] for f in brief(told(peer.audio(VOICE * 20, 0)))] == [
        (0, "s0-4000 s4000-8000"),
        (0.5, "s4000-8000 s8000-12000 s12000-16000"),
    ]


def test_utterance_end_can_be_late() -> None:
    peer = FaultyPeer(
        session(INTERIMS + "&utterance_end_ms=1000", EchoEngine(1000)), Faults(utterance_end_delay_s=2), now=0
    )
    said = told(peer.audio(VOICE * 10 + bytes(32_000), 0))
    assert "UtteranceEnd" not in {m["type"] for m in said}
    assert peer.next_timeout() == 2
    assert [m["type"] for m in told(peer.on_timeout(2))] == ["UtteranceEnd"]


@pytest.mark.integration
async def test_it_is_served_beside_the_simulator() -> None:
    command = [sys.executable, "-m", "trio_asr", "simulate", "--port", "0", "--control-port", "0"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout:
        try:
            said = await process.stdout.receive_some()
            found = re.search(rb"Control on http://127.0.0.1:(\d+)", said)
            assert found
            status, body = await get(int(found.group(1)), "/connections")
            assert status == 200
            assert msgspec.json.decode(body)["connections"] == []
            assert (await get(int(found.group(1)), "/nothing"))[0] == 404
        finally:
            process.kill()
            with trio.CancelScope(shield=True), trio.fail_after(60):
                await process.wait()

import random
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import trio
from tests.simulator.helpers import CLOSE, FULL, KEEP_ALIVE, RAW, TOKEN, connected, refused, results
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_asr.simulator import handshake
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.query import Refused
from trio_asr.simulator.server import SimulatorSettings, handle
from trio_asr.simulator.session import NET_0000, NET_0001
from trio_asr.simulator.stamps import stamp

INVALID = RAW + "&utterance_end_ms=999&interim_results=true"


async def test_a_stream_from_its_first_sample_to_its_close(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(engine=EchoEngine(segment_ms=2000))
    async with connected(settings, FULL) as client:
        for start in range(0, 20_000, 1600):  # 2.5 s in chunks of 200 ms, in real time
            await client.send(stamp(7, start, min(1600, 20_000 - start)))
            await trio.sleep(0.2)
        await client.send(CLOSE)
        await client.ended()
    assert [(round(at, 6), m["type"]) for at, m in client.messages] == [
        (0.0, "SpeechStarted"),
        (1.0, "Results"),
        (1.8, "Results"),
        (2.0, "SpeechStarted"),
        (2.6, "Results"),
        (2.6, "Results"),
        (2.6, "Metadata"),
    ]
    interim, final, rest, empty = client.of("Results")
    assert results(interim)[:2] == (0.0, 1.04)
    assert (interim["is_final"], interim["speech_final"]) == (False, False)
    assert results(final) == (0.0, 2.0, " ".join(f"c7:{a}-{a + 800}" for a in range(0, 16_000, 800)))
    assert results(rest) == (2.0, 0.5, " ".join(f"c7:{a}-{a + 800}" for a in range(16_000, 20_000, 800)))
    assert results(empty) == (2.5, 0.0, "")
    for last in (final, rest, empty):
        assert (last["is_final"], last["speech_final"], last["from_finalize"]) == (True, True, False)
    assert client.of("Metadata")[0]["duration"] == 2.5
    assert (client.code, client.reason) == (1000, None)
    ids = {m["metadata"]["request_id"] for m in client.of("Results")}
    assert ids == {client.of("Metadata")[0]["request_id"], settings.ledger.connections[0].request_id}


async def test_ten_silent_seconds_close_with_net_0001(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()
    async with connected(settings) as client:
        await client.send(bytes(3200))
        await trio.sleep(9)
        await client.send(KEEP_ALIVE)
        await client.ended()
    assert [(at, m["type"], m["sha256"]) for at, m in client.messages] == [(19, "Metadata", "incomplete")]
    assert (client.code, client.reason) == (1011, NET_0001)
    assert settings.ledger.connections[0].keepalives == 1


async def test_keepalive_alone_does_not_keep_a_stream_alive(autojump_clock: MockClock) -> None:
    async with connected(SimulatorSettings()) as client:
        for _ in range(6):
            await trio.sleep(4)
            await client.send(KEEP_ALIVE)
        await client.ended()
    assert [at for at, _ in client.messages] == [25]
    assert client.of("Metadata")[0]["channels"] == 1
    assert (client.code, client.reason) == (1011, NET_0000)


async def test_keepalive_holds_a_stream_that_was_answered(autojump_clock: MockClock) -> None:
    async with connected(SimulatorSettings(), RAW + "&interim_results=true") as client:
        await client.send(bytes(16_640))
        for _ in range(20):
            await trio.sleep(4)
            await client.send(KEEP_ALIVE)
        await client.send(CLOSE)
        await client.ended()
    assert client.code == 1000
    assert client.of("Metadata")[0]["duration"] == 1.04


async def test_the_idle_timer_needs_no_wakeup_per_message(autojump_clock: MockClock) -> None:
    """Each message puts the timeout off; exactly ten seconds after the last one it strikes."""
    async with connected(SimulatorSettings(engine=EchoEngine(segment_ms=20))) as client:
        for _ in range(7):
            await client.send(bytes(320))
            await trio.sleep(3.5)
        await client.ended()
    assert [at for at, _ in client.messages] == [0, 3.5, 7, 10.5, 14, 17.5, 21, 31]


@pytest.mark.parametrize(
    ("more", "status", "error"),
    [
        (
            {"query": "utterance_end_ms=999&interim_results=true&" + RAW},
            400,
            "Invalid 'utterance_end_ms' value of '999'.",
        ),
        ({"target": "/v2/listen?" + RAW}, 404, "Not found."),
        ({"extra_headers": []}, 401, "Invalid credentials."),
        ({"extra_headers": [(b"Authorization", b"key")]}, 401, "Invalid credentials."),
        ({"extra_headers": [(b"Authorization", b"Token other")]}, 401, "Invalid credentials."),
    ],
)
async def test_refusals_say_why(
    more: dict[str, Any], status: int, error: str, autojump_clock: MockClock
) -> None:
    settings = SimulatorSettings(api_key="key")
    answer = await refused(settings, **more)
    headers = dict(answer.headers)
    record = settings.ledger.connections[0]
    assert (answer.status_code, headers[b"dg-error"].decode()) == (status, error)
    assert headers[b"dg-request-id"].decode() == record.request_id
    assert headers[b"content-type"] == b"application/json"
    body = msgspec.json.decode(answer.body or b"")
    assert (body["err_msg"], body["request_id"]) == (error, record.request_id)
    assert (record.status, settings.ledger.open) == (status, 0)


@pytest.mark.parametrize(
    "more",
    [
        {"extra_headers": TOKEN},
        {"extra_headers": [(b"Authorization", b"token key")]},
        {"extra_headers": [(b"Authorization", b"Bearer key")]},
        {"extra_headers": [], "subprotocols": ["token", "key"]},
        {"extra_headers": [], "subprotocols": ["bearer", "key"]},
    ],
)
async def test_the_key_comes_in_three_ways(more: dict[str, Any], autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(api_key="key")
    async with connected(settings, **more) as client:
        if "subprotocols" in more:
            assert client.websocket.subprotocol in {"token", "bearer"}
        headers = dict(client.websocket.handshake_headers)
        assert headers[b"dg-request-id"].decode() == settings.ledger.connections[0].request_id


async def test_any_key_will_do_when_none_is_set(autojump_clock: MockClock) -> None:
    async with connected(SimulatorSettings(), extra_headers=[(b"Authorization", b"Token whatever")]):
        pass
    assert (await refused(SimulatorSettings(), extra_headers=[])).status_code == 401


async def test_the_ledger_tells_what_came(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()
    async with connected(settings, RAW + "&tag=a&tag=b") as client:
        await client.send(bytes(321), KEEP_ALIVE)
        await trio.sleep(0.5)
        await client.send(bytes(319), '{"type": "Finalize"}')
        await trio.sleep(0.5)
        assert settings.ledger.open == 1
    record = settings.ledger.connections[0]
    assert record.query["tag"] == ("a", "b")
    assert list(record.received) == [
        (0, "audio", 321),
        (0, "text", 20),
        (0.5, "audio", 319),
        (0.5, "text", 20),
    ]
    assert (record.audio_bytes, record.binary_messages, record.text_messages) == (640, 2, 2)
    assert (record.first_audio_at, record.last_audio_at) == (0, 0.5)
    assert (record.keepalives, record.finalizes, record.close_streams) == (1, 1, 0)
    assert (record.opened_at, record.closed_at, record.close_code) == (0, 1, 1000)
    assert (settings.ledger.open, settings.ledger.most_open, settings.ledger.total) == (0, 1, 1)


async def test_a_client_that_sends_no_request_is_dropped(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    settings = SimulatorSettings()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle, far, settings)
        assert await near.receive_some() == b""
    assert trio.current_time() == 10


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01 not http\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""]
)
async def test_other_protocols_end_quietly(data: bytes, autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    settings = SimulatorSettings()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle, far, settings)
        await near.send_all(data)
        await near.send_eof()
    assert settings.ledger.connections[0].status == 0


async def test_a_client_that_vanishes_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings()
    async with connected(settings) as client:
        await client.send(bytes(3200))
        await wait_all_tasks_blocked()
        await client.websocket._stream.aclose()
    record = settings.ledger.connections[0]
    assert (record.close_code, settings.ledger.open) == (1006, 0)


REQUEST = (
    b"GET /v1/listen?encoding=linear16&sample_rate=8000 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Authorization: Token key\r\n\r\n"
)


@pytest.mark.parametrize("seed", range(200))
async def test_no_bytes_whatever_bring_the_server_down(seed: int, autojump_clock: MockClock) -> None:
    """A good request, then frames of every kind with random contents, then the end or loss of the stream."""
    chance = random.Random(seed)
    near, far = memory_stream_pair()
    settings = SimulatorSettings()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle, far, settings)
        await near.send_all(REQUEST[: len(REQUEST) - chance.choice([0, 0, 0, 1])])
        with suppress(trio.BrokenResourceError):  # it may close first
            for _ in range(chance.randint(0, 6)):
                body = chance.randbytes(chance.choice([0, 1, 2, 125]))
                head = [0x80 | chance.choice([0, 1, 2, 3, 8, 9, 10]), 0x80 | len(body)]
                await near.send_all(bytes([*head, 0, 0, 0, 0]) + body if chance.random() < 0.8 else body)
            await (near.send_eof() if chance.random() < 0.5 else near.aclose())
    assert settings.ledger.open == 0


def test_an_odd_target_is_refused() -> None:
    """Raised as anything else it would end the simulator."""
    with pytest.raises(Refused):
        handshake.query_of("//[")

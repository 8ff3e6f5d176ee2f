"""Deepgram's own Python client, unmodified but for the URL, over TCP."""

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import trio

from trio_asr.simulator.audio import interleave
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.server import SimulatorSettings, serve
from trio_asr.simulator.stamps import stamp

deepgram = pytest.importorskip("deepgram")
websockets = pytest.importorskip("websockets")
pytestmark = [
    pytest.mark.integration,
    # The SDK still imports what its own dependencies have deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def mono(start: int) -> bytes:
    return stamp(3, start, 1600)


def two_legs(start: int) -> bytes:
    return interleave([stamp(call, start, 1600, width=1) for call in (6, 7)], width=1)


def talk(port: int, speech: Callable[[int], bytes] = mono, **options: Any) -> list[Any]:
    """A call of 3 seconds with the SDK's client: what it decoded, message by message."""
    from deepgram.core.events import EventType
    from deepgram.environment import DeepgramClientEnvironment

    base = f"ws://127.0.0.1:{port}"
    urls = DeepgramClientEnvironment(base=base, production=base, agent=base, agent_rest=base)
    client = deepgram.DeepgramClient(api_key="key", environment=urls)
    got: list[Any] = []
    with client.listen.v1.connect(
        **{"model": "nova-3", "encoding": "linear16", "sample_rate": 8000, "interim_results": True, **options}
    ) as socket:
        socket.on(EventType.MESSAGE, got.append)
        socket.on(EventType.ERROR, got.append)
        listener = threading.Thread(target=socket.start_listening)
        listener.start()
        for start in range(0, 24_000, 1600):
            socket.send_media(speech(start))
            if start == 8000:
                socket.send_keep_alive()
                socket.send_finalize()
        socket.send_close_stream()
        listener.join(60)
        assert not listener.is_alive()
    return got


async def test_the_official_client_works() -> None:
    settings = SimulatorSettings(engine=EchoEngine(segment_ms=1000), api_key="key")
    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda **kw: serve(settings, host="127.0.0.1", port=0, **kw))
        got = await trio.to_thread.run_sync(
            lambda: talk(port, vad_events=True, utterance_end_ms=1000, smart_format=True, keyterm=["a", "b"])
        )
        nursery.cancel_scope.cancel()
    kinds = [type(message).__name__ for message in got]
    assert set(kinds) == {"ListenV1SpeechStarted", "ListenV1Results", "ListenV1Metadata"}
    finals = [m for m in got if m.type == "Results" and m.is_final]
    words = [word.punctuated_word for m in finals for word in m.channel.alternatives[0].words]
    assert [m.from_finalize for m in finals].count(True) == 1
    spans = [tuple(map(int, word.removeprefix("c3:").split("-"))) for word in words]
    assert spans[0][0] == 0
    assert spans[-1][1] == 24_000
    assert all(one[1] == following[0] for one, following in pairwise(spans))
    assert got[-1].type == "Metadata"
    assert got[-1].duration == 3.0
    record = settings.ledger.connections[0]
    assert record.query["keyterm"] == ("a", "b")
    assert (record.close_code, record.keepalives, record.finalizes) == (1000, 1, 1)


async def test_the_official_client_takes_two_legs_of_a_call() -> None:
    settings = SimulatorSettings(engine=EchoEngine(segment_ms=1000))
    options = {"encoding": "mulaw", "channels": 2, "multichannel": True, "vad_events": True}
    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda **kw: serve(settings, host="127.0.0.1", port=0, **kw))
        got = await trio.to_thread.run_sync(lambda: talk(port, two_legs, **options))
        nursery.cancel_scope.cancel()
    assert {type(m).__name__ for m in got} == {"ListenV1SpeechStarted", "ListenV1Results", "ListenV1Metadata"}
    for channel, call in enumerate((6, 7)):
        finals = [m for m in got if m.type == "Results" and m.is_final and m.channel_index == [channel, 2]]
        words = [word.word for m in finals for word in m.channel.alternatives[0].words]
        spans = [tuple(map(int, word.removeprefix(f"c{call}:").split("-"))) for word in words]
        assert (spans[0][0], spans[-1][1]) == (0, 24_000)
        assert all(one[1] == following[0] for one, following in pairwise(spans))
        assert [m.from_finalize for m in finals].count(True) == 1
    assert {tuple(m.channel) for m in got if m.type == "SpeechStarted"} == {(0, 2), (1, 2)}
    assert (got[-1].channels, got[-1].duration) == (2, 3.0)
    assert settings.ledger.connections[0].query["multichannel"] == ("true",)


async def test_the_official_client_understands_a_refusal() -> None:
    settings = SimulatorSettings(api_key="another")
    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda **kw: serve(settings, host="127.0.0.1", port=0, **kw))
        with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
            await trio.to_thread.run_sync(lambda: talk(port))
        nursery.cancel_scope.cancel()
    assert caught.value.response.status_code == 401
    assert caught.value.response.headers["dg-error"] == "Invalid credentials."

"""What a call is said to be doing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from tests.worker_harness import AUDIO, ChannelLink, EchoProvider, run_worker
from trio.testing import MockClock

from trio_asr.config import Config, DeepgramConfig, HttpConfig, Secret
from trio_asr.core.recent import Caption
from trio_asr.deepgram.provider import ConnectFailed, Link
from trio_asr.interaction.portrait import Leg, portray, portray_closely, state
from trio_asr.wire.audio_format import Format
from trio_asr.wire.messages import Alternative, Channel, Results


class Refusing(EchoProvider):
    """Refuses with a status, as long as there is one."""

    status: int | None = None

    def connect(self, fmt: Format) -> Any:
        if self.status is not None:
            raise ConnectFailed("so the test says", status=self.status)
        return super().connect(fmt)


async def test_the_states_of_a_call(autojump_clock: MockClock) -> None:
    provider = Refusing()
    async with run_worker(provider=provider) as here:
        slots, call = here.calls.interactions, here.producer()

        def look() -> str:
            return state(slots[call.id])

        provider.status = 503
        call.speak(1.0)
        await trio.sleep(0.6)
        assert look() == "connecting"
        assert portray(slots[call.id]).last_error == "503: so the test says"
        provider.status = None
        await trio.sleep(12)
        assert look() == "streaming"
        provider.links[-1].close()
        provider.status = 503
        call.speak(0.5)
        await trio.sleep(0.6)
        assert look() == "reconnecting"
        provider.status = None
        await trio.sleep(12)
        call.end()
        await trio.sleep(0.2)
        assert look() == "closing"


async def test_where_a_call_comes_from(autojump_clock: MockClock) -> None:
    async with run_worker() as here:
        call = here.producer()
        first = msgspec.json.decode(call.envelope(0.5))
        first["meta"] = {"platform": "exotel", "from": "+49301"}
        here.store.add(AUDIO, msgspec.json.encode(first))
        await trio.sleep(1)
        interaction = here.calls.interactions[call.id]
        assert portray_closely(interaction).origin == "exotel, from +49301"
        assert portray(interaction).origin is msgspec.UNSET


async def test_a_call_waits_for_a_place(autojump_clock: MockClock) -> None:
    config = Config(deepgram=DeepgramConfig(max_connections=1))
    async with run_worker(config) as here:
        first, second = here.producer(1), here.producer(2)
        first.speak(1.0)
        await trio.sleep(0.5)
        second.speak(1.0)
        await trio.sleep(0.5)
        assert [state(here.calls.interactions[one.id]) for one in (first, second)] == ["streaming", "waiting"]


@pytest.mark.parametrize("status", [401, 400])
async def test_a_call_is_held_while_deepgram_refuses(autojump_clock: MockClock, status: int) -> None:
    provider = Refusing()
    provider.status = status
    async with run_worker(provider=provider) as here:
        call = here.producer()
        call.speak(1.0)
        await trio.sleep(1.5)
        portrait = portray_closely(here.calls.interactions[call.id])
        assert portrait.state == "held"
        assert portrait.last_error == f"{status}: so the test says"
        assert (portrait.lines, portrait.interim) == ((), None)
        assert portrait.lag_s == 1.0


class OneSided(ChannelLink):
    """A connection that finalizes all audio of the first of two channels, and has interims of the other."""

    request_id = "request-1"

    def __init__(self, fmt: Format) -> None:
        self._fmt, self._at = fmt, 0.0
        super().__init__()

    async def send_audio(self, pcm: bytes) -> None:
        await trio.lowlevel.checkpoint()
        start, self._at = self._at, self._at + self._fmt.ms(len(pcm)) / 1000
        self._say(0, "Hello.", start)
        self._say(1, "good mor", 0.0)

    def _say(self, channel: int, text: str, start: float) -> None:
        said = Channel([Alternative(text, 0.9, [])])
        duration, final = self._at - start, channel == 0
        self._send.send_nowait(Results(start, duration, said, final, final, channel_index=[channel, 2]))

    async def send_control(self, text: str) -> None:
        await trio.lowlevel.checkpoint()


class OneSidedProvider(EchoProvider):
    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        await trio.lowlevel.checkpoint()
        yield OneSided(fmt)


async def test_two_people_and_how_far_each_is_finalized(autojump_clock: MockClock) -> None:
    config = Config(http=HttpConfig(token=Secret("correct-horse-battery")))
    async with run_worker(config, provider=OneSidedProvider()) as here:
        entry = {
            "interaction_id": "pair", "tenant_id": "t", "encoding": "mulaw", "sample_rate": 8000,
            "channels": 2, "roles": ["customer", "agent"], "position": 0, "audio": b"\x80" * 8000,
        }  # fmt: skip
        here.store.add(AUDIO, None, m=msgspec.msgpack.encode(entry))
        await trio.sleep(1)
        portrait = portray_closely(here.calls.interactions["pair"])
        assert (portrait.encoding, portrait.sample_rate, portrait.channels) == ("mulaw", 8000, 2)
        assert portrait.legs == (
            Leg(channel=0, role="customer", finalized_s=0.5, lag_s=0.0),
            Leg(channel=1, role="agent", finalized_s=0.0, lag_s=0.5),
        )
        assert (portrait.finalized_s, portrait.lag_s) == (0.0, 0.5)
        assert portrait.lines == (Caption(1, "final", "Hello.", 0, 500, 1, 0, "customer"),)
        good = Caption(0, "partial", "good mor", 0, 500, 2, 1, "agent")
        assert (portrait.interim, portrait.interims) == (good, (good,))


async def test_what_is_said_of_one_channel_is_what_always_was(autojump_clock: MockClock) -> None:
    async with run_worker() as here:
        call = here.producer()
        call.speak(0.5)
        await trio.sleep(1)
        known = {
            "id", "tenant", "trace_id", "state", "connection", "request_id", "received_s", "sent_s",
            "finalized_s", "lag_s", "chunks", "held_bytes", "last_error", "since",
        }  # fmt: skip
        interaction = here.calls.interactions[call.id]
        assert msgspec.to_builtins(portray(interaction)).keys() == known
        assert msgspec.to_builtins(portray_closely(interaction)).keys() == known | {"lines", "interim"}

"""What a call is said to be doing."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.worker_harness import EchoProvider, run_worker
from trio.testing import MockClock

from trio_asr.config import Config, DeepgramConfig
from trio_asr.deepgram.provider import ConnectFailed
from trio_asr.interaction.portrait import portray, portray_closely, state
from trio_asr.wire.audio_format import Format


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

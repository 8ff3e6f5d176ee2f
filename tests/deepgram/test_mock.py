"""The mock provider: deterministic, no socket, the real one's messages."""

from __future__ import annotations

import pytest
from tests.call_harness import sent
from trio.testing import MockClock

from trio_asr.deepgram.mock import MockProvider
from trio_asr.deepgram.provider import Link, LinkClosed
from trio_asr.wire import messages
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.messages import Metadata, Results


async def said(link: Link, count: int) -> list[tuple[float, float, bool]]:
    heard = [await link.receive() for _ in range(count)]
    return [(r.start, r.duration, r.is_final) for r in heard if isinstance(r, Results)]


async def test_partials_and_finals_follow_from_the_audio_alone(autojump_clock: MockClock) -> None:
    """Requirements 18: ASR_PROVIDER=mock opens no socket."""
    provider = MockProvider()
    assert not provider.has_sockets
    async with provider.connect(audio_format(8000)) as link:
        assert link.request_id == "mock-1"
        await sent(link, bytes(8000))
        await sent(link, bytes(12000))
        await link.send_control(messages.KEEP_ALIVE)
        await link.send_control(messages.CLOSE_STREAM)
        assert await said(link, 4) == [(0, 0.5, False), (0, 1, True), (1, 0.25, False), (1, 0.25, True)]
        assert await link.receive() == Metadata(1.25, "mock")
        with pytest.raises(LinkClosed) as closed:
            await link.receive()
        assert closed.value.code == 1000


async def test_confidences_and_words_are_filled(autojump_clock: MockClock) -> None:
    async with MockProvider().connect(audio_format(16000)) as link:
        await sent(link, bytes(32000))
        result = await link.receive()
    assert isinstance(result, Results)
    assert result.best.transcript == "mock audio from 0.00 to 1.00 seconds"
    assert result.best.confidence == 0.95
    assert [word.text for word in result.best.words] == result.best.transcript.split()
    assert result.best.words[-1].end == pytest.approx(1)


async def test_finalize_closes_the_open_segment(autojump_clock: MockClock) -> None:
    async with MockProvider().connect(audio_format(8000)) as link:
        await sent(link, bytes(3200))
        await link.send_control(messages.FINALIZE)
        assert await said(link, 2) == [(0, 0.2, False), (0, 0.2, True)]

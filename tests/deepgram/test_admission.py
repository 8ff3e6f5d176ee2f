"""That a second connection of a call would be seen, and a refused query is."""

import pytest
import trio

from trio_asr.deepgram.admission import Admission
from trio_asr.deepgram.mock import MockProvider
from trio_asr.deepgram.provider import ConnectFailed
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.audio_format import audio_format


def made() -> tuple[Admission, Metrics, Problems]:
    metrics, problems = Metrics(), Problems()
    connections = Admission(MockProvider(), limit=5, connect_timeout_s=1, metrics=metrics, problems=problems)
    return connections, metrics, problems


async def test_a_second_open_connection_of_a_call_is_counted() -> None:
    """Requirements 19: it pulls the new version back, so it must be seen although nothing here allows it."""
    await trio.lowlevel.checkpoint()
    admission, metrics, _ = made()
    admission.opened(audio_format(8000), "a")
    admission.opened(audio_format(8000), "b")
    admission.closed("a")
    admission.opened(audio_format(8000), "a")  # a reconnect is none
    assert metrics.duplicate_connections.value == 0
    admission.opened(audio_format(8000), "b")
    assert metrics.duplicate_connections.value == 1


@pytest.mark.parametrize("status", [400, 404, 405, 414])
async def test_a_refused_query_is_trouble_while_no_call_is_connected(status: int) -> None:
    """An option that Deepgram does not take stops every call: readiness and health must say so."""
    await trio.lowlevel.checkpoint()
    connections, metrics, problems = made()
    refusal = ConnectFailed("No such model", status=status)
    connections.wanted = 1
    assert not connections.failed(refusal, audio_format(8000))
    connections.nobody_waits()
    assert list(problems.ages(trio.current_time())) == ["deepgram"]
    assert metrics.registry.get_sample_value("deepgram_breaker_open") == 0  # it is not the account
    connections.opened(audio_format(8000), "a")
    assert not problems.ages(trio.current_time())
    connections.failed(refusal, audio_format(16000))  # one call with an odd rate beside one that goes well
    assert not problems.ages(trio.current_time())
    connections.closed("a")
    connections.failed(refusal, audio_format(16000))
    assert problems.ages(trio.current_time())
    connections.wanted = 0
    connections.nobody_waits()
    assert not problems.ages(trio.current_time())

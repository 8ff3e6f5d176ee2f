"""What never came in the middle of a call of two channels: connections, gaps and finals around it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.call_harness import CallFeed, call_harness, start_call, whole
from trio.testing import MockClock

from trio_asr.lab.rig.legs import LEG, ROLES, stamped
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.server import SimulatorSettings
from trio_asr.wire.audio_format import audio_format

RATE = 8000
TWO = audio_format(RATE, channels=2)
FRAME_S = 0.1
SAMPLES = round(FRAME_S * RATE)
VOID = 40 * RATE


async def talk(line: CallFeed, begin: int, end: int, void: int) -> None:
    """Hand over frames of these numbers in real time, so many samples later than that."""
    for n in range(begin, end):
        audio = stamped(TWO, 1, n * SAMPLES, SAMPLES)
        line.say(audio, channels=2, roles=ROLES, position=n * SAMPLES + void)
        await trio.sleep(FRAME_S)


def told(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The events in order, with what matters here."""
    fields = ("reason", "code", "channel", "role", "start_ms", "end_ms", "samples", "duration_ms")
    return [(one["event"], *(one[name] for name in fields if name in one)) for one in events]


@pytest.mark.parametrize("paused_s", [0.0, 30.0])
@pytest.mark.parametrize("faults", [Faults(), Faults(only_channel=1, channel_delay_s=1.0)])
async def test_the_connection_ends_at_a_void_and_the_next_begins_behind_it(
    autojump_clock: MockClock, faults: Faults, paused_s: float
) -> None:
    """Unless all before it is finalized: then the connection goes on."""
    simulator = SimulatorSettings(engine=EchoEngine(segment_ms=2000), faults_for=lambda *_: faults)
    async with call_harness(simulator) as (on, nursery):
        line = await start_call(on, nursery)
        await talk(line, 0, 25, 0)
        await trio.sleep(paused_s)
        await talk(line, 25, 50, VOID)
        line.hang_up()
        await line.done.wait()
        for number in (0, 1):
            finals = [one for one in on.finals() if one["channel"] == number]
            assert whole(finals, 5 * RATE, 1 + number * LEG)
            assert [one["end_ms"] for one in finals] == [2000, 2500, 44_500, 45_000]
        gaps = [("gap", "source", number, role, 2500, 42_500, VOID) for number, role in enumerate(ROLES)]
        opened, closed = ("connection_opened",), ("connection_closed", "", 1000)
        ended = ("ended", "closed", 45_000)
        if paused_s:
            assert told(on.events()) == [("started",), opened, *gaps, closed, ended]
        else:
            assert told(on.events()) == [("started",), opened, *gaps, closed, opened, closed, ended]
        assert [one.audio_bytes for one in on.connections] == (
            [5 * TWO.bytes_per_s] if paused_s else [2.5 * TWO.bytes_per_s] * 2
        )

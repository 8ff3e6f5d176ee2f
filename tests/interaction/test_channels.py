"""A call of two channels, its real tasks and the real protocol, on the autojump clock: times are exact."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import pytest
import trio
from tests.call_harness import CallFeed, call_harness, config, start_call, whole
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.config import Config
from trio_asr.lab.rig.legs import LEG, ROLES, hushed, stamped
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.server import SimulatorSettings
from trio_asr.simulator.session import Session
from trio_asr.wire.audio_format import audio_format

RATE = 8000
TWO = audio_format(RATE, channels=2)
FRAME_S = 0.1
MUTE = Faults(only_channel=1, drop_result_every=1)
FAST = config(catchup_rate=5.0)  # so that a replay is soon over


class Happened(NamedTuple):
    """What was published, and when: the channel, the kind, from where to where (in seconds)."""

    at: float
    channel: int | None
    kind: str
    start: float
    end: float


class Recorder:
    """When texts came to the simulator, and when what was published."""

    def __init__(self) -> None:
        self.texts: list[tuple[float, dict[str, Any]]] = []
        self.published: list[tuple[float, dict[str, Any]]] = []

    @property
    def finalizes(self) -> list[tuple[float, int]]:
        """When a final was asked for, and of which channel."""
        return [(at, text["channel"]) for at, text in self.texts if text["type"] == "Finalize"]

    def happened(self, *kinds: str) -> list[Happened]:
        """The finals (`final`) and events of these names."""
        named = [(at, one.get("event") or one["type"], one) for at, one in self.published]
        return [
            Happened(at, one.get("channel"), kind, one["start_ms"] / 1000, one["end_ms"] / 1000)
            for at, kind, one in named
            if kind in kinds
        ]

    def finals(self, channel: int) -> list[tuple[float, float]]:
        """When the finals of a channel came, and where each ends."""
        return [(one.at, one.end) for one in self.happened("final") if one.channel == channel]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Records what passes; and reconnects come at once."""
    recorded, text, add = Recorder(), Session.text, MemoryStore.add

    def record_text(session: Session, data: str, now: float) -> Any:
        recorded.texts.append((round(now, 3), json.loads(data)))
        return text(session, data, now)

    def record_message(store: MemoryStore, stream: str, data: bytes | None, maxlen: int = 0) -> Any:
        assert data is not None
        recorded.published.append((round(trio.current_time(), 3), json.loads(data)))
        return add(store, stream, data, maxlen)

    monkeypatch.setattr(Session, "text", record_text)
    monkeypatch.setattr(MemoryStore, "add", record_message)
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    return recorded


async def talk(line: CallFeed, seconds: float, *, silent_s: float = 0.0) -> None:
    """Hand over stamped audio in real time; the second channel is silent at first."""
    samples = round(FRAME_S * RATE)
    for n in range(round(seconds / FRAME_S)):
        audio = stamped(TWO, 1, n * samples, samples)
        if n * FRAME_S < silent_s:
            audio = hushed(TWO, audio, 0, samples)
        line.say(audio, channels=2, roles=ROLES)
        await trio.sleep(FRAME_S)


class Call(NamedTuple):
    """A call that is over."""

    transcripts: list[dict[str, Any]]
    events: list[dict[str, Any]]
    connections: list[tuple[float, float]]  # when each was made, and when it ended
    audio_s: list[float]  # what each was sent

    def is_whole(self, channel: int, seconds: float) -> bool:
        """Return whether each sample of a channel is in its finals once, and in order."""
        finals = [one for one in self.transcripts if one["type"] == "final" and one["channel"] == channel]
        assert {one["role"] for one in finals} == {ROLES[channel]}
        return whole(finals, round(seconds * RATE), 1 + channel * LEG)


async def call(
    *faults: Faults,
    seconds: float,
    silent_s: float = 0.0,
    segment_ms: int = 2000,
    settings: Config | None = None,
) -> Call:
    """Make a call. The connections have these faults, the last ones those of the last."""

    def faults_for(index: int, query: object) -> Faults:
        return faults[min(index, len(faults) - 1)] if faults else Faults()

    simulator = SimulatorSettings(engine=EchoEngine(segment_ms=segment_ms), faults_for=faults_for)
    async with call_harness(simulator, settings) as (on, nursery):
        line = await start_call(on, nursery)
        await talk(line, seconds, silent_s=silent_s)
        line.hang_up()
        await line.done.wait()
        connections = [(one.accepted_at or 0.0, one.closed_at or 0.0) for one in on.connections]
        return Call(
            on.transcripts(),
            on.events(),
            [(round(begin, 3), round(end, 3)) for begin, end in connections],
            [one.audio_bytes / TWO.bytes_per_s for one in on.connections],
        )


async def test_a_call_of_two_channels(recorder: Recorder, autojump_clock: MockClock) -> None:
    over = await call(seconds=10)
    assert over.is_whole(0, 10)
    assert over.is_whole(1, 10)
    ends = [(2.0, 2.0), (4.0, 4.0), (6.0, 6.0), (8.0, 8.0), (10.0, 10.0)]
    assert recorder.finals(0) == recorder.finals(1) == ends
    assert [one["event"] for one in over.events] == [
        "started", "connection_opened", "connection_closed", "ended",
    ]  # fmt: skip
    started = {"sample_rate": 8000, "encoding": "linear16", "channels": 2, "roles": list(ROLES)}
    assert {name: over.events[0][name] for name in started} == started


async def test_finalize_names_the_channel_of_which_15_s_are_open(
    recorder: Recorder, autojump_clock: MockClock
) -> None:
    """A chunk has 200 ms, so the one with which it is 15 s ends at 15.1 s: it leaves at 15.0 s."""
    over = await call(Faults(only_channel=0, cut_every_s=2.0), seconds=40, segment_ms=60_000)
    assert recorder.finalizes == [(15.0, 1), (30.0, 1)]
    assert recorder.finals(1) == [(15.0, 15.1), (30.0, 30.1), (40.0, 40.0)]
    assert recorder.finals(0) == [(2.0 * n, 2.0 * n) for n in range(1, 21)]
    assert len(over.connections) == 1
    assert over.is_whole(0, 40)
    assert over.is_whole(1, 40)


async def test_a_mute_channel_costs_the_other_one_replay(
    recorder: Recorder, autojump_clock: MockClock
) -> None:
    over = await call(MUTE, seconds=90, settings=FAST)
    assert recorder.finalizes[0] == (15.0, 1)
    # 10 s later the connection is replaced, and the audio from 0 s on replayed at five times its pace.
    assert over.connections[0] == (0.0, 25.0)
    assert [one["connection"] for one in over.events if one["event"] == "connection_opened"] == [1, 2]
    reason = "no final of channel 1 for 10000 ms after Finalize"
    assert [one.get("reason") for one in over.events if one["event"] == "connection_closed"] == [reason, ""]

    asked = [at for at, _ in recorder.finalizes[1:]]
    assert asked == [27.984, 38.1, 53.1, 68.1, 83.1]  # 15 s of replay take 3 s
    assert [(one.at, one.channel, one.start, one.end) for one in recorder.happened("gap")] == [
        (37.984, 1, 0.0, 15.0),
        (48.1, 1, 15.0, 38.2),  # all that was sent when the final was asked for
        (63.1, 1, 38.2, 53.2),
        (78.1, 1, 53.2, 68.2),
        (90.0, 1, 68.2, 90.0),
    ]
    assert {one["reason"] for one in over.events if one["event"] == "gap"} == {"unanswered"}

    assert over.is_whole(0, 90)
    finals = recorder.finals(0)
    assert [end for _, end in finals] == [2.0 * n for n in range(1, 46)]
    assert [end for at, end in finals if at > end] == [26.0, 28.0, 30.0]  # they were spoken during the replay


async def test_a_channel_that_lags_is_replayed_and_nothing_of_the_other_is_doubled(
    recorder: Recorder, autojump_clock: MockClock
) -> None:
    lagging = Faults(only_channel=1, channel_delay_s=5, abort_after_s=20.05)
    over = await call(lagging, Faults(), seconds=40, settings=FAST)
    assert over.connections[0] == (0.0, 20.05)
    assert len(over.connections) == 2
    before = [one for one in recorder.happened("final") if one.at <= 20.05]
    assert [one.end for one in before if one.channel == 0][-1] == 20
    assert [one.end for one in before if one.channel == 1][-1] == 14
    after = [(one.channel, one.start, one.end) for one in recorder.happened("final") if one.at > 20.05]
    assert after[:5] == [(1, 14, 16), (1, 16, 18), (1, 18, 20), (0, 20, 22), (1, 20, 22)]
    assert over.is_whole(0, 40)
    assert over.is_whole(1, 40)
    assert recorder.happened("gap") == []


async def test_a_channel_that_is_digitally_silent_needs_no_results(
    recorder: Recorder, autojump_clock: MockClock
) -> None:
    """Its cursor follows that of the other at 5 s, which is all that a drop replays."""
    without = Faults(only_channel=1, drop_result_every=1, abort_after_s=50.05)
    over = await call(without, Faults(), seconds=60, silent_s=60, settings=FAST)
    assert over.connections[0] == (0.0, 50.05)
    assert recorder.finalizes == []
    assert recorder.happened("gap") == []
    assert over.is_whole(0, 60)
    assert recorder.finals(1) == []
    assert over.audio_s == [pytest.approx(50.1), 15]  # the second one begins at 45 s


async def test_a_silent_channel_without_results_that_speaks_at_last(
    recorder: Recorder, autojump_clock: MockClock
) -> None:
    over = await call(MUTE, seconds=75, silent_s=30, settings=FAST)
    # The silence is passed. From 30 s on there is sound: 15 s of it are asked for, and 10 s later replayed.
    assert recorder.finalizes[0] == (45.0, 1)
    assert over.connections[0] == (0.0, 55.0)
    gaps = recorder.happened("gap")
    assert (gaps[0].channel, gaps[0].start, gaps[0].end) == (1, 30, 45)
    assert over.is_whole(0, 75)

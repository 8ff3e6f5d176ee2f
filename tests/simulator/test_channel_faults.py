"""Faults that concern one channel of two."""

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.simulator.helpers import CLOSE, FULL, INTERIMS, RAW, VOICE, brief, connected, session, told
from trio.testing import MockClock

from trio_asr.simulator.audio import interleave
from trio_asr.simulator.board import Rule
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.engines import Mark, SegmentEnds, SpeechBegan
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.faulty import FaultyPeer
from trio_asr.simulator.query import check, parse
from trio_asr.simulator.recut import RecutEar
from trio_asr.simulator.server import SimulatorSettings
from trio_asr.simulator.speech import SpeechEngine

TWO = "&channels=2&multichannel=true"
BOTH = interleave([VOICE] * 2, 2)  # 100 ms of audio on each channel


def faulty(query: str = RAW, segment_ms: int = 1000, **faults: Any) -> FaultyPeer:
    return FaultyPeer(session(query + TWO, EchoEngine(segment_ms, word_ms=500)), Faults(**faults), now=0)


def shown(messages: list[Any]) -> list[Any]:
    """Return `(channel, start, end, flags)` of Results, and the type of everything else."""
    return [_shown(m) for m in messages if isinstance(m, dict)]


def _shown(m: dict[str, Any]) -> Any:
    if m["type"] != "Results":
        return m["type"]
    start, duration, flags, _ = brief([m])[0]
    return m["channel_index"][0], round(start, 3), round(start + duration, 3), flags


def test_a_late_channel_keeps_its_order_and_the_end_waits_for_it() -> None:
    peer = faulty(INTERIMS, 2000, only_channel=1, channel_delay_s=3)
    assert shown(told(peer.audio(BOTH * 11, 0))) == [(0, 0, 1.04, "i")]
    assert shown(told(peer.audio(BOTH * 10, 1))) == [(0, 0, 2, "fs")]
    assert shown(told(peer.text(CLOSE, 2))) == [(0, 2, 2.1, "fs"), (0, 2.1, 2.1, "fs")]
    assert peer.next_timeout() == 3
    assert shown(told(peer.on_timeout(3))) == [(1, 0, 1.04, "i")]
    assert shown(told(peer.on_timeout(4))) == [(1, 0, 2, "fs")]
    assert peer.next_timeout() == 5
    assert shown(told(peer.on_timeout(5))) == [(1, 2, 2.1, "fs"), (1, 2.1, 2.1, "fs"), "Metadata"]
    assert peer.next_timeout() is None


def test_late_speech_and_late_ends_of_utterances_stay_in_their_places() -> None:
    peer = faulty(FULL, only_channel=0, channel_delay_s=3)
    audio = interleave([VOICE * 5 + bytes(1600 * 20)] * 2, 2)
    at_once = told(peer.audio(audio, 0))
    assert {m.get("channel_index", m["channel"])[0] for m in at_once} == {1}
    later = told(peer.on_timeout(3))
    assert [m["type"] for m in later] == [m["type"] for m in at_once]
    assert {"SpeechStarted", "UtteranceEnd"} < {m["type"] for m in later}


def test_a_channel_without_any_results() -> None:
    peer = faulty(INTERIMS, 2000, only_channel=0, drop_result_every=1)
    assert shown(told(peer.audio(BOTH * 21, 0))) == [(1, 0, 1.04, "i"), (1, 0, 2, "fs")]
    assert shown(told(peer.text(CLOSE, 0))) == [(1, 2, 2.1, "fs"), (1, 2.1, 2.1, "fs"), "Metadata"]


def test_every_nth_is_counted_by_channel() -> None:
    both = shown(told(faulty(drop_final_every=2).audio(BOTH * 40, 0)))
    assert [final[:2] for final in both] == [(0, 0), (0, 2), (1, 0), (1, 2)]
    one = shown(told(faulty(drop_final_every=2, only_channel=1).audio(BOTH * 40, 0)))
    assert [final[:2] for final in one] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 2)]


def test_an_overlap_repeats_a_word_of_its_own_channel() -> None:
    s = session(RAW + TWO, EchoEngine(1000, word_ms=500))
    peer = FaultyPeer(s, Faults(overlap_final_every=2, only_channel=1), now=0)
    said = told(peer.audio(interleave([VOICE * 20, bytes(8000) + VOICE * 15], 2), 0))
    assert [r[3] for r in brief(said)] == [
        "s0-4000 s4000-8000",
        "s8000-12000 s12000-16000",
        "s4000-8000",
        "s4000-8000 s8000-12000 s12000-16000",
    ]


def test_other_faults_concern_the_whole_stream() -> None:
    peer = faulty(only_channel=1, mute_after_s=0)
    assert peer.audio(BOTH * 20, 0) == []


# Segments that end elsewhere.


def heard(ear: RecutEar, sizes: list[int], audio: bytes) -> list[Mark]:
    marks, at = [], 0
    for size in [*sizes, len(audio)]:
        marks += ear.hear(audio[at : at + 2 * size])
        at += 2 * size
    return marks


@given(st.lists(st.integers(0, 9000), max_size=20))
def test_where_the_audio_is_split_does_not_matter_to_a_recut_ear(sizes: list[int]) -> None:
    query = check(parse(FULL))
    audio = VOICE * 12 + bytes(1600 * 4) + VOICE * 9
    ear = RecutEar(EchoEngine(5000).open(query), query, 0.7)
    marks = heard(ear, sizes, audio)
    assert [m for m in marks if isinstance(m, SegmentEnds)] == [
        SegmentEnds(at, speech_final=True) for at in (5600, 11_200, 16_800)
    ]
    assert [m.onset for m in marks if isinstance(m, SpeechBegan)] == [0, 5600, 12_800, 16_800]


def test_without_endpointing_a_recut_segment_ends_without_a_pause() -> None:
    query = check(parse(RAW + "&endpointing=false"))
    ear = RecutEar(EchoEngine(500).open(query), query, 1)
    assert ear.hear(VOICE * 10) == [SegmentEnds(8000, speech_final=False)]


def test_running_speech_can_be_recut_too() -> None:
    query = check(parse(RAW))
    ear = RecutEar(SpeechEngine().open(query), query, 0.5)
    ends = [mark for mark in ear.hear(VOICE * 150) if isinstance(mark, SegmentEnds)]
    assert ends == [SegmentEnds(4000 * i, speech_final=True) for i in range(1, 31)]
    assert callable(ear.words(0, 4000, final=True))


async def test_a_rule_cuts_one_channel_elsewhere(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(engine=EchoEngine(1000))
    settings.board.set(Rule({"encoding": "linear16"}, Faults(only_channel=1, cut_every_s=0.7)))
    async with connected(settings, RAW + TWO) as client:
        await client.send(BOTH * 25, '{"type":"Finalize","channel":1}', BOTH * 9)
        await trio.sleep(0.1)
    got = shown(client.of("Results"))
    assert [one[1:3] for one in got if one[0] == 0] == [(0, 1), (1, 2), (2, 3)]
    assert [one[1:] for one in got if one[0] == 1] == [
        *[(0, 0.7, "fs"), (0.7, 1.4, "fs"), (1.4, 2.1, "fs")],
        *[(2.1, 2.5, "fsF"), (2.5, 3.2, "fs")],
    ]


async def test_a_strike_makes_a_channel_late_or_dumb(autojump_clock: MockClock) -> None:
    settings = SimulatorSettings(engine=EchoEngine(1000))
    async with connected(settings, RAW + TWO) as client:
        await client.send(BOTH * 10)
        await trio.sleep(1)
        settings.board.strike(Faults(only_channel=0, channel_delay_s=2))
        await client.send(BOTH * 10)
        await trio.sleep(1)
        settings.board.strike(Faults(only_channel=1, drop_result_every=1))
        await client.send(BOTH * 10, CLOSE)
        await client.ended()
    got = [(at, *_shown(m)[:2]) if m["type"] == "Results" else (at, m["type"]) for at, m in client.messages]
    assert got == [
        *[(0, 0, 0), (0, 1, 0)],
        *[(1, 1, 1), (3, 0, 1)],
        *[(4, 0, 2), (4, 0, 3), (4, "Metadata")],
    ]


@pytest.mark.parametrize("faults", [{"only_channel": -1}, {"channel_delay_s": -1.0}, {"cut_every_s": -0.5}])
def test_impossible_faults_of_channels_are_refused(faults: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Faults(**faults)

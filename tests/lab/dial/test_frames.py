"""How audio is cut, and what order is left of it."""

from __future__ import annotations

import random

from tests.lab.dial.calls import mulaw, recording

from trio_asr.lab.dial.frames import HELD, Disorder, frames
from trio_asr.lab.dial.settings import Faults


def test_frames_are_due_when_their_last_sample_was_spoken() -> None:
    played = recording(0.05)
    cut = frames(played, 20, Faults(), separate=False)
    assert [(f.due, f.first, f.samples, f.at_ms) for f in cut] == [
        (0.02, 0, 160, 0.0),
        (0.04, 160, 160, 20.0),
        (0.05, 320, 80, 40.0),
    ]
    assert b"".join(f.audio for f in cut) == played.audio


def test_from_any_sample_on() -> None:
    played = mulaw(0.05)
    cut = frames(played, 20, Faults(), 200, separate=False)
    assert [(f.first, f.audio) for f in cut] == [
        (200, played.audio[400:720]),
        (360, played.audio[720:]),
    ]


def test_legs_take_turns() -> None:
    played = mulaw(0.04)
    cut = frames(played, 20, Faults(), separate=True)
    assert [(f.leg, f.first, f.audio) for f in cut] == [
        (0, 0, played.audio[0:320:2]),
        (1, 0, played.audio[1:320:2]),
        (0, 160, played.audio[320::2]),
        (1, 160, played.audio[321::2]),
    ]


def test_a_late_track_keeps_its_times() -> None:
    cut = frames(mulaw(0.06), 20, Faults(late_track=(0.02, 30)), separate=True)
    assert [(f.leg, f.at_ms, round(f.due, 6)) for f in cut] == [
        (0, 0, 0.02),
        (1, 0, 0.02),
        (0, 20, 0.04),
        (0, 40, 0.06),
        (1, 20, 0.07),
        (1, 40, 0.09),
    ]


def test_lost_audio_is_lost_to_the_sample() -> None:
    cut = frames(recording(0.1), 20, Faults(lose=(0.025, 25)), separate=False)
    assert [(f.first, f.samples) for f in cut] == [(0, 160), (160, 40), (400, 160), (560, 160), (720, 80)]
    assert [f.first for f in frames(recording(0.1), 20, Faults(lose=(0.0, 80)), separate=False)] == [640]
    assert frames(recording(0.1), 20, Faults(lose=(0.05, 80)), 400, separate=False) == []


def test_a_jump_of_the_clock() -> None:
    cut = frames(recording(0.06), 20, Faults(clock_jump=(0.02, 1000)), separate=False)
    assert [f.at_ms for f in cut] == [0, 1020, 1040]


def test_messages_overtake_each_other_and_none_is_lost() -> None:
    disorder = Disorder[int](Faults(reordered=True), random.Random(1))
    delivered = [m for sent in range(200) for m in disorder.deliver(sent)] + disorder.rest()
    assert sorted(delivered) == list(range(200))
    late = [number for at, number in enumerate(delivered) if number < max(delivered[: at + 1])]
    assert 10 < len(late) < 60
    assert all(delivered.index(number + HELD) < delivered.index(number) for number in late if number < 190)


def test_messages_are_delivered_twice() -> None:
    disorder = Disorder[int](Faults(repeated=True), random.Random(1))
    delivered = [m for sent in range(200) for m in disorder.deliver(sent)]
    assert sorted(set(delivered)) == list(range(200))
    assert delivered == sorted(delivered)
    assert 210 < len(delivered) < 260


def test_order_is_kept_unless_asked_otherwise() -> None:
    disorder = Disorder[int](Faults(), random.Random(1))
    assert [m for sent in range(50) for m in disorder.deliver(sent)] == list(range(50))

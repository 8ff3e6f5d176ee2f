"""The pairing of legs: what goes into an entry, and when."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_asr.core.ingest.leg import Leg, PlatformClock
from trio_asr.core.ingest.mixer import Mixer, Piece
from trio_asr.wire.audio_format import Encoding, audio_format

ENTRY = 800  # samples of 100 ms


def mixer(legs: int = 1, encoding: Encoding = "mulaw", channels: int = 0, align_ms: int = 300) -> Mixer:
    fmt, clock = audio_format(8000, encoding, channels or legs), PlatformClock()
    of_leg = audio_format(8000, encoding, (channels or legs) // legs)
    return Mixer(fmt, [Leg(of_leg, clock) for _ in range(legs)], entry_ms=100, align_ms=align_ms)


def speak(of: Mixer, leg: int, audio: bytes, now: float, at_ms: float | None = None) -> None:
    position, whole = of.legs[leg].place(audio, at_ms, now * 1000)
    of.add(leg, position, whole, now)


def test_an_entry_is_complete_with_its_last_sample() -> None:
    of = mixer()
    for n in range(4):
        speak(of, 0, bytes([n]) * 160, n / 50)
    assert of.take(0.06) == []
    assert of.lacking_s(8000) == 0.02
    speak(of, 0, b"\x04" * 200, 0.08)
    (piece,) = of.take(0.08)
    assert piece == Piece(0, b"".join(bytes([n]) * 160 for n in range(5)))
    assert of.take(0.08, flush=True) == [Piece(800, b"\x04" * 40)]
    assert of.take(0.08, flush=True) == []
    assert of.due_at() == math.inf


def test_what_is_there_goes_out_at_a_pause() -> None:
    of = mixer()
    speak(of, 0, b"a" * 160, 1.0)
    assert of.due_at() == pytest.approx(1.2)
    assert of.take(1.19) == []
    assert of.take(1.2) == [Piece(0, b"a" * 160)]


def test_an_entry_ends_before_a_hole() -> None:
    of = mixer()
    speak(of, 0, b"a" * 160, 0, 0)
    speak(of, 0, b"b" * 160, 1, 1000)
    assert of.take(1) == [Piece(0, b"a" * 160)]
    assert of.take(1.2) == [Piece(8000, b"b" * 160)]


def test_interleaved_audio_is_one_leg_of_two_channels() -> None:
    of = mixer(channels=2)
    speak(of, 0, b"lr" * 900, 0)
    assert of.take(0) == [Piece(0, b"lr" * 800)]


@pytest.mark.parametrize(("encoding", "one", "two"), [("mulaw", b"a", b"b"), ("linear16", b"aA", b"bB")])
def test_two_legs_are_interleaved(encoding: Encoding, one: bytes, two: bytes) -> None:
    of = mixer(2, encoding)
    speak(of, 0, one * ENTRY, 0, 0)
    assert of.take(0) == []
    speak(of, 1, two * ENTRY, 0.2, 0)
    assert of.take(0.2) == [Piece(0, (one + two) * ENTRY)]


def test_a_leg_is_waited_for_once_and_then_not_until_it_is_heard_again() -> None:
    of = mixer(2)
    speak(of, 0, b"a" * ENTRY, 0.1)
    assert of.take(0.1) == []
    assert of.due_at() == pytest.approx(0.4)
    assert of.take(0.39) == []
    assert of.take(0.4) == [Piece(0, b"a\xff" * ENTRY)]
    assert of.misses == 1
    speak(of, 0, b"a" * ENTRY, 0.5)
    assert of.take(0.5) == [Piece(800, b"a\xff" * ENTRY)]
    assert of.misses == 1
    speak(of, 1, b"b" * ENTRY, 0.55)  # the audio of what went out, or what follows it: there is no clock
    speak(of, 0, b"a" * ENTRY, 0.6)
    assert of.take(0.6) == [Piece(1600, b"ab" * ENTRY)]
    speak(of, 0, b"a" * ENTRY, 0.7)
    assert of.take(0.7) == []  # it is waited for again


def test_late_audio_of_a_leg_goes_to_the_next_free_position() -> None:
    of = mixer(2)
    speak(of, 0, b"a" * ENTRY, 0.1, 0)
    assert of.take(0.1) == []
    assert of.take(0.4) == [Piece(0, b"a\xff" * ENTRY)]
    speak(of, 1, b"b" * ENTRY, 0.45, 0)
    speak(of, 0, b"a" * ENTRY, 0.5, 100)
    assert of.take(0.5) == [Piece(800, b"ab" * ENTRY)]
    assert of.legs[1].shift == 800


def test_a_hole_of_one_leg_is_silence_and_one_of_both_is_none() -> None:
    of = mixer(2)
    speak(of, 0, b"a" * 400, 0, 0)
    speak(of, 0, b"a" * 400, 0, 50)
    speak(of, 1, b"b" * 160, 0, 0)
    speak(of, 1, b"b" * 160, 0, 80)
    (piece,) = of.take(0)
    assert piece == Piece(0, b"ab" * 160 + b"a\xff" * 480 + b"ab" * 160)
    speak(of, 0, b"a" * ENTRY, 3, 3000)
    speak(of, 1, b"b" * ENTRY, 3, 3000)
    assert of.take(3) == [Piece(24_000, b"ab" * ENTRY)]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 500), st.integers(0, 1000)), max_size=40),
    st.sampled_from([0, 300]),
)
@settings(deadline=None)
def test_every_sample_goes_out_once_in_order(frames: list[tuple[int, int, int]], align_ms: int) -> None:
    """Whatever comes when: of each leg all samples, where the entries do not overlap or go back."""
    of, now = mixer(2, align_ms=align_ms), 0.0
    spoken, pieces = [bytearray(), bytearray()], list[Piece]()
    for leg, size, pause_ms in frames:
        now += pause_ms / 1000
        audio = bytes((len(spoken[leg]) + n) % 200 + 1 for n in range(size))
        spoken[leg] += audio
        speak(of, leg, audio, now)
        pieces += of.take(now)
    pieces += of.take(now, flush=True)
    at = 0
    for piece in pieces:
        assert piece.position >= at
        at = piece.position + len(piece.audio) // 2
    mixed = b"".join(piece.audio for piece in pieces)
    for leg in (0, 1):
        assert mixed[leg::2].replace(b"\xff", b"") == bytes(spoken[leg])

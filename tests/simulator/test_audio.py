import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.simulator.audio import SAMPLE_BYTES, Decoder, deinterleave, interleave, is_silent
from trio_asr.simulator.vad import Detector, level_db


@given(st.sampled_from(sorted(SAMPLE_BYTES)), st.binary(max_size=200), st.lists(st.integers(0, 20)))
def test_half_a_sample_is_carried_to_the_next_message(encoding: str, data: bytes, sizes: list[int]) -> None:
    split, whole, got, at = Decoder(encoding), Decoder(encoding), b"", 0
    for size in sizes:
        got += split.feed(data[at : at + size])
        at += size
    got += split.feed(data[at:])
    assert got == whole.feed(data)
    assert len(got) == 2 * (len(data) // SAMPLE_BYTES[encoding])


@pytest.mark.parametrize(
    ("encoding", "codes", "samples"),
    [
        # The ends and the middle of the G.711 tables.
        ("mulaw", b"\x00\x7f\x80\xff\xaa", [-32124, 0, 32124, 0, 5372]),
        ("alaw", b"\x55\xd5\x2a\xaa", [-8, 8, -32256, 32256]),
        ("linear32", struct.pack("<5f", 0.0, 1.0, -1.0, 9.0, float("nan")), [0, 32767, -32767, 32767, 0]),
    ],
)
def test_known_samples(encoding: str, codes: bytes, samples: list[int]) -> None:
    assert list(struct.unpack(f"<{len(samples)}h", Decoder(encoding).feed(codes))) == samples


@given(st.sampled_from([1, 2, 4]), st.integers(1, 20), st.integers(0, 50), st.randoms(use_true_random=False))
def test_channels_are_put_together_and_taken_apart(width: int, n: int, frames: int, chance: Random) -> None:
    channels = [chance.randbytes(width * frames) for _ in range(n)]
    audio = interleave(channels, width)
    assert deinterleave(audio, n, width) == channels
    samples = [channel[at : at + width] for at in range(0, width * frames, width) for channel in channels]
    assert audio == b"".join(samples)


def test_silence() -> None:
    assert is_silent(b"")
    assert is_silent(bytes(100))
    assert not is_silent(bytes(99) + b"\1")


def tone(level: int, frames: int) -> list[bytes]:
    return [struct.pack("<160h", *([level, -level] * 80))] * frames


def test_levels_in_decibels_of_full_scale() -> None:
    assert level_db(tone(3277, 1)[0]) == pytest.approx(-20, abs=0.01)
    assert level_db(bytes(320)) < -100


def test_speech_stands_out_of_silence_and_of_noise() -> None:
    detector = Detector()
    assert not any(map(detector.is_speech, tone(0, 50)))
    assert all(map(detector.is_speech, tone(3000, 50)))
    noisy = Detector()
    noise, voice = tone(80, 1000), tone(3000, 50)
    for frame in noise:
        noisy.is_speech(frame)
    assert not any(map(noisy.is_speech, noise[:50]))
    assert all(map(noisy.is_speech, voice))

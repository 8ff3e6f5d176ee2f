import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.simulator.audio import (
    SAMPLE_BYTES,
    Splitter,
    deinterleave,
    interleave,
    is_silent,
    linear16,
)
from trio_asr.simulator.vad import Detector, level_db


@given(
    st.sampled_from(sorted(SAMPLE_BYTES)),
    st.integers(1, 3),
    st.booleans(),
    st.binary(max_size=200),
    st.lists(st.integers(0, 20)),
)
def test_a_message_may_end_within_a_sample_or_between_channels(
    encoding: str, channels: int, mixed: bool, data: bytes, sizes: list[int]
) -> None:
    split, whole = (Splitter(encoding, channels, mixed=mixed) for _ in range(2))
    want, got, at = whole.feed(data), [b""] * (1 if mixed else channels), 0
    for size in [*sizes, len(data)]:
        pieces = split.feed(data[at : at + size])
        assert len({len(piece) for piece in pieces}) == 1
        got = [one + more for one, more in zip(got, pieces, strict=True)]
        at += size
    assert got == want
    width = 2 if mixed else SAMPLE_BYTES[encoding]
    assert len(got[0]) == width * (len(data) // (channels * SAMPLE_BYTES[encoding]))


def test_channels_are_heard_apart_or_mixed() -> None:
    audio = struct.pack("<6h", 100, 300, -5, -6, 32767, 32767)
    assert Splitter("linear16", 2).feed(audio) == [
        struct.pack("<3h", 100, -5, 32767),
        struct.pack("<3h", 300, -6, 32767),
    ]
    assert Splitter("linear16", 2, mixed=True).feed(audio) == [struct.pack("<3h", 200, -6, 32767)]
    assert Splitter("mulaw", 2).feed(b"abcd") == [b"ac", b"bd"]
    assert Splitter("mulaw", 2, mixed=True).feed(b"\x80\x80\xff\x00") == [struct.pack("<2h", 32124, -16062)]


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
    assert list(struct.unpack(f"<{len(samples)}h", linear16(codes, encoding))) == samples


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
    assert is_silent(b"\xff\x7f", "mulaw")
    assert is_silent(b"\xd5\x55", "alaw")
    assert not any(is_silent(code, encoding) for encoding in ("mulaw", "alaw") for code in (b"\0", b"\xfe"))
    assert not is_silent(b"\xd5", "mulaw")


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

"""Against the vectors of ITU-T G.711 and G.191, and against the decoder."""

from __future__ import annotations

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.client.g711 import Law, decode, encode

LAWS: list[Law] = ["mulaw", "alaw"]
# The reference signal of G.711, tables 5 and 6: 1 kHz at 0 dBm0, sampled at 8 kHz.
REFERENCE = {"mulaw": "1e0b0b1e9e8b8b9e", "alaw": "34212134b4a1a1b4"}
# Samples and their codes, worked out by hand from tables 1a to 2b.
CODES = {
    "mulaw": {
        0: 0xFF, 3: 0xFF, 4: 0xFE, -1: 0x7F, -5: 0x7E, 1000: 0xCE, -1000: 0x4E, 0x1234: 0xAD,
        0x4567: 0x8E, -0x4567: 0x0E, 32635: 0x80, 32767: 0x80, -32768: 0x00,
    },
    "alaw": {
        0: 0xD5, 15: 0xD5, 16: 0xD4, -1: 0x55, -17: 0x54, 0x1234: 0x87, 0x4567: 0xA4, -0x4567: 0x24,
        32767: 0xAA, -32768: 0x2A,
    },
}  # fmt: skip


def pcm(*samples: int) -> bytes:
    values = array.array("h", samples)
    assert values.itemsize == 2
    return b"".join(value.to_bytes(2, "little", signed=True) for value in samples)


def levels(law: Law, codes: bytes) -> list[int]:
    data = decode(codes, law)
    return [int.from_bytes(data[i : i + 2], "little", signed=True) for i in range(0, len(data), 2)]


@pytest.mark.parametrize("law", LAWS)
def test_codes_are_those_of_the_recommendation(law: Law) -> None:
    assert {sample: encode(pcm(sample), law)[0] for sample in CODES[law]} == CODES[law]


@pytest.mark.parametrize("law", LAWS)
def test_the_reference_signal_is_a_sine_at_0_dbm0(law: Law) -> None:
    codes = bytes.fromhex(REFERENCE[law])
    low, high = {"mulaw": (8828, 20860), "alaw": (8960, 20992)}[law]
    assert levels(law, codes) == [-low, -high, -high, -low, low, high, high, low]
    assert encode(decode(codes, law), law) == codes


@pytest.mark.parametrize("law", LAWS)
def test_each_code_s_level_has_that_code(law: Law) -> None:
    codes = bytes(range(256))
    back = encode(decode(codes, law), law)
    # Mu-law has two codes for zero.
    assert [code for code in codes if back[code] != code] == ([0x7F] if law == "mulaw" else [])


@pytest.mark.parametrize("law", LAWS)
def test_louder_is_never_quieter(law: Law) -> None:
    every = levels(law, encode(pcm(*range(-32768, 32768)), law))
    assert every == sorted(every)
    assert len(set(every)) == (255 if law == "mulaw" else 256)


@given(st.lists(st.integers(-32768, 32767)))
def test_what_comes_back_is_within_half_a_step(samples: list[int]) -> None:
    for law in LAWS:
        for sample, level in zip(samples, levels(law, encode(pcm(*samples), law)), strict=True):
            # A step doubles with the level, which mu-law counts from 132 below.
            assert abs(sample - level) <= max(8, (abs(sample) + 132) // 32) or abs(sample) > 32635


def test_an_odd_last_byte_is_left_out() -> None:
    assert encode(b"\0\0\7", "alaw") == b"\xd5"
    assert encode(b"", "mulaw") == decode(b"", "mulaw") == b""

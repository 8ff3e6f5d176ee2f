"""AudioSocket's frames, whole and split."""

from __future__ import annotations

import pytest

from trio_asr.wire.tlv import Tlv, TlvReader, write_tlv

_BYTES = b"\x01\x00\x02ab\x10\x01\x02" + bytes(258) + b"\x00\x00\x00"
_FRAMES = [Tlv(1, b"ab"), Tlv(0x10, bytes(258)), Tlv(0, b"")]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 100, len(_BYTES)])
def test_frames_may_be_split_anywhere(size: int) -> None:
    reader = TlvReader()
    found = [frame for at in range(0, len(_BYTES), size) for frame in reader.take(_BYTES[at : at + size])]
    assert found == _FRAMES


def test_an_incomplete_frame_waits() -> None:
    reader = TlvReader()
    assert reader.take(b"\x10\x00\x04abc") == []
    assert reader.take(b"d") == [Tlv(0x10, b"abcd")]


def test_what_is_written_is_read() -> None:
    assert b"".join(write_tlv(*frame) for frame in _FRAMES) == _BYTES


def test_a_payload_longer_than_a_length_can_say_is_an_error() -> None:
    with pytest.raises(OverflowError):
        write_tlv(0x10, bytes(65_536))

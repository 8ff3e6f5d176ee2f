"""The dialect of Asterisk's AudioSocket."""

from __future__ import annotations

import pytest

from trio_asr.ingest.dialect import UNSUPPORTED, Audio, Begin, Finish, Odd, Refusal
from trio_asr.ingest.dialects.audiosocket import RATES, AudioSocket
from trio_asr.wire.audio_format import audio_format

_UUID = bytes(range(1, 17))
_CALL = "01020304-0506-0708-090a-0b0c0d0e0f10"
_HELLO = b"\x01" + _UUID


def _heard(*messages: bytes, keyed: bool = False) -> list[object]:
    dialect = AudioSocket(keyed=keyed)
    return [effect for message in messages for effect in dialect.hear(message, text=False)]


@pytest.mark.parametrize(("kind", "rate"), RATES.items())
def test_the_type_of_audio_says_its_rate(kind: int, rate: int) -> None:
    assert _heard(_HELLO, bytes((kind,)) + b"abcd") == [Begin(_CALL, audio_format(rate)), Audio(b"abcd")]


def test_the_secret_half_of_a_uuid_is_not_in_the_id() -> None:
    assert _heard(_HELLO, b"\x10ab", keyed=True)[0] == Begin("090a0b0c0d0e0f10", audio_format(8_000))


def test_a_uuid_of_zeros_is_a_probe() -> None:
    assert _heard(b"\x01" + bytes(16)) == [Begin("", audio_format(8_000), probe=True)]


def test_audio_before_the_uuid_is_held() -> None:
    begin = Begin(_CALL, audio_format(8_000))
    assert _heard(b"\x10ab", _HELLO, b"\x10cd") == [Odd("early"), begin, Audio(b"ab"), Audio(b"cd")]


def test_an_odd_byte_goes_before_the_next() -> None:
    begin = Begin(_CALL, audio_format(8_000))
    odd = Odd("incomplete")
    assert _heard(_HELLO, b"\x10abc", b"\x10d") == [begin, odd, Audio(b"ab"), odd, Audio(b"cd")]


def test_what_is_no_audio() -> None:
    found = _heard(_HELLO, _HELLO, b"\x035", b"\xff\x02", b"\x42x", b"\x00")
    assert found == [Odd("start_again"), Odd("told"), Odd("event"), Finish("hangup")]


def test_empty_audio_is_counted() -> None:
    assert _heard(_HELLO, b"\x10") == [Begin(_CALL, audio_format(8_000)), Odd("empty")]


@pytest.mark.parametrize(
    ("messages", "kind", "code"),
    [
        ((_HELLO, b"\x18ab"), "sample_rate", UNSUPPORTED),
        ((_HELLO, b"\x10ab", b"\x12ab"), "format", UNSUPPORTED),
        ((b"\x01abc",), "call_id", 1008),
        ((_HELLO, b"\x01" + bytes(15) + b"a"), "call_id", 1008),
        ((b"\x10" + bytes(65_535), b"\x10ab"), "early", 1008),
    ],
)
def test_what_cannot_be_used_is_refused(messages: tuple[bytes, ...], kind: str, code: int) -> None:
    with pytest.raises(Refusal) as caught:
        _heard(*messages)
    assert (caught.value.kind, caught.value.code) == (kind, code)

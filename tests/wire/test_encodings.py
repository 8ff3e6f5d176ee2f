"""The names that encodings have in the field: each on both paths, and with parameters."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from trio_asr.wire import encodings
from trio_asr.wire.audio_format import Encoding, audio_format
from trio_asr.wire.encodings import ENCODINGS, MONO, RATED, Said
from trio_asr.wire.entries import decode_frame
from trio_asr.wire.frames import Frame, Junk

RATE = 8000
# Written out: a name that once was taken is taken for ever.
NAMES: dict[Encoding, str] = {
    "linear16": "linear16 pcm16 pcm l16 s16le pcm_s16le slin raw/slin raw x-raw base64 audio/pcm audio/l16 "
    "audio/x-l16 audio/raw audio/x-raw audio_encoding_linear_16",
    "mulaw": "mulaw mu-law mu_law ulaw u-law u_law pcmu pcm_mulaw pcm_ulaw g711u g711_u g711-u g711ulaw "
    "g711_ulaw g711-ulaw g711mulaw g711_mulaw g711-mulaw g.711u audio/basic audio/pcmu audio/x-pcmu "
    "audio/mulaw audio/x-mulaw audio/ulaw audio/x-ulaw raw/mulaw raw/ulaw audio_encoding_mulaw",
    "alaw": "alaw a-law a_law pcma pcm_alaw g711a g711_a g711-a g711alaw g711_alaw g711-alaw g.711a "
    "audio/pcma audio/x-pcma audio/alaw audio/x-alaw audio/x-alaw-basic raw/alaw audio_encoding_alaw",
}
EACH = [(name, encoding) for encoding, names in NAMES.items() for name in names.split()]


def _decode(encoding: Any, default: int = RATE, **more: Any) -> Frame:
    document = {"interaction_id": "call", "audio": "AQI=", "encoding": encoding} | more
    return decode_frame([b"data", json.dumps(document).encode()], default)


def test_these_are_all() -> None:
    lower = {name for name in ENCODINGS if name == name.lower()}
    assert lower == {name for name, _ in EACH} | {""}
    assert set(NAMES) == set(get_args(Encoding))


@pytest.mark.parametrize(("name", "encoding"), [*EACH, ("", "linear16")])
def test_a_name(name: str, encoding: Encoding) -> None:
    expected = audio_format(RATE, encoding, 1)
    for spelling in (name, name.upper()):
        frame = _decode(spelling)
        assert (frame.format, frame.odd, frame.pcm) == (expected, False, b"\1\2")
        assert frame.format is expected
    for spelling in (name.title(), f" {name} ", f"{name};rate=8000", f"{name.upper()} ; rate=8000"):
        frame = _decode(spelling)
        assert (frame.format, frame.pcm) == (expected, b"\1\2")
    assert _decode(name, channels=2).format is audio_format(RATE, encoding, 2)


# Taken in the lenient way alone.
MORE: dict[Encoding, str] = {
    "linear16": "s16 S16_LE lpcm LPCM audio/lpcm PCM_16 pcm-16 pcm16le pcm_s16_le LINEAR_16 linear-16 pcm.16 "
    "audio/x-pcm int16 audio/linear16 sln wav audio/wav audio/x-wav audio/wave",
    "mulaw": "audio/x-mu-law audio/mu-law \N{MICRO SIGN}-law \N{GREEK SMALL LETTER MU}-law g711.ulaw mu.law "
    "PCM-Mu-Law audio/g711u G.711-mu-law x-mulaw",
    "alaw": "g711.alaw PCM-A-Law x-alaw audio/a-law",
}


@pytest.mark.parametrize(
    ("name", "encoding"), [(name, encoding) for encoding, names in MORE.items() for name in names.split()]
)
def test_a_name_that_can_only_mean_one(name: str, encoding: Encoding) -> None:
    for spelling in (name, name.upper(), f" {name} ", f"{name};rate=8000", f"{name}/8000"):
        frame = _decode(spelling)
        assert (frame.format, frame.pcm) == (audio_format(RATE, encoding, 1), b"\1\2")


@pytest.mark.parametrize("name", [*(name for name, _ in EACH), *RATED])
def test_joints_make_no_other_name(name: str) -> None:
    for joint in ("-", "_", ".", " ", ""):
        first, x, last = name.rpartition("x-")
        said = encodings.read(first + x + last.replace("-", joint).replace("_", joint))
        assert said == encodings.read(name)
        assert said is not None
        assert said.encoding == ENCODINGS.get(name, "linear16")


@pytest.mark.parametrize(
    "value",
    ["G722", "g.722", "opus", "OPUS", "audio/opus", "amr", "AMR-WB", "g729", "gsm", "speex", "mp3", "g711",
     "G.711", "audio/g711", "pcm_s24le", "pcm_s16be", "s16be", "pcm_u8", "pcm_f32le", "linear32",
     "audio/l24;rate=8000", "PCMU-WB", "audio/pcma-wb", "slin192", "mulaw,alaw", "pcm8", "pcm-8", "u8", "s8",
     "S16_BE", "s24", "s24le", "s32", "f32le", "float", "float32", "linear", "pcm_24", "pcm24", "g722/8000",
     "opus/48000/2", "mp3_44100", "pcm_u8_8000", "pcm_s16be_8000", "audio/x-raw, format=F32LE, rate=8000",
     "audio/x-raw,format=S16BE", "L24/8000", "audio/ogg", "_", "-", "audio/", "x-", "16000", "pcm16000",
     "mulaw alaw", "law", "x" * 9999, "pcm\n16", 16, 16.0, True, [], ["mulaw"], {}, {"name": "mulaw"}],
)  # fmt: skip
def test_anything_else_is_junk_that_names_it(value: Any) -> None:
    with pytest.raises(Junk) as junk:
        _decode(value)
    shown = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    assert junk.value.kind == "encoding"
    assert str(junk.value) == f"encoding {shown} is not linear16, mulaw or alaw"


@pytest.mark.parametrize("value", [None, "", " ", ";", ";rate=8000"])
def test_none_is_linear16(value: str | None) -> None:
    assert _decode(value).format is audio_format(RATE, "linear16", 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("audio/L16;rate=16000", Said("linear16", 16_000)),
        ("audio/l16; rate=8000; channels=1", Said("linear16", 8000, 1)),
        ("audio/x-mulaw;rate=8000;channels=2", Said("mulaw", 8000, 2)),
        ('audio/PCMA; rate="8000" ;channels = "2"', Said("alaw", 8000, 2)),
        ("L16@16000h", Said("linear16", 16_000)),
        ("PCMU@8000h@20i@2c", Said("mulaw", 8000, 2)),
        ("PCMA@20i", Said("alaw")),
        ("audio/basic;rate=fast;channels=some", Said("mulaw")),
        ("audio/basic;bitrate=64000;maxchannels=6", Said("mulaw")),
        ("mulaw;" + "rate " * 50_000, Said("mulaw")),
        ("mulaw" + " " * 250_000 + ";rate=8000", Said("mulaw", 8000)),
        ("L16/8000", Said("linear16", 8000)),
        ("PCMU/8000/2", Said("mulaw", 8000, 2)),
        ("audio/L16/16000", Said("linear16", 16_000)),
        ("pcm_16000", Said("linear16", 16_000)),
        ("pcm_s16le_8000", Said("linear16", 8000)),
        ("pcm_16", Said("linear16")),
        ("ulaw_8000", Said("mulaw", 8000)),
        ("audio/x-raw, format=S16LE, rate=8000", Said("linear16", 8000)),
        ("audio/x-raw,format=(string)S16LE,rate=(int)8000,channels=(int)2", Said("linear16", 8000, 2)),
        ("audio/x-mulaw, rate=8000, channels=1", Said("mulaw", 8000, 1)),
        ("slin8", Said("linear16", only_rate=8000)),
        ("slin16_8000", Said("linear16", 8000, only_rate=16_000)),
        ("SLIN16", Said("linear16", only_rate=16_000)),
        ("raw/lpcm16;rate=16000", Said("linear16", 16_000, only_rate=16_000)),
    ],
)  # fmt: skip
def test_what_stands_in_an_encoding(text: str, said: Said) -> None:
    assert encodings.read(text) == said


def test_a_rate_that_only_the_encoding_names() -> None:
    assert _decode("audio/L16;rate=16000").sample_rate == 16_000
    assert _decode("audio/L16;rate=16000").format is audio_format(16_000, "linear16", 1)
    assert _decode("audio/L16;rate=16000", sample_rate=8000).format is audio_format(8000, "linear16", 1)
    assert _decode("audio/L16", 24_000).format is audio_format(24_000, "linear16", 1)
    with pytest.raises(Junk) as junk:
        _decode("audio/L16;rate=1600")
    assert str(junk.value) == "sample_rate 1600 is not within 4000..96000 Hz"


def test_channels_that_only_the_encoding_names() -> None:
    assert _decode("audio/L16;rate=8000;channels=2").format is audio_format(8000, "linear16", 2)
    assert _decode("PCMU@8000h@2c").format is audio_format(8000, "mulaw", 2)
    assert _decode("PCMU;channels=2", channels=1).format is audio_format(8000, "mulaw", 1)
    assert _decode("PCMU;channels=2", channels=None).format is audio_format(8000, "mulaw", 2)
    for channels in (0, 3):
        with pytest.raises(Junk) as junk:
            _decode(f"PCMU;channels={channels}")
        assert (junk.value.kind, str(junk.value)) == (
            "channels",
            f"audio of {channels} channels, not of 1..2",
        )


@pytest.mark.parametrize(("name", "rate"), RATED.items())
def test_a_rate_in_a_name_is_believed_only_beside_an_equal_one(name: str, rate: int) -> None:
    """Otherwise one of the two is wrong, and nobody knows which."""
    expected = audio_format(rate, "linear16", 1)
    assert _decode(name, sample_rate=rate).format is expected
    assert _decode(name.upper(), sample_rate=str(rate)).format is expected
    assert _decode(f"{name};rate={rate}").format is expected
    assert _decode(name, rate).format is expected
    wrong = 11_025
    others: list[dict[str, Any]] = [
        {"sample_rate": wrong}, {"encoding": f"{name};rate={wrong}"}, {"default": wrong},
    ]  # fmt: skip
    for more in others:
        with pytest.raises(Junk) as junk:
            _decode(**({"encoding": name} | more))
        assert junk.value.kind == "sample_rate"
        assert str(junk.value) == f"sample_rate 11025 is not that of the encoding's name, {rate} Hz"


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 16_000, 24_000, 44_100, 48_000, 96_000])
def test_a_format_is_the_one_object_that_stands_for_it(rate: int) -> None:
    """Whether it was made ready or not."""
    for name, encoding in ENCODINGS.items():
        expected = audio_format(rate, encoding, 1)
        assert _decode(name, sample_rate=rate).format is expected
        assert rate not in MONO or MONO[rate][name] is expected

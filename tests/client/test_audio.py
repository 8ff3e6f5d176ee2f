from __future__ import annotations

import array
import builtins
import itertools
import math
import struct
import wave
from typing import TYPE_CHECKING, Any

import pytest

from trio_asr.client import g711
from trio_asr.client.audio import AudioError, Recording, load
from trio_asr.samples import ALL, shipped_samples
from trio_asr.wire.audio_format import audio_format

if TYPE_CHECKING:
    from pathlib import Path

    from trio_asr.client.g711 import Law

HZ = 440
CODES = bytes(range(256)) * 2
TAGS: dict[Law, int] = {"alaw": 6, "mulaw": 7}


def tone(path: Path, *, rate: int, channels: int = 1, width: int = 2, length: float = 0.5) -> Path:
    """A sine of half full scale on the first channel, silence on the others."""
    peak = 2 ** (8 * width - 2)
    data = bytearray()
    for i in range(int(rate * length)):
        value = round(peak * math.sin(2 * math.pi * HZ * i / rate))
        sample = bytes([value + 128]) if width == 1 else value.to_bytes(width, "little", signed=True)
        data += sample + (b"\x80" if width == 1 else bytes(width)) * (channels - 1)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(bytes(data))
    return path


def wav(path: Path, audio: bytes, *, tag: int, channels: int = 1, bits: int = 8, rate: int = 8000) -> Path:
    """A WAV file with a chunk of odd length before the audio, as some recorders write it."""
    width = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, bits) + b"\0\0"
    chunks = [(b"fmt ", head), (b"LIST", b"odd\0"[:3]), (b"data", audio)]
    body = b"".join(
        name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
        for name, content in chunks
    )
    path.write_bytes(b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WAVE" + body)
    return path


def channel(recording: Recording, number: int) -> array.array[int]:
    assert recording.format.encoding == "linear16"
    return array.array("h", recording.audio)[number :: recording.format.channels]


def crossings(samples: array.array[int]) -> int:
    return sum(1 for a, b in itertools.pairwise(samples) if a < 0 <= b)


def test_a_fitting_wav_is_taken_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tone(tmp_path / "a.wav", rate=8000)
    refuse_av(monkeypatch)
    with wave.open(str(path)) as recording:
        assert load(path) == Recording(recording.readframes(10**6))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_g711_is_taken_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: Law, channels: int
) -> None:
    path = wav(tmp_path / "a.wav", CODES, tag=TAGS[encoding], channels=channels)
    refuse_av(monkeypatch)
    own = Recording(CODES, audio_format(8000, encoding, channels))
    assert load(path) == load(path, encoding=encoding) == own
    assert load(path, encoding="linear16").audio == g711.decode(CODES, encoding)
    other: Law = "alaw" if encoding == "mulaw" else "mulaw"
    expected = g711.encode(g711.decode(CODES, encoding), other)
    assert load(path, encoding=other) == Recording(expected, audio_format(8000, other, channels))


def test_an_extensible_header_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wav(tmp_path / "a.wav", CODES, tag=7)
    data = path.read_bytes()
    guid = b"\7\0" + bytes.fromhex("000000001000800000aa00389b71")
    extended = data[20:36].replace(b"\7\0", b"\xfe\xff", 1) + struct.pack("<HHI", 22, 8, 0) + guid
    path.write_bytes(data[:16] + len(extended).to_bytes(4, "little") + extended + data[38:])
    refuse_av(monkeypatch)
    assert load(path) == Recording(CODES, audio_format(8000, "mulaw"))


def test_two_channels_stay_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tone(tmp_path / "a.wav", rate=8000, channels=2)
    refuse_av(monkeypatch)
    recording = load(path)
    assert recording.format is audio_format(8000, "linear16", 2)
    assert recording.seconds == 0.5
    assert crossings(channel(recording, 0)) == pytest.approx(HZ * 0.5, abs=2)
    assert not any(channel(recording, 1))
    assert load(path, encoding="mulaw").audio == g711.encode(recording.audio, "mulaw")


@pytest.mark.parametrize("rate", [8000, 16_000], ids=["as it is", "resampled"])
def test_more_than_two_channels_are_refused(tmp_path: Path, rate: int) -> None:
    path = tone(tmp_path / "many.wav", rate=rate, channels=3)
    with pytest.raises(AudioError, match=r"many\.wav: 3 channels, not 1 or 2"):
        load(path)


def test_a_file_cut_short_has_what_is_there(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", CODES, tag=7, channels=2)
    path.write_bytes(path.read_bytes()[:-3])
    assert load(path).audio == CODES[:-4]


def test_the_first_seconds_are_whole_samples() -> None:
    recording = Recording(bytes(32_000), audio_format(8000, "linear16", 2))
    assert recording.first(0.25) == Recording(bytes(8000), recording.format)
    assert recording.first(9.0) == recording


@pytest.mark.parametrize(
    ("rate", "channels", "width"), [(16000, 2, 2), (16000, 1, 2), (44100, 2, 3), (48000, 2, 4), (11025, 1, 1)]
)
def test_any_wav_becomes_16_bit_at_the_rate(tmp_path: Path, rate: int, channels: int, width: int) -> None:
    recording = load(tone(tmp_path / "a.wav", rate=rate, channels=channels, width=width))
    assert recording.format is audio_format(8000, "linear16", channels)
    assert recording.seconds == pytest.approx(0.5, abs=0.005)
    samples = channel(recording, 0)
    assert crossings(samples) == pytest.approx(HZ * 0.5, abs=2)
    assert max(samples) == pytest.approx(16384, rel=0.05)
    if channels == 2:
        assert max(channel(recording, 1)) <= 1


def test_another_rate_can_be_asked_for(tmp_path: Path) -> None:
    assert load(tone(tmp_path / "a.wav", rate=8000), 16_000).seconds == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"", "can be decoded"), (b"not audio at all" * 100, "can be decoded")],
)
def test_what_is_no_recording_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=f"x.wav.*{reason}"):
        load(path)


def test_a_wav_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no audio"):
        load(tone(tmp_path / "a.wav", rate=8000, length=0))


def refuse_av(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_av(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "av":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_av)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tone(tmp_path / "a.wav", rate=16000)
    refuse_av(monkeypatch)
    with pytest.raises(AudioError, match="extra 'demo'"):
        load(path)


def test_the_shipped_samples_fit_the_phone() -> None:
    samples = shipped_samples()
    assert len(samples) == 3 == ALL
    for sample in samples:
        recording = load(sample.audio)
        assert recording.format.plain
        assert 10 <= recording.seconds <= 20
        assert len(sample.text.split()) > 30

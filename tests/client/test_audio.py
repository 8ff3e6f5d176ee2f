from __future__ import annotations

import array
import builtins
import itertools
import math
import wave
from typing import TYPE_CHECKING, Any

import pytest

from trio_asr.client.audio import AudioError, load, seconds
from trio_asr.samples import ALL, shipped_samples

if TYPE_CHECKING:
    from pathlib import Path

HZ = 440


def tone(path: Path, *, rate: int, channels: int = 1, width: int = 2, length: float = 0.5) -> Path:
    """A sine of half full scale on every channel."""
    peak = 2 ** (8 * width - 2)
    data = bytearray()
    for i in range(int(rate * length)):
        value = round(peak * math.sin(2 * math.pi * HZ * i / rate))
        sample = bytes([value + 128]) if width == 1 else value.to_bytes(width, "little", signed=True)
        data += sample * channels
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(bytes(data))
    return path


def crossings(pcm: bytes) -> int:
    samples = array.array("h", pcm)
    return sum(1 for a, b in itertools.pairwise(samples) if a < 0 <= b)


def test_a_fitting_wav_is_taken_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tone(tmp_path / "a.wav", rate=8000)
    refuse_av(monkeypatch)
    with wave.open(str(path)) as recording:
        assert load(path) == recording.readframes(10**6)


@pytest.mark.parametrize(
    ("rate", "channels", "width"), [(8000, 2, 2), (16000, 1, 2), (44100, 2, 3), (48000, 2, 4), (11025, 1, 1)]
)
def test_any_wav_becomes_mono_16_bit_at_the_rate(
    tmp_path: Path, rate: int, channels: int, width: int
) -> None:
    pcm = load(tone(tmp_path / "a.wav", rate=rate, channels=channels, width=width))
    assert seconds(pcm) == pytest.approx(0.5, abs=0.005)
    assert crossings(pcm) == pytest.approx(HZ * 0.5, abs=2)
    assert max(array.array("h", pcm)) == pytest.approx(16384, rel=0.05)


def test_another_rate_can_be_asked_for(tmp_path: Path) -> None:
    assert seconds(load(tone(tmp_path / "a.wav", rate=8000), 16000), 16000) == pytest.approx(0.5, abs=0.005)


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
        assert 10 <= seconds(load(sample.audio)) <= 20
        assert len(sample.text.split()) > 30

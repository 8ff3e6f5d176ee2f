"""Recordings at telephone quality: 16-bit little-endian mono PCM at one sample rate.

A WAV file already in that format is read as is. Everything else goes through PyAV (FFmpeg), which decodes
every common format and resamples properly.
"""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE_BYTES = 2
DEFAULT_RATE = 8000
INSTALL_DEMO = "in the extra 'demo': in a checkout, scripts/setup.sh demo"


class AudioError(Exception):
    """A recording that cannot be used; the message names the file and the reason."""


def load(path: Path, rate: int = DEFAULT_RATE) -> bytes:
    """Return the whole recording at `rate` Hz, mixed down to one channel.

    Raises:
        AudioError: The file is missing, unreadable or empty, or needs PyAV and PyAV is not installed.
    """
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    try:
        pcm = _read_fitting_wav(path, rate)
        if pcm is None:
            pcm = _convert(path, rate)
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from error
    if not pcm:
        raise AudioError(f"{path}: no audio in it")
    return pcm


def seconds(pcm: bytes, rate: int = DEFAULT_RATE) -> float:
    """Return the playing time of `pcm` in seconds."""
    return len(pcm) / SAMPLE_BYTES / rate


def _read_fitting_wav(path: Path, rate: int) -> bytes | None:
    """Return the samples of a WAV file that needs no conversion, else None."""
    try:
        with wave.open(str(path)) as recording:
            shape = (recording.getnchannels(), recording.getsampwidth(), recording.getframerate())
            if shape != (1, SAMPLE_BYTES, rate):
                return None
            pcm: bytes = recording.readframes(recording.getnframes())
    except (wave.Error, EOFError):
        return None
    return pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES]


def _convert(path: Path, rate: int) -> bytes:
    try:
        # Large, and needed only for recordings in other formats.
        import av  # noqa: PLC0415
        from av.error import FFmpegError  # noqa: PLC0415
    except ImportError:
        raise AudioError(
            f"{path}: not a {rate} Hz mono 16-bit WAV; converting it needs PyAV, {INSTALL_DEMO}"
        ) from None
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    pcm = bytearray()
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: no audio in it")
            for frame in container.decode(audio=0):
                for converted in resampler.resample(frame):
                    pcm += bytes(converted.planes[0])[: converted.samples * SAMPLE_BYTES]
            for converted in resampler.resample(None):
                pcm += bytes(converted.planes[0])[: converted.samples * SAMPLE_BYTES]
    except FFmpegError as error:
        raise AudioError(f"{path}: not a recording that can be decoded ({error.strerror})") from error
    return bytes(pcm)

"""Recordings as telephony has them: one or two channels, linear16 or G.711, at one sample rate.

A WAV file in such a format is read as it is. Everything else goes through PyAV (FFmpeg), which decodes every
common format and resamples properly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from trio_asr.client import g711, wav
from trio_asr.wire.audio_format import MOST_CHANNELS, Encoding, Format, audio_format

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_RATE = 8000
PLAIN = audio_format(DEFAULT_RATE)
INSTALL_DEMO = "in the extra 'demo': in a checkout, scripts/setup.sh demo"
_HEAD = 12  # bytes that tell a WAV file


class AudioError(Exception):
    """A recording that cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class Recording:
    """Raw audio and its format; two channels are interleaved."""

    audio: bytes
    format: Format = PLAIN

    @property
    def seconds(self) -> float:
        """The playing time."""
        return len(self.audio) / self.format.bytes_per_s

    def first(self, seconds: float) -> Recording:
        """Return the first `seconds` of it."""
        return replace(self, audio=self.audio[: round(seconds * self.format.rate) * self.format.width])


def load(path: Path, rate: int = DEFAULT_RATE, encoding: Encoding | None = None) -> Recording:
    """Return a whole recording at `rate` Hz, with its one or two channels.

    Without `encoding` it keeps its own if that is G.711 and needs no resampling, and is linear16 otherwise.

    Raises:
        AudioError: The file is missing, unreadable or empty, has more than two channels, or needs PyAV and
            PyAV is not installed.
    """
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    try:
        recording = _read_fitting_wav(path, rate) or _convert(path, rate)
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from error
    if not recording.audio:
        raise AudioError(f"{path}: no audio in it")
    return recording if encoding is None else in_encoding(recording, encoding)


def in_encoding(recording: Recording, encoding: Encoding) -> Recording:
    """Return the recording in an encoding; in its own it is unchanged."""
    own = recording.format
    if own.encoding == encoding:
        return recording
    audio = recording.audio
    if own.encoding != "linear16":
        audio = g711.decode(audio, own.encoding)
    if encoding != "linear16":
        audio = g711.encode(audio, encoding)
    return Recording(audio, audio_format(own.rate, encoding, own.channels))


def _read_fitting_wav(path: Path, rate: int) -> Recording | None:
    """Return the recording in a WAV file that needs no conversion, else None."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        found = wav.read(head + file.read()) if wav.is_wav(head) else None
    if found is None:
        return None
    _check_channels(path, found.channels)
    if found.encoding is None or found.rate != rate:
        return None
    form = audio_format(rate, found.encoding, found.channels)
    return Recording(found.audio[: len(found.audio) // form.width * form.width], form)


def _check_channels(path: Path, channels: int) -> None:
    if not 1 <= channels <= MOST_CHANNELS:
        raise AudioError(f"{path}: {channels} channels, not 1 or 2")


def _convert(path: Path, rate: int) -> Recording:
    try:
        # Large, and needed only for recordings in other formats.
        import av  # noqa: PLC0415
        from av.error import FFmpegError  # noqa: PLC0415
    except ImportError:
        raise AudioError(
            f"{path}: not a WAV of {rate} Hz and 16 bit or G.711; converting it needs PyAV, {INSTALL_DEMO}"
        ) from None
    pcm = bytearray()
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: no audio in it")
            channels = container.streams.audio[0].channels
            _check_channels(path, channels)
            form = audio_format(rate, "linear16", channels)
            layout = "stereo" if channels == MOST_CHANNELS else "mono"
            resampler = av.AudioResampler(format="s16", layout=layout, rate=rate)
            for frame in chain(container.decode(audio=0), (None,)):  # None: what is left
                for converted in resampler.resample(frame):
                    pcm += bytes(converted.planes[0])[: converted.samples * form.width]
    except FFmpegError as error:
        raise AudioError(f"{path}: not a recording that can be decoded ({error.strerror})") from error
    return Recording(bytes(pcm), form)

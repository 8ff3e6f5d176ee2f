"""Stamped audio of one or two channels: each channel of a call has stamps with a number of its own. Pure."""

from __future__ import annotations

from trio_asr.simulator.audio import deinterleave, interleave
from trio_asr.simulator.stamps import stamp
from trio_asr.wire.audio_format import Format

LEG = 4000  # from the number of a call's first channel to that of its second
ROLES = ("customer", "agent")


def number_of(call: int, channel: int) -> int:
    """Return the number in the stamps of a call's channel."""
    return call + channel * LEG


def sample_width(form: Format) -> int:
    """Return the bytes of one sample of one channel."""
    return form.width // form.channels


def stamped(form: Format, call: int, first: int, count: int) -> bytes:
    """Return `count` samples of a call from sample `first` on."""
    width = sample_width(form)
    legs = [stamp(number_of(call, channel), first, count, width) for channel in range(form.channels)]
    return interleave(legs, width)


def separated(form: Format, audio: bytes) -> list[bytes]:
    """Return the audio of each channel; the bytes of an incomplete last sample are left out."""
    return deinterleave(audio[: len(audio) // form.width * form.width], form.channels, sample_width(form))


def hushed(form: Format, audio: bytes, first: int, count: int) -> bytes:
    """Return the audio with `count` samples of its last channel, from `first` on, made digital silence."""
    legs, width = separated(form, audio), sample_width(form)
    silence = form.silence[:width] * count
    legs[-1] = legs[-1][: first * width] + silence + legs[-1][(first + count) * width :]
    return interleave(legs, width)

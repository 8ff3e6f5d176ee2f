"""A call of two people on two channels, composed of a recording in which they take turns on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_asr.client.audio import Recording, in_encoding, load
from trio_asr.lab.rig.legs import ROLES
from trio_asr.simulator.audio import interleave
from trio_asr.wire.audio_format import audio_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_asr.samples import Sample

SAMPLE = "delivery"
"""The recording whose words a small model recognises in mu-law, too."""
FIRST = ROLES.index("agent")
"""The channel of who speaks first, in the recordings that come with the package."""
PAUSE_S = 0.3
"""Silence that ends a turn; the recordings have half a second of it."""
INTERRUPTING = 2
"""The turn that begins before the one before it is over ..."""
EARLIER_S = 1.1
"""... this much before the end of its silence."""
_STEP_S = 0.02


def two_people(samples: Sequence[Sample]) -> tuple[Recording, tuple[str, ...]]:
    """Return a recording of two channels in mu-law, and what is said on each of them.

    Where the wheel has not installed its sample, the first one will do.
    """
    sample = next((one for one in samples if one.name == SAMPLE), samples[0])
    recording, lines = load(sample.audio), sample.text.splitlines()
    rate, legs = recording.format.rate, channels(recording)
    stereo = Recording(interleave(legs, 2), audio_format(rate, "linear16", len(legs)))
    said = tuple(" ".join(lines[(channel - FIRST) % 2 :: 2]) for channel in range(2))
    return in_encoding(stereo, "mulaw"), said


def channels(recording: Recording) -> list[bytes]:
    """Return the channels of a linear16 recording of one, of equal length: people take turns."""
    legs = [bytearray() for _ in ROLES]
    for number, turn in enumerate(_turns(recording)):
        leg = legs[(FIRST + number) % len(legs)]
        begin = max(map(len, legs))
        if number == INTERRUPTING:
            begin -= 2 * round(EARLIER_S * recording.format.rate)
        leg += bytes(begin - len(leg)) + turn
    longest = max(map(len, legs))
    return [bytes(leg.ljust(longest, b"\0")) for leg in legs]


def _turns(recording: Recording) -> list[bytes]:
    """Return the turns, each with the silence after it."""
    step = round(_STEP_S * recording.format.rate) * recording.format.width
    turns, quiet = [bytearray()], 0
    for at in range(0, len(recording.audio), step):
        piece = recording.audio[at : at + step]
        if not any(piece):
            quiet += 1
        else:
            if quiet * _STEP_S >= PAUSE_S:
                turns.append(bytearray())
            quiet = 0
        turns[-1] += piece
    return [bytes(turn) for turn in turns]

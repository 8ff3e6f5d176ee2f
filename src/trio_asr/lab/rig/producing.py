"""How a call's audio is cut into entries, by good producers and bad ones. Pure.

Times are in seconds after the call began.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from trio_asr.client.audio import Recording
from trio_asr.client.producer import Call, Entry, entry

FRAME_MS = 20
ODD_BYTES = 577
# Stamps in 8 bits are exact where cuts are so many samples apart, and not 31 times as many.
GRID = 8
SCRAMBLED = 4  # frames whose order is any
LONGEST_OVERLAP = 14 * GRID
AGAIN = 0.2  # of the frames are followed by a repeat of other cut


class Due(NamedTuple):
    """An entry to add at a time."""

    due: float
    ends: bool
    entry: Entry


def whole(call_of: Callable[[int], Call], epoch_ms: int) -> Iterator[Due]:
    """Generate a frame after the other, frame `i` as `call_of(i)` has it."""
    for i in range(call_of(0).frame_count(FRAME_MS)):
        # A frame exists only once its last sample was spoken.
        yield Due((i + 1) * FRAME_MS / 1000, False, call_of(i).frame(i, FRAME_MS, epoch_ms + i * FRAME_MS))


def odd(call: Call, epoch_ms: int) -> Iterator[Due]:
    """Generate frames of `ODD_BYTES`, most of which are cut in mid-sample, at slightly above real time."""
    audio = call.recording.audio
    every_ms = ODD_BYTES * 1000 // call.recording.format.bytes_per_s
    for i, first in enumerate(range(0, len(audio), ODD_BYTES)):
        document = call.envelope(i + 1, epoch_ms + every_ms * i)
        piece = entry(document, audio[first : first + ODD_BYTES], call.entries)
        yield Due((i + 1) * every_ms / 1000, False, piece)


def scrambled(call: Call, chance: random.Random, epoch_ms: int) -> Iterator[Due]:
    """Generate entries whose positions alone tell their order.

    Each begins within the one before, some are followed by a repeat of the same samples in another cut, and
    of each four the order is any.
    """
    samples = call.recording.format.rate * FRAME_MS // 1000
    count = call.frame_count(FRAME_MS)
    for group in range(0, count, SCRAMBLED):
        cuts = []
        for i in range(group, min(group + SCRAMBLED, count)):
            for _ in range(1 + (chance.random() < AGAIN)):
                first = max(0, i * samples - chance.randrange(0, LONGEST_OVERLAP, GRID))
                cuts.append((first, (i + 1) * samples - first))
        chance.shuffle(cuts)
        due = min(group + SCRAMBLED, count) * FRAME_MS / 1000
        for first, length in cuts:
            spoken_ms = epoch_ms + first * 1000 // call.recording.format.rate
            yield Due(due, False, call.cut(first, length, None, spoken_ms))


def twice(frames: Iterator[Due]) -> Iterator[Due]:
    """Generate every frame twice."""
    for frame in frames:
        yield frame
        yield frame


def swapped(frames: Iterator[Due]) -> Iterator[Due]:
    """Swap two of every five frames."""
    for i, frame in enumerate(frames):
        if i % 5 == 3 and (following := next(frames, None)):
            yield following._replace(due=frame.due)
        yield frame


def thinned(frames: Iterator[Due], chance: random.Random) -> Iterator[Due]:
    """Leave out a tenth of the frames, but not the first."""
    for i, frame in enumerate(frames):
        if not i or chance.random() >= 0.1:
            yield frame


def without(frames: Iterator[Due], first_s: float, last_s: float) -> Iterator[Due]:
    """Leave out the frames that end within this time."""
    return (frame for frame in frames if not first_s < frame.due <= last_s)


def end_of(interaction_id: str, epoch_ms: int) -> Entry:
    """Return the entry that ends a call."""
    return Call(interaction_id, Recording(b"")).end(epoch_ms)

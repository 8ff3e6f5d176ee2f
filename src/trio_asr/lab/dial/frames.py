"""How a call's audio is cut into what a platform sends, and when it is sent. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from trio_asr.client.audio import Recording
from trio_asr.lab.dial.settings import Faults
from trio_asr.lab.rig.legs import separated
from trio_asr.wire.audio_format import audio_format

OFTEN = 0.2  # of the messages are held back, or repeated
HELD = 3  # messages overtake one that is held back, so that one of the same leg is among them

M = TypeVar("M")


class Frame(NamedTuple):
    """Audio of one leg, or of all of them interleaved.

    `due` is when it is sent, in seconds of the call: a frame exists once its last sample was spoken. `first`
    is its first sample's place in the call. `at_ms` is when that was by the platform's clock, which had 0 at
    the call's first sample.
    """

    due: float
    first: int
    samples: int
    leg: int
    audio: bytes
    at_ms: float


def frames(
    recording: Recording, chunk_ms: int, faults: Faults, first: int = 0, *, separate: bool
) -> list[Frame]:
    """Return the frames of a recording from sample `first` on, in the order of sending.

    They are `chunk_ms` long; where audio is lost, and at the end, they may be shorter. With `separate` each
    channel has its own.
    """
    form = recording.format
    legs = separated(form, recording.audio) if separate else [recording.audio]
    width = audio_format(form.rate, form.encoding).width if separate else form.width
    chunk = form.rate * chunk_ms // 1000
    found = []
    for begin, end in _stretches(first, len(recording.audio) // form.width, faults, form.rate):
        for at in range(begin, end, chunk):
            until = min(at + chunk, end)
            at_ms = at * 1000 / form.rate + _jump(faults, at / form.rate)
            for leg, audio in enumerate(legs):
                due = until / form.rate + (_lateness(faults, at / form.rate) if leg else 0)
                found.append(Frame(due, at, until - at, leg, audio[at * width : until * width], at_ms))
    return sorted(found, key=lambda frame: frame.due)


def _stretches(first: int, last: int, faults: Faults, rate: int) -> Iterator[tuple[int, int]]:
    """Generate the borders of what is not lost."""
    if faults.lose is not None:
        at, ms = faults.lose
        gap = round(at * rate), round(at * rate) + ms * rate // 1000
        if first < gap[0]:
            yield first, min(gap[0], last)
        first = max(first, gap[1])
    yield first, last


def _jump(faults: Faults, at_s: float) -> int:
    return faults.clock_jump[1] if faults.clock_jump is not None and at_s >= faults.clock_jump[0] else 0


def _lateness(faults: Faults, at_s: float) -> float:
    return (
        faults.late_track[1] / 1000 if faults.late_track is not None and at_s >= faults.late_track[0] else 0
    )


class Disorder(Generic[M]):
    """Delivers messages out of order, or twice."""

    def __init__(self, faults: Faults, chance: random.Random) -> None:
        self._faults, self._chance = faults, chance
        self._held: M | None = None
        self._overtaken = 0

    def deliver(self, message: M) -> list[M]:
        """Return what is delivered now, as this message is sent."""
        if self._faults.reordered and self._held is None and self._chance.random() < OFTEN:
            self._held, self._overtaken = message, 0
            return []
        twice = self._faults.repeated and self._chance.random() < OFTEN
        delivered = [message, message] if twice else [message]
        self._overtaken += 1
        return delivered + self.rest() if self._overtaken == HELD else delivered

    def rest(self) -> list[M]:
        """Return what is still held back, as nothing more comes."""
        held, self._held = self._held, None
        return [] if held is None else [held]

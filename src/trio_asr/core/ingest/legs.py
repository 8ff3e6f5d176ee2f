"""The legs of one series, from messages to audio for entries: in order, placed, and paired."""

from __future__ import annotations

import math

from trio_asr.core.ingest.leg import Leg, PlatformClock
from trio_asr.core.ingest.mixer import Mixer, Piece
from trio_asr.core.ingest.tally import Tally
from trio_asr.core.ingest.window import Message, Window
from trio_asr.wire.audio_format import Format, audio_format

HOLD_S = 0.2  # the longest that a message waits for one before it


class Legs:
    """`count` legs of a series in `fmt`, which began at `now`; times are in seconds of a monotonic clock."""

    __slots__ = ("_began", "_held_until", "_legs", "_mixer", "_rate", "_tally", "_windows")

    def __init__(
        self, fmt: Format, count: int, *, entry_ms: int, align_ms: int, tally: Tally, now: float
    ) -> None:
        clock, of_leg = PlatformClock(), audio_format(fmt.rate, fmt.encoding, fmt.channels // count)
        self._legs = [Leg(of_leg, clock) for _ in range(count)]
        self._mixer = Mixer(fmt, self._legs, entry_ms=entry_ms, align_ms=align_ms)
        self._rate, self._tally, self._began = fmt.rate, tally, now
        self._windows: dict[int, Window] = {}  # of legs whose messages are numbered
        self._held_until = math.inf

    def hear(self, audio: bytes, now: float, leg: int, at_ms: float | None, number: int | None) -> bool:
        """Take a message of a leg; return whether there is a whole sample by now.

        It begins at `at_ms` by the platform's clock, and is the `number`th, if messages may change places.
        """
        self._tally.audio_bytes += len(audio)
        if number is None:
            return self._place(audio, at_ms, now, leg)
        window = self._windows.setdefault(leg, Window())
        ready = [self._place(*one, now=now, leg=leg) for one in window.take(number, Message(audio, at_ms))]
        self._tally.repeats += window.repeats
        window.repeats = 0
        if not any(self._windows.values()):
            self._held_until = math.inf
        elif self._held_until == math.inf:
            self._held_until = now + HOLD_S
        return any(ready)

    def _place(self, audio: bytes, at_ms: float | None, now: float, leg: int) -> bool:
        position, audio = self._legs[leg].place(audio, at_ms, (now - self._began) * 1000)
        self._mixer.add(leg, position, audio, now)
        return bool(audio)  # an empty message is no audio, and half a sample is none yet

    def end_of(self, leg: int) -> int:
        """Return where the audio of a leg ends, a sample that is incomplete included."""
        return self._legs[leg].next + self._legs[leg].incomplete

    def lose(self, seconds: float) -> None:
        """Leave out so much, as the platform says that it is missing."""
        samples = round(seconds * self._rate)
        self._tally.holes += 1
        self._tally.hole_s += samples / self._rate
        for leg in self._legs:
            leg.skip(samples)

    def take(self, now: float, *, flush: bool = False) -> list[Piece]:
        """Return the audio of the entries that are due; with `flush`, all there is."""
        if flush or now >= self._held_until:
            for leg, window in self._windows.items():
                for message in window.close():
                    self._place(*message, now=now, leg=leg)
            self._held_until = math.inf
        misses = self._mixer.misses
        pieces = self._mixer.take(now, flush=flush)
        self._tally.misses += self._mixer.misses - misses
        for one in self._legs:
            if one.missing or one.restarts or one.late:
                self._tally.take(one, self._rate)
        return pieces

    def due_at(self) -> float:
        """Return when an entry is due though nothing more comes; infinity if there is nothing."""
        return min(self._mixer.due_at(), self._held_until)

    def lacking_s(self) -> float:
        """Return how much audio the next entry lacks, in seconds."""
        return self._mixer.lacking_s(self._rate)

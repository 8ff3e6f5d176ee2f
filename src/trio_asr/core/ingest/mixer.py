"""The pairing of legs: out of the audio of one or two legs come entries of the call, in its format.

An entry has `entry_ms` of audio. Less goes out only at a pause, before a hole, and at the end. Where there
are two legs, it waits for the other one for a while, since platforms deliver in bursts; then it goes out with
silence in its place. A leg that was missed so is not waited for again until it is heard again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

from trio_asr.core.ingest.leg import Leg
from trio_asr.wire.audio_format import SILENCE, Format


class Piece(NamedTuple):
    """Audio for one entry: whole samples of all channels, and the position of the first."""

    position: int
    audio: bytes


class _Run:
    """Audio of one leg without a hole."""

    __slots__ = ("audio", "begin", "end")

    def __init__(self, begin: int, end: int, audio: bytes) -> None:
        self.begin, self.end = begin, end
        self.audio = bytearray(audio)


class Mixer:
    """The legs of one series, and what they have that is in no entry yet. Times are in seconds."""

    __slots__ = (
        "_entry", "_full_since", "_heard_at", "_missed", "_patience_s", "_pause_s", "_runs", "_silence",
        "_width", "legs", "misses",
    )  # fmt: skip

    def __init__(self, fmt: Format, legs: Sequence[Leg], *, entry_ms: int, align_ms: int) -> None:
        self.legs = legs
        self.misses = 0  # entries for which a leg was waited for in vain
        self._width = fmt.width // len(legs)  # of a sample of one leg
        self._silence = SILENCE[fmt.encoding]
        self._entry = max(1, fmt.rate * entry_ms // 1000)
        self._patience_s = align_ms / 1000 if len(legs) > 1 else 0.0
        self._pause_s = 2 * entry_ms / 1000 + self._patience_s  # a socket is left alone for one entry
        self._runs: list[deque[_Run]] = [deque() for _ in legs]
        self._missed = [False] * len(legs)
        self._full_since = math.inf  # since when there is a whole entry, but for a leg
        self._heard_at = -math.inf

    def add(self, leg: int, position: int, audio: bytes, now: float) -> None:
        """Add audio of a leg, which lies behind all that it had."""
        self._heard_at = now
        self._missed[leg] = False
        runs, samples = self._runs[leg], len(audio) // self._width
        if runs and (last := runs[-1]).end == position:
            last.audio += audio
            last.end += samples
        elif audio:
            runs.append(_Run(position, position + samples, audio))

    def take(self, now: float, *, flush: bool = False) -> list[Piece]:
        """Return the entries that are due; with `flush`, all there is."""
        pieces = list[Piece]()
        while (piece := self._next(now, flush=flush)) is not None:
            pieces.append(piece)
        return pieces

    def due_at(self) -> float:
        """Return when an entry is due though nothing more comes; infinity if there is nothing."""
        if not any(self._runs):
            return math.inf
        return min(self._heard_at + self._pause_s, self._full_since + self._patience_s)

    def lacking_s(self, rate: int) -> float:
        """Return how much audio the next entry lacks, in seconds."""
        begun = [runs[-1].end - runs[0].begin for runs in self._runs if runs]
        return max(0, self._entry - max(begun, default=0)) / rate

    def _next(self, now: float, *, flush: bool) -> Piece | None:
        begins = [runs[0].begin for runs in self._runs if runs]
        if not begins:
            return None
        begin = min(begins)
        ends = [runs[-1].end if runs else -1 for runs in self._runs]
        if max(ends) < begin + self._entry and not flush and now < self.due_at():
            return None
        until = min(begin + self._entry, self._until(begin))
        complete = until == begin + self._entry or max(ends) > until
        late = [leg for leg, end in enumerate(ends) if end < until and not self._missed[leg]]
        if complete and late and self._full_since == math.inf:
            self._full_since = now
        if (late or not complete) and not flush:
            if now < self.due_at():
                return None
            for leg in late:
                self._missed[leg] = True
            self.misses += bool(late)
        self._full_since = math.inf
        return Piece(begin, self._cut(begin, until))

    def _until(self, begin: int) -> int:
        """Return where the audio from `begin` ends, or meets a hole that all legs have."""
        if len(self._runs) == 1:
            return self._runs[0][0].end
        until = begin
        for run in sorted((run for runs in self._runs for run in runs), key=lambda run: run.begin):
            if run.begin > until:
                break
            until = max(until, run.end)
        return until

    def _cut(self, begin: int, until: int) -> bytes:
        """Take a stretch out of all legs, with silence for what a leg does not have."""
        lanes = [self._lane(leg, begin, until) for leg in range(len(self.legs))]
        if len(lanes) == 1:
            return lanes[0]
        mixed = bytearray(len(lanes[0]) * len(lanes))
        code: Literal["B", "H"] = "B" if self._width == 1 else "H"
        with memoryview(mixed).cast(code) as samples:
            for at, lane in enumerate(lanes):
                samples[at :: len(lanes)] = memoryview(lane).cast(code)
        return bytes(mixed)

    def _lane(self, leg: int, begin: int, until: int) -> bytes:
        runs, width, at = self._runs[leg], self._width, begin
        parts: list[bytes] = []
        while runs and runs[0].begin < until:
            run = runs[0]
            parts.append(self._silence * (run.begin - at))
            at = min(run.end, until)
            size = (at - run.begin) * width
            parts.append(bytes(run.audio[:size]))
            if at == run.end:
                runs.popleft()
            else:
                del run.audio[:size]
                run.begin = at
        if at < until:
            parts.append(self._silence * (until - at))
            if self.legs[leg].next < until:
                self.legs[leg].fill(until)
        return b"".join(parts)

"""Where the audio of one leg lies: its samples are counted, and its platform's clock says what is missing.

No platform's numbers can be used as they are: counters count messages or chunks, from 0 or 1, for a leg or for
all; times begin anywhere, and jitter by some milliseconds. So a leg's audio goes on where it was, unless the
platform's clock has gone ahead by more than the tolerance: then so much is missing.
"""

from __future__ import annotations

from typing import NamedTuple

from trio_asr.wire.audio_format import Format

TOLERANCE_MS = (
    15.0  # of the platform's clock; jitter is +-2 ms, and the shortest frames that get lost have 20
)
# A hole cannot be longer than the time that has passed. But platforms may start with some seconds in a burst.
SLACK_MS = 5000.0
FIRST_MS = 1000.0  # a second leg may be heard so much later than the first, or earlier, and be of one clock


class PlatformClock:
    """A platform's clock: which of its times is the sample 0. The legs of a series share it."""

    __slots__ = ("latest", "latest_ms", "zero_ms")

    def __init__(self) -> None:
        self.zero_ms: float | None = None
        self.latest_ms = 0.0  # the latest time that it gave for any leg
        self.latest = 0  # the position of that audio


class Placed(NamedTuple):
    """Audio of whole samples, where it begins, and what the platform's clock said.

    `missing` is how many samples the platform has dropped before it. `restarted`: its clock went back, or ahead
    by more than can be.
    """

    position: int
    audio: bytes
    missing: int = 0
    restarted: bool = False


class Leg:
    """The audio of one leg, in `fmt`, which is that of the leg alone."""

    __slots__ = ("_clock", "_format", "_rest", "_shift", "_zero_ms", "heard", "next", "owed")

    def __init__(self, fmt: Format, clock: PlatformClock) -> None:
        self.next = 0  # the position of the next sample
        self.heard = False
        # Samples of silence that went out because this leg's audio did not come in time. If it comes after all it
        # is later by as much, at most.
        self.owed = 0
        self._format = fmt
        self._clock = clock
        self._zero_ms: float | None = None  # of this leg: it may have a clock of its own after a restart
        self._shift = 0  # samples by which its audio lies later than its clock says
        self._rest = b""  # part of a sample

    @property
    def shift(self) -> int:
        """By how many samples its audio lies too late at present."""
        return self._shift

    @property
    def incomplete(self) -> bool:
        """Whether part of a sample waits for the rest."""
        return bool(self._rest)

    def place(self, audio: bytes, at_ms: float | None, elapsed_ms: float) -> Placed:
        """Return where the next audio lies, which begins at `at_ms` by the platform's clock, if it has one.

        Part of a sample waits for the rest. `elapsed_ms` is the time since the series began.
        """
        missing, restarted = 0, False
        if at_ms is not None:
            missing, restarted = self._listen(at_ms, elapsed_ms)
        self.heard = True
        width = self._format.width
        if self._rest:
            audio = self._rest + audio
        if left := len(audio) % width:
            self._rest = audio[-left:]
            audio = audio[:-left]
        else:
            self._rest = b""
        if at_ms is not None and at_ms >= self._clock.latest_ms:
            self._clock.latest_ms, self._clock.latest = at_ms, self.next
        placed = Placed(self.next, audio, missing, restarted)
        self.next += len(audio) // width
        return placed

    def skip(self, samples: int) -> None:
        """Leave samples out, as the platform says itself."""
        self.next += samples

    def fill(self, until: int) -> None:
        """Note that silence went out in this leg's place, up to a position."""
        self.owed += until - self.next
        self.next = until

    def _listen(self, at_ms: float, elapsed_ms: float) -> tuple[int, bool]:
        """Move on by what is missing before audio of this time; return it, and whether the clock restarted."""
        clock, rate = self._clock, self._format.rate
        if clock.zero_ms is None:
            clock.zero_ms = clock.latest_ms = at_ms
        if self._zero_ms is None:
            self._begin(at_ms, clock.zero_ms)
        assert self._zero_ms is not None
        true = round((at_ms - self._zero_ms) * rate / 1000)
        ahead = true + self._shift - self.next
        tolerance = TOLERANCE_MS * rate / 1000
        if -tolerance <= ahead <= tolerance:
            return 0, False
        if ahead < 0 and -ahead <= self.owed + tolerance:
            # What went out as silence comes after all.
            self._shift += -ahead
            self.owed = max(0, self.owed + ahead)
            return 0, False
        if ahead > 0 and self.next + ahead <= (elapsed_ms + SLACK_MS) * rate / 1000:
            position = max(self.next, true)  # a pause gives back what was shifted
            self._shift = position - true
            missing, self.next = position - self.next, position
            self.owed = 0
            return missing, False
        self._zero_ms = at_ms - (self.next - self._shift) * 1000 / rate
        return 0, True

    def _begin(self, at_ms: float, zero_ms: float) -> None:
        """Set this leg's zero with its first audio."""
        clock, rate = self._clock, self._format.rate
        if abs(at_ms - clock.latest_ms) <= FIRST_MS:
            true = round((at_ms - zero_ms) * rate / 1000)
            if true - self.next > TOLERANCE_MS * rate / 1000:
                self.next = true
            self._zero_ms, self._shift = zero_ms, max(0, self.next - true)
        else:  # each leg counts from a beginning of its own
            self.next = max(self.next, clock.latest)
            self._zero_ms = at_ms - self.next * 1000 / rate

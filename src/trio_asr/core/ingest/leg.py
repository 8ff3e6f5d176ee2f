"""Where the audio of one leg lies: its samples are counted, and its platform's clock says what is missing.

No platform's numbers can be used as they are: counters count messages or chunks, from 0 or 1, for a leg or
for all; times begin anywhere, and jitter by some milliseconds. So a leg's audio goes on where it was, unless
the platform's clock has gone ahead by more than the tolerance: then so much is missing.
"""

from __future__ import annotations

from trio_asr.core.ingest.origin import MOST_GAP_S
from trio_asr.wire.audio_format import Format

TOLERANCE_MS = (
    15.0  # of the platform's clock; jitter is +-2 ms, and the shortest frames that get lost have 20
)
# A hole cannot be longer than the time that has passed. But platforms may start with some seconds in a burst.
SLACK_MS = 5000.0
FIRST_MS = 1000.0  # what a second leg's first time may differ by from any that the first leg's clock may show


class PlatformClock:
    """A platform's clock: which of its times is the sample 0. The legs of a series share it."""

    __slots__ = ("latest", "latest_at_ms", "latest_ms", "zero_at_ms", "zero_ms")

    def __init__(self) -> None:
        self.zero_ms: float | None = None
        self.zero_at_ms = 0.0  # when that was heard, by our clock
        self.latest_ms = 0.0  # the latest time that it gave for any leg
        self.latest_at_ms = 0.0  # when that was heard, by our clock
        self.latest = 0  # the position of that audio

    def may_show(self, at_ms: float, elapsed_ms: float) -> bool:
        """Return whether audio that is heard now may be of this time.

        Legs may come in turns, each with some seconds at once; and a leg may be silent for any time.
        """
        assert self.zero_ms is not None
        first = self.zero_ms + elapsed_ms - self.zero_at_ms
        last = self.latest_ms + elapsed_ms - self.latest_at_ms
        return min(first, last) - FIRST_MS <= at_ms <= max(first, last) + FIRST_MS


class Leg:
    """The audio of one leg, in `fmt`, which is that of the leg alone."""

    __slots__ = (
        "_clock", "_format", "_most_owed", "_per_ms", "_rest", "_tolerance", "_width", "_zero_ms",
        "late", "missing", "next", "owed", "restarts", "shift",
    )  # fmt: skip

    def __init__(self, fmt: Format, clock: PlatformClock) -> None:
        self.next = 0  # the position of the next sample
        self.shift = 0  # samples by which its audio lies later than its clock says
        # Samples of silence that went out because this leg's audio did not come in time, or was missing by a
        # clock that jitters. If it comes after all, it lies later by as much, at most.
        self.owed = 0
        # Since they were last looked at: holes, each with its samples; restarts of the clock; samples that
        # are late.
        self.missing: list[int] = []
        self.restarts = self.late = 0
        self._format, self._width = fmt, fmt.width
        self._clock = clock
        self._per_ms = fmt.rate / 1000
        self._tolerance = TOLERANCE_MS * self._per_ms
        self._most_owed = round(SLACK_MS * self._per_ms)
        self._zero_ms: float | None = None  # of this leg: it may have a clock of its own after a restart
        self._rest = b""  # part of a sample

    @property
    def incomplete(self) -> bool:
        """Whether part of a sample waits for the rest."""
        return bool(self._rest)

    def place(self, audio: bytes, at_ms: float | None, elapsed_ms: float) -> tuple[int, bytes]:
        """Return where the next audio lies, and its whole samples; part of a sample waits for the rest.

        It begins at `at_ms` by the platform's clock, if that has one. `elapsed_ms` is the time since the
        series began.
        """
        if at_ms is not None:
            if (
                self._zero_ms is None
                or abs((at_ms - self._zero_ms) * self._per_ms + self.shift - self.next) > self._tolerance
            ):
                self._listen(at_ms, elapsed_ms)
            clock = self._clock
            if at_ms >= clock.latest_ms:
                clock.latest_ms, clock.latest_at_ms, clock.latest = at_ms, elapsed_ms, self.next
        if self._width > 1:
            audio = self._rest + audio
            left = len(audio) % self._width
            self._rest = audio[len(audio) - left :]
            audio = audio[: len(audio) - left]
        position = self.next
        self.next += len(audio) // self._width
        return position, audio

    def skip(self, samples: int) -> None:
        """Leave samples out, as the platform says itself."""
        self.next += samples

    def fill(self, until: int) -> None:
        """Note that silence went out in this leg's place, up to a position."""
        self.owed += until - self.next
        self.next = until

    def _listen(self, at_ms: float, elapsed_ms: float) -> None:
        """Move on by what is missing before audio of this time, if it is not the clock that is wrong."""
        clock = self._clock
        if clock.zero_ms is None:
            clock.zero_ms = at_ms - self.next / self._per_ms  # the first messages may have no time
            clock.latest_ms, clock.zero_at_ms, clock.latest_at_ms = at_ms, elapsed_ms, elapsed_ms
        if self._zero_ms is None:
            self._begin(at_ms, clock.zero_ms, elapsed_ms)
        assert self._zero_ms is not None
        true = round((at_ms - self._zero_ms) * self._per_ms)
        ahead = true + self.shift - self.next
        if abs(ahead) <= self._tolerance:
            return
        if 0 < -ahead <= self.owed + self._tolerance:
            # What went out as silence comes after all.
            self.shift -= ahead
            self.late -= ahead
            self.owed = max(0, self.owed + ahead)
        elif (
            0 < ahead <= MOST_GAP_S * 1000 * self._per_ms
            and self.next + ahead <= (elapsed_ms + SLACK_MS) * self._per_ms
        ):
            position = max(self.next, true)  # a pause gives back what was shifted
            self.owed = min(self.owed + ahead, self._most_owed)  # if it was jitter, it is taken back
            self.shift = position - true
            if position > self.next:
                self.missing.append(position - self.next)
            self.next = position
        else:
            self._zero_ms = at_ms - (self.next - self.shift) / self._per_ms
            self.restarts += 1

    def _begin(self, at_ms: float, zero_ms: float, elapsed_ms: float) -> None:
        """Set this leg's zero with its first audio."""
        clock = self._clock
        if clock.may_show(at_ms, elapsed_ms):
            true = round((at_ms - zero_ms) * self._per_ms)
            if true - self.next > self._tolerance:
                self.next = true
            self._zero_ms, self.shift = zero_ms, max(0, self.next - true)
        else:  # each leg counts from a beginning of its own
            self.next = max(self.next, clock.latest + round((elapsed_ms - clock.latest_at_ms) * self._per_ms))
            self._zero_ms = at_ms - self.next / self._per_ms

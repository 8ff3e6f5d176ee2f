"""What a load run does and when, as both the run and its feeder know it. Pure.

Calls begin one after the other within the ramp, spread over the frame's interval as real callers are. Then
all of them are in progress, for a warm-up and for the measured window; then they end, as they began.
"""

from __future__ import annotations

import msgspec

WARM_UP_S = 3.0  # after the ramp: the first flush of a call and its connection are no steady state
TICKS = 4  # a frame's interval is cut into so many sends, each with its share of the calls
ENDS_S = 2.0  # within which all calls end


class Plan(msgspec.Struct, frozen=True):
    """A run. Times are in seconds after the start."""

    calls: int
    seconds: float
    frame_ms: int = 20
    rate: int = 8000
    ramp_s: float = 5.0
    redis_url: str = ""
    audio_stream: str = "audio_stream"
    end_stream: str = "call_end"

    @property
    def tick_s(self) -> float:
        """From one send to the next."""
        return self.frame_ms / 1000 / TICKS

    @property
    def window(self) -> tuple[float, float]:
        """What is measured."""
        begin = self.ramp_s + WARM_UP_S
        return begin, begin + self.seconds

    @property
    def frame_samples(self) -> int:
        return self.rate * self.frame_ms // 1000

    @property
    def length_s(self) -> float:
        """Until the last call has ended."""
        return self.window[1] + ENDS_S

    def name(self, number: int) -> str:
        """The id of call `number` (from 1)."""
        return f"load-{number:05}"

    def first_tick(self, number: int) -> int:
        """The tick in which a call begins."""
        return int(self.ramp_s * (number - 1) / self.calls / self.tick_s)

    def frames(self, number: int) -> int:
        """How many frames a call has: it ends as long after the window as its place among the calls says."""
        end = self.window[1] + ENDS_S * (number - 1) / self.calls
        return int((end / self.tick_s - self.first_tick(number)) // TICKS)

    def samples(self, number: int) -> int:
        """How many samples a call has in all."""
        return self.frames(number) * self.frame_samples

    def spoken_s(self, number: int, sample: int) -> float:
        """When the frame with the sample before `sample` is due to be added."""
        frame = max(0, sample - 1) // self.frame_samples
        return (self.first_tick(number) + (frame + 1) * TICKS) * self.tick_s

"""What a load run does and when, as both the run and its feeder know it. Pure.

Calls begin one after the other within the ramp, spread over the frame interval as real callers are. All of
them are then in progress, for a warm-up and for the measured window. Then they end in the order in which they
began.
"""

from __future__ import annotations

import msgspec

from trio_asr.client.producer import Entries
from trio_asr.core.fleet.places import DEFAULT_GROUP, Places
from trio_asr.wire.audio_format import Encoding, Format, audio_format

WARM_UP_S = 3.0  # after the ramp: the first flush of a call and its connection are not steady state
TICKS = 4  # sends per frame interval, each for its share of the calls
ENDS_S = 2.0  # within which all calls end


class Plan(msgspec.Struct, frozen=True):
    """The plan of a run. Times are in seconds after the start."""

    calls: int
    seconds: float
    frame_ms: int = 20
    rate: int = 8000
    ramp_s: float = 5.0
    redis_url: str = ""
    audio_stream: str = "audio_stream"
    end_stream: str = "call_end"
    channels: int = 1
    encoding: Encoding = "linear16"
    entries: Entries = Entries.JSON
    shards: int = 1
    group: str = DEFAULT_GROUP

    @property
    def places(self) -> Places:
        """Where the calls are: in the shards of a fleet, if there are any."""
        return Places(self.shards, self.group)

    @property
    def format(self) -> Format:
        """The format of the calls' audio."""
        return audio_format(self.rate, self.encoding, self.channels)

    @property
    def input(self) -> str:
        """What is fed, in words."""
        legs = "mono" if self.channels == 1 else "two channels"
        shards = "" if self.shards == 1 else f", {self.shards} shards"
        return f"{legs}, {self.encoding}, {self.entries}{shards}"

    @property
    def tick_s(self) -> float:
        """Seconds from one send to the next."""
        return self.frame_ms / 1000 / TICKS

    @property
    def window(self) -> tuple[float, float]:
        """The measured window, in seconds after the start."""
        begin = self.ramp_s + WARM_UP_S
        return begin, begin + self.seconds

    @property
    def frame_samples(self) -> int:
        return self.rate * self.frame_ms // 1000

    @property
    def length_s(self) -> float:
        """Seconds until the last call has ended."""
        return self.window[1] + ENDS_S

    def name(self, number: int) -> str:
        """Return the id of call `number` (from 1)."""
        return f"load-{number:05}"

    def first_tick(self, number: int) -> int:
        """Return the tick in which a call begins."""
        return int(self.ramp_s * (number - 1) / self.calls / self.tick_s)

    def frames(self, number: int) -> int:
        """Return the number of frames of a call.

        Calls end one after the other once the window is over, in the order of their numbers.
        """
        end = self.window[1] + ENDS_S * (number - 1) / self.calls
        return int((end / self.tick_s - self.first_tick(number)) // TICKS)

    def samples(self, number: int) -> int:
        """Return the number of samples of a call."""
        return self.frames(number) * self.frame_samples

    def spoken_s(self, number: int, sample: int) -> float:
        """Return when the frame of the last sample before `sample` is due, in seconds after the start."""
        frame = max(0, sample - 1) // self.frame_samples
        return (self.first_tick(number) + (frame + 1) * TICKS) * self.tick_s

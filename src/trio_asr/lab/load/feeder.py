"""The feeder: a separate process that adds all calls' frames on time and reports how late it was.

All times are counted from the start, so that a late tick does not delay those after it. There is one pipeline
per tick; commands are packed by hand, and a frame costs a few microseconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from trio_asr.client.redis import connect
from trio_asr.lab.load.frames import Frames
from trio_asr.lab.load.plan import TICKS, Plan

KEEP_S = 60.0  # older audio is trimmed: the readers are long past it
TRIM_EVERY_S = 5.0


class Fed(msgspec.Struct):
    """The feeder's report at its end."""

    frames: int = 0
    late: int = 0  # added more than a frame's length late
    latest_s: float = 0.0
    cpu_s: float = 0.0


class Order(msgspec.Struct, frozen=True):
    """The feeder's orders: the plan, and when it begins on both clocks."""

    plan: Plan
    start: float  # time.monotonic(), common to all processes
    epoch_ms: int  # at the start


class Feeder:
    """The feeder of a plan's calls."""

    def __init__(self, order: Order) -> None:
        self.fed = Fed()
        self._plan, self._order = order.plan, order
        self._client = connect(order.plan.redis_url)
        self._connection = self._client.connection_pool.get_connection()
        # Indexed by the tick within a frame's interval: each tick has its own calls.
        self._lanes: list[list[Frames]] = [[] for _ in range(TICKS)]
        self._to_begin = list(range(order.plan.calls, 0, -1))

    def run(self) -> Fed:
        """Feed all calls; return the report."""
        plan, tick = self._plan, 0
        trim_at = KEEP_S
        while self._to_begin or any(self._lanes):
            due = self._order.start + tick * plan.tick_s
            delay = due - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            self._tick(tick, due)
            if tick * plan.tick_s >= trim_at:
                trim_at += TRIM_EVERY_S
                self._trim(tick)
            tick += 1
        self.fed.cpu_s = time.process_time()
        self._client.close()
        return self.fed

    def _tick(self, tick: int, due: float) -> None:
        plan, lane = self._plan, self._lanes[tick % TICKS]
        timestamp_ms = self._order.epoch_ms + round(tick * plan.tick_s * 1000)
        commands = [frames.next(timestamp_ms) for frames in lane]
        added = len(commands)
        over = [frames for frames in lane if not frames.left]
        if over:
            commands += [frames.end(timestamp_ms) for frames in over]
            lane[:] = [frames for frames in lane if frames.left]
        # A frame exists only once its last sample was spoken: one interval after the call began.
        while self._to_begin and plan.first_tick(self._to_begin[-1]) <= tick:
            lane.append(Frames(plan, self._to_begin.pop()))
        if commands:
            self._send(commands)
            late_s = time.monotonic() - due
            self.fed.frames += added
            self.fed.latest_s = max(self.fed.latest_s, late_s)
            if late_s > plan.frame_ms / 1000:
                self.fed.late += added

    def _send(self, commands: Sequence[bytes]) -> None:
        send: Any = self._connection.send_packed_command
        send([b"".join(commands)], check_health=False)
        for _ in commands:
            self._connection.read_response()

    def _trim(self, tick: int) -> None:
        before = self._order.epoch_ms + round((tick * self._plan.tick_s - KEEP_S) * 1000)
        for prefix in self._plan.places.prefixes:
            self._client.xtrim(prefix + self._plan.audio_stream, minid=before, approximate=True)


def main(argument: str) -> int:
    """Carry out an order in JSON; the last line of the output is the report."""
    order = msgspec.json.decode(argument, type=Order)
    try:
        fed = Feeder(order).run()
    except redis.RedisError as error:
        print(f"The feeder cannot go on: {error}", file=sys.stderr)  # noqa: T201 (a program of its own)
        return 1
    print(msgspec.json.encode(fed).decode(), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""Moving over from the old worker, which must not work on the same calls as this one at the same time.

The old worker reads with XREADGROUP in the group of the configured name. This one has no consumers and moves
that group's position along with its floor. So the old worker would miss audio or get it twice, and each call
would be transcribed twice. Any consumer that reads in the group is therefore another program, and nothing is
started beside it. A consumer in another group is only reported: that is what a shadow run looks like.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from trio_asr.bus.base import Bus, BusForbids, Consumer
from trio_asr.config import RedisConfig
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.codes import Problem

# The old worker reads again at least every second or two, blocked or not. (Before 7.2, Redis counts from
# when a consumer last got an entry.)
ACTIVE_MS = 15_000


class ForeignConsumerError(Exception):
    """Another program reads the calls in our consumer group."""


class ForeignReaders:
    """The search, before a worker takes the lease, for programs that read the same calls."""

    def __init__(self, bus: Bus, config: RedisConfig, problems: Problems) -> None:
        self._bus, self._config, self._problems = bus, config, problems
        self._looked_around = self._blind = False
        self._log = problems.logger("migration")

    async def alone(self, *, starting: bool) -> bool:
        """Return whether no other program works on our calls.

        Raises:
            ForeignConsumerError: One does, and this worker has only just started.
            BusUnavailable: Redis does not answer.
        """
        if not self._looked_around:
            await self._look_around()
            self._looked_around = True
        consumer = None if self._config.allow_foreign_consumers else await self._foreign()
        now = trio.current_time()
        if consumer is None:
            self._problems.resolve(Problem.FOREIGN_CONSUMER, now)
            return True
        why = advice(consumer)
        if starting:
            raise ForeignConsumerError(why)
        self._problems.report(Problem.FOREIGN_CONSUMER, now, why)
        return False

    async def _foreign(self) -> Consumer | None:
        try:
            return latest(await self._bus.consumers())
        except BusForbids as error:
            self._cannot_look(error)
            return None

    async def _look_around(self) -> None:
        try:
            neighbour = latest(await self._bus.neighbours())
        except BusForbids as error:
            self._cannot_look(error)
            return
        if neighbour is not None:
            self._log.warning(
                "Another group of the audio stream is being read: if that program transcribes too, every "
                "call is transcribed twice, which is fine for a run in its shadow",
                group=neighbour.group,
                consumer=neighbour.name,
                idle_s=neighbour.idle_ms / 1000,
            )

    def _cannot_look(self, error: BusForbids) -> None:
        if not self._blind:
            self._blind = True
            self._log.warning("May not look whether another program reads the same calls", why=str(error))


def latest(consumers: Sequence[Consumer]) -> Consumer | None:
    """Return the consumer that read last, if that was recently."""
    active = [consumer for consumer in consumers if consumer.idle_ms < ACTIVE_MS]
    return min(active, key=lambda consumer: consumer.idle_ms, default=None)


def advice(consumer: Consumer) -> str:
    """Return one line that says who reads and what to do."""
    who = f"consumer {consumer.name!r} of group {consumer.group!r}"
    return (
        f"{who} read {consumer.stream} {consumer.idle_ms / 1000:.1f} s ago: that is another program, "
        "probably the old worker, and both would transcribe every call. Stop it (once it has not read for "
        f"{ACTIVE_MS // 1000} s this is no hindrance), or let this one run in its shadow first, with another "
        "redis.consumer_group (REDIS_CONSUMER_GROUP) and another redis.transcript_stream"
    )

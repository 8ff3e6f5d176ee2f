"""Moving over from the old worker: it and this one must not work on the same calls at once.

The old worker reads with XREADGROUP in the group of the configured name. This one has no consumers and moves
that group's position along with its floor, so that the old worker would miss audio or get it again, and each
call would be transcribed twice. Whoever reads in the group is therefore another program, and nothing is
started beside it.
"""

from __future__ import annotations

from trio_asr.bus.base import Bus, Consumer

# The old worker asks again at least every second or two, blocked or not.
ACTIVE_MS = 15_000


class ForeignConsumerError(Exception):
    """Another program reads the calls in our consumer group."""


async def foreign_consumer(bus: Bus) -> Consumer | None:
    """Return who has read in our group most recently, if that is not long ago."""
    active = [consumer for consumer in await bus.consumers() if consumer.idle_ms < ACTIVE_MS]
    return min(active, key=lambda consumer: consumer.idle_ms, default=None)


def advice(consumer: Consumer, group: str) -> str:
    """Say in one line who that is and what to do."""
    read = f"read {consumer.stream} {consumer.idle_ms / 1000:.1f} s ago"
    return (
        f"consumer {consumer.name!r} of group {group!r} {read}: that is another program, probably the old "
        "worker, and both would transcribe every call. Stop it (once it has not read for "
        f"{ACTIVE_MS // 1000} s this is no hindrance), or let this one run in its shadow first, with another "
        "redis.consumer_group (REDIS_CONSUMER_GROUP) and another redis.transcript_stream"
    )

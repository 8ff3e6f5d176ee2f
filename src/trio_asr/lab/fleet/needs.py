"""What a fleet of a given size needs of Redis and of Deepgram, by measured costs. Pure."""

from __future__ import annotations

import math

from trio_asr.lab.fleet.scenes import Shape

# Measured with Valkey 9.1 and the append-only file on: what one frame costs the server, written alone and by
# 16 in a pipeline, in us of CPU.
WRITE_US = {(20, 1): 28.0, (20, 16): 8.9, (100, 1): 29.0, (100, 16): 13.8}
READ_US = 1.3  # an entry
COMMIT_US = 26.0
COMMITS_PER_CALL_S = 1.0  # an assumption: one partial or final a second
SHARE_OF_CORE = 0.6
ENTRY_BYTES = {20: 607, 100: 2365}
TRIMMED_S = 15.0  # how much audio of a call is kept with `redis.trim`
LINGER_S, DIAL_S = 0.3, 0.0015
BETWEEN_S = 0.3  # the last chunk, the heir's look at the lease, what it loads: measured with few calls
FEW_SHARDS, MANY_CALLS = 10, 50


def primaries(calls: int, frame_ms: int, together: int) -> int:
    """Return how many Redis primaries the calls need, replication not counted."""
    frame_us = (WRITE_US[frame_ms, together] + READ_US) * 1000 / frame_ms
    return max(1, math.ceil(calls * (frame_us + COMMIT_US * COMMITS_PER_CALL_S) / 1e6 / SHARE_OF_CORE))


def needs(shape: Shape) -> list[tuple[str, str]]:
    """Return what is needed, each with its name."""
    found = [
        (f"Redis primaries, frames of {ms} ms, written {how}", str(primaries(shape.calls, ms, together)))
        for ms in (20, 100)
        for together, how in ((1, "alone"), (16, "by 16"))
    ]
    memory = {ms: shape.calls * size * 1000 / ms * TRIMMED_S / 1e9 for ms, size in ENTRY_BYTES.items()}
    found.append(("Memory of Redis with trim, 20 / 100 ms", f"{memory[20]:.1f} / {memory[100]:.1f} GB"))
    headroom = math.ceil(shape.calls / shape.members)
    found.append(("Deepgram connections, a member's calls spare", str(shape.calls + headroom)))
    silence = LINGER_S + BETWEEN_S + shape.calls / shape.shards * DIAL_S
    found.append(("Silence of a call at a hand-over, about", f"{silence * 1000:.0f} ms"))
    return found


def warnings(shape: Shape) -> list[str]:
    """Return what is wrong with the size."""
    found = []
    if shape.shards < FEW_SHARDS * shape.members:
        found.append(f"fewer than {FEW_SHARDS} shards a member: they are spread unevenly")
    if shape.calls > MANY_CALLS * shape.shards:
        found.append(f"more than {MANY_CALLS} calls a shard: each hand-over takes long")
    return found

"""What so many calls need: servers, memory, connections, and how long a hand-over is silent. Pure."""

from __future__ import annotations

import math

# Primaries for 100,000 calls at 60 % of a core each, commits included, replication not.
PRIMARIES = {
    "20 ms frames": 250,
    "20 ms frames, 16 at once": 90,
    "100 ms frames": 56,
    "100 ms frames, 16 at once": 31,
}
TRIMMED_MB = 0.45  # of streams for a call, trimmed a few seconds behind what is final
DIAL_MS, LINGER_MS = 1.5, 300
FEW_SHARDS, MANY_CALLS = 10, 50


def needs(calls: int, members: int, shards: int) -> list[tuple[str, str]]:
    """Return what is needed, as pairs of a name and a figure with its unit."""
    each = math.ceil(calls / shards)
    rows = [
        (f"Redis primaries, {name}", f"{math.ceil(calls * n / 100_000)}") for name, n in PRIMARIES.items()
    ]
    return [
        *rows,
        ("Redis memory with redis.trim", f"{calls * TRIMMED_MB / 1000:.1f} GB"),
        ("connections at Deepgram, with one member's headroom", f"{calls + math.ceil(calls / members)}"),
        ("silence of a call at a hand-over", f"{each * DIAL_MS + LINGER_MS:.0f} ms"),
    ]


def warnings(calls: int, members: int, shards: int) -> list[str]:
    """Return what is unwise about these numbers."""
    found: list[str] = []
    if shards < FEW_SHARDS * members:
        found.append(
            f"fewer than {FEW_SHARDS} shards a member: loads are uneven; take {FEW_SHARDS * members}"
        )
    if calls > MANY_CALLS * shards:
        enough = math.ceil(calls / MANY_CALLS)
        found.append(f"more than {MANY_CALLS} calls a shard: hand-overs are slow; take {enough} shards")
    return found

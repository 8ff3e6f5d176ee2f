"""Which shard a call belongs to: the formula that producers use. Workers serve what lies in a shard."""

from __future__ import annotations

import zlib


def shard_of(interaction_id: str, shards: int) -> int:
    """Return the shard of a call, 0 to `shards - 1`: CRC-32 (IEEE) of its id in UTF-8, modulo the shards."""
    return zlib.crc32(interaction_id.encode()) % shards

"""The names of the keys that are the worker's own: a single worker's, or one shard's."""

from __future__ import annotations

import secrets


class Keys:
    """The keys of a group; of one shard, with the shard's prefix, which puts them all into one slot."""

    def __init__(self, group: str, prefix: str = "") -> None:
        base = f"{prefix}trio_asr:{{{group}}}:"
        self.lease, self.fence = base + "lease", base + "fence"
        self.live, self.reader = base + "live", base + "reader"
        self._call, self._broken = base + "call:", base + "broken:"

    def state(self, owner: str) -> str:
        """Return the key of a call's stored state ("" is the reader)."""
        return self._call + owner if owner else self.reader

    def aside(self, owner: str) -> str:
        """Return the key that a stored state which makes no sense is moved to."""
        return self._broken + owner


class FleetKeys:
    """The keys that a fleet has beside those of its shards."""

    def __init__(self, group: str) -> None:
        base = f"trio_asr:{{{group}}}:"
        self.fleet, self.beats, self._beat = base + "fleet", base + "beats", base + "beat:"

    def beat(self, member: str) -> str:
        """Return the key of a member's beat."""
        return self._beat + member


def new_token(member: str) -> str:
    """Return a fencing token of a tenure; a member of a fleet shows its name in it."""
    token = secrets.token_hex(16)
    return f"{member}/{token}" if member else token


def holder_of(lease: bytes | None) -> str:
    """Return the member whose token a lease has, or `heir:` and the one for whom it is kept; or ""."""
    value = (lease or b"").decode("utf-8", "replace")
    return value.rpartition("/")[0] or value

"""What a reload may change in a daemon that runs: intervals, limits and the level of the log."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from trio_asr.config.tree import SECTIONS, Config, keys, value_at

RELOADABLE = frozenset(
    {
        "flush.initial_ms",
        "flush.min_chunk_ms",
        "flush.max_interval_ms",
        "flush.max_chunk_ms",
        "deepgram.max_connections",
        "log.level",
    }
)


class Merged(NamedTuple):
    """The config to go on with, the keys that it changes, and those whose change waits for a restart."""

    config: Config
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def merge(running: Config, loaded: Config) -> Merged:
    """Take over from `loaded` what a running daemon can change."""
    differing = [path for path, _ in keys() if value_at(running, path) != value_at(loaded, path)]
    changed = tuple(path for path in differing if path in RELOADABLE)
    sections: dict[str, Any] = {}
    for section in SECTIONS:
        names = [path.partition(".")[2] for path in changed if path.startswith(f"{section}.")]
        new = {name: getattr(getattr(loaded, section), name) for name in names}
        sections[section] = msgspec.structs.replace(getattr(running, section), **new)
    waiting = tuple(path for path in differing if path not in RELOADABLE)
    return Merged(Config(**sections), changed, waiting)

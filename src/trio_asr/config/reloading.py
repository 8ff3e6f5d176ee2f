"""Reloading: a running daemon takes over intervals, limits and the log level.

Everything else is built into what the start made, or into what a connection was opened with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from trio_asr.config.sections import SECTIONS, WORKER_SECRETS, Config, keys, value_at

RELOADABLE = frozenset(
    {
        "deepgram.max_connections",
        "deepgram.keepalive_ms",
        "deepgram.close_timeout_ms",
        "deepgram.stall_timeout_ms",
        "deepgram.send_timeout_ms",
        "deepgram.catchup_rate",
        "deepgram.max_open_segment_s",
        "flush.initial_ms",
        "flush.min_chunk_ms",
        "flush.max_interval_ms",
        "flush.max_chunk_ms",
        "interaction.idle_timeout_ms",
        "interaction.end_grace_ms",
        "interaction.max_calls",
        "interaction.max_unfinalized_s",
        "interaction.max_unfinalized_total_mb",
        "interaction.reorder_ms",
        "fleet.capacity",
        "fleet.drain_s",
        "fleet.rejoin_s",
        "fleet.handover_linger_ms",
        "fleet.max_connections",
        "shutdown.grace_ms",
        "log.level",
    }
)


class Merged(NamedTuple):
    """The config to go on with, the keys that have changed, and those whose change waits for a restart."""

    config: Config
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def merge(running: Config, loaded: Config) -> Merged:
    """Return `running` with the values of `loaded` for all keys that a running daemon can change.

    The keys of `[ingest]` are another process's.
    """
    ours = [path for path, _ in keys() if not path.startswith("ingest.")]
    differing = [path for path in ours if value_at(running, path) != value_at(loaded, path)]
    changed = tuple(path for path in differing if path in RELOADABLE)
    sections: dict[str, Any] = {}
    for section in SECTIONS:
        names = [path.partition(".")[2] for path in changed if path.startswith(f"{section}.")]
        new = {name: getattr(getattr(loaded, section), name) for name in names}
        sections[section] = msgspec.structs.replace(getattr(running, section), **new)
    waiting = [path for path in differing if path not in RELOADABLE]
    waiting += [path for path in WORKER_SECRETS if value_at(running, path) != value_at(loaded, path)]
    return Merged(Config(**sections), changed, tuple(waiting))

"""What `serve` and `ingest` do first: read the configuration, prepare the log and the interpreter."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from trio_asr.commands.check import Refused
from trio_asr.config import Config, ConfigError, load
from trio_asr.telemetry import logs

# By default the garbage collector runs after every 700 new objects. With some hundred calls, its larger runs
# visit hundreds of thousands of live objects. Hardly any cycles are made here, so it may run less often. But
# all calls wait for a run, so a run must be short: one over 10,000 objects takes 6 ms.
GC_THRESHOLDS = (10_000, 20, 50)
# The time after which a busy event loop lets the Redis client's threads run, which results wait for (5 ms by
# default).
SWITCH_S = 0.0005


def start(path: Path | None, name: str, *, ingest: bool = False) -> Config:
    """Prepare this process for the daemon called `name`; return its configuration. Blocks: files are read.

    Raises:
        Refused: The configuration is unusable.
    """
    try:
        loaded = load(path, os.environ, ingest=ingest)
    except ConfigError as error:
        raise Refused(str(error)) from error
    config = loaded.config
    logs.configure(config.log.level, config.log.format, secrets=config.secrets)
    log = logs.get(name)
    for warning in loaded.warnings:
        log.warning(warning)
    gc.collect()
    gc.freeze()  # what is imported lives to the end
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)
    return config

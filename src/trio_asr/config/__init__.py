"""The daemon's configuration: a frozen object with an attribute per section and key."""

from trio_asr.config.alone import usable
from trio_asr.config.fleet import FleetConfig, shard_prefix
from trio_asr.config.ingest import IngestConfig, Route
from trio_asr.config.kinds import Section
from trio_asr.config.loading import ConfigError, Loaded, load
from trio_asr.config.query import QUERY_OPTIONS, query_items
from trio_asr.config.reloading import RELOADABLE, merge
from trio_asr.config.secrets import Secret, mask_url
from trio_asr.config.sections import (
    AsrConfig,
    BusConfig,
    Config,
    DeepgramConfig,
    FlushConfig,
    HttpConfig,
    InteractionConfig,
    LogConfig,
    PublishConfig,
    RedisConfig,
    ShutdownConfig,
)
from trio_asr.config.showing import shown

__all__ = [
    "QUERY_OPTIONS",
    "RELOADABLE",
    "AsrConfig",
    "BusConfig",
    "Config",
    "ConfigError",
    "DeepgramConfig",
    "FleetConfig",
    "FlushConfig",
    "HttpConfig",
    "IngestConfig",
    "InteractionConfig",
    "Loaded",
    "LogConfig",
    "PublishConfig",
    "RedisConfig",
    "Route",
    "Secret",
    "Section",
    "ShutdownConfig",
    "load",
    "mask_url",
    "merge",
    "query_items",
    "shard_prefix",
    "shown",
    "usable",
]

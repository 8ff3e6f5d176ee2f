"""The daemon's configuration: one frozen object an attribute per section and key, each with a default."""

from trio_asr.config.deepgram import QUERY_OPTIONS, DeepgramConfig, query_items
from trio_asr.config.errors import ConfigError
from trio_asr.config.loading import Loaded, load, shown
from trio_asr.config.reloading import RELOADABLE, merge
from trio_asr.config.secret import Secret, mask_url
from trio_asr.config.sections import (
    AsrConfig,
    BusConfig,
    FlushConfig,
    HttpConfig,
    InteractionConfig,
    LogConfig,
    PublishConfig,
    RedisConfig,
    Section,
    ShutdownConfig,
)
from trio_asr.config.tree import Config

__all__ = [
    "QUERY_OPTIONS",
    "RELOADABLE",
    "AsrConfig",
    "BusConfig",
    "Config",
    "ConfigError",
    "DeepgramConfig",
    "FlushConfig",
    "HttpConfig",
    "InteractionConfig",
    "Loaded",
    "LogConfig",
    "PublishConfig",
    "RedisConfig",
    "Secret",
    "Section",
    "ShutdownConfig",
    "load",
    "mask_url",
    "merge",
    "query_items",
    "shown",
]

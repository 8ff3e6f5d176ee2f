"""The whole configuration, and the way from a key path such as ``flush.initial_ms`` to its type and value."""

from collections.abc import Iterator
from typing import Any

import msgspec

from trio_asr.config import redis_url
from trio_asr.config.deepgram import DeepgramConfig
from trio_asr.config.secret import Secret
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


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    redis: RedisConfig = msgspec.field(default_factory=RedisConfig)
    bus: BusConfig = msgspec.field(default_factory=BusConfig)
    asr: AsrConfig = msgspec.field(default_factory=AsrConfig)
    publish: PublishConfig = msgspec.field(default_factory=PublishConfig)
    deepgram: DeepgramConfig = msgspec.field(default_factory=DeepgramConfig)
    flush: FlushConfig = msgspec.field(default_factory=FlushConfig)
    interaction: InteractionConfig = msgspec.field(default_factory=InteractionConfig)
    http: HttpConfig = msgspec.field(default_factory=HttpConfig)
    shutdown: ShutdownConfig = msgspec.field(default_factory=ShutdownConfig)
    log: LogConfig = msgspec.field(default_factory=LogConfig)

    @property
    def secrets(self) -> list[Secret]:
        """What no line may show."""
        named = [secret for secret in (self.deepgram.api_key, self.http.token) if secret is not None]
        return named + redis_url.secrets(self.redis.url)


# What is part of the object but not a key of the file.
NOT_IN_FILE = frozenset({"deepgram.api_key", "http.token"})

SECTIONS: dict[str, type[Section]] = {field.name: field.type for field in msgspec.structs.fields(Config)}


def keys() -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    """Every key path of the file in its order, with the field that says type and default."""
    for section, kind in SECTIONS.items():
        for field in msgspec.structs.fields(kind):
            path = f"{section}.{field.name}"
            if path not in NOT_IN_FILE:
                yield path, field


def value_at(config: Config, path: str) -> Any:
    """The value at a key path such as ``flush.initial_ms``."""
    section, _, name = path.partition(".")
    return getattr(getattr(config, section), name)

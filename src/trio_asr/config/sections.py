"""The sections of the configuration but Deepgram's: every key with its type, range and default.

These classes are the only list of keys: the file, the environment, ``trio-asr check`` and the page
``docs/configuration.md`` are all held against them.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trio_asr.config.secret import Secret, mask_path, mask_url

PLACEHOLDER = "{interaction_id}"

# No blanks and no braces: these names become parts of Redis keys, where braces would change the hash slot.
KeyName = Annotated[
    str,
    Meta(pattern=r"^[^\s{}\x00-\x1f]{1,200}\Z", extra={"allowed": "1-200 characters, no blanks or braces"}),
]
FileName = Annotated[str, Meta(pattern=r"^[^\x00]{1,4096}\Z", extra={"allowed": "a path"})]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file. ``repr`` masks what may be a secret, since a config ends up in tracebacks."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(name, getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({shown})"


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return [*value]  # the values may be anything
    if not isinstance(value, str):
        return value
    if name.endswith("_file"):
        return mask_path(value)
    return mask_url(value) if "://" in value else value


class RedisConfig(Section, frozen=True):
    url: Annotated[
        str,
        Meta(
            pattern=r"^(rediss?://[^\s/?#]+|unix:///?)\S*\Z",
            extra={"allowed": "a redis://, rediss:// or unix:// URL"},
        ),
    ] = "redis://127.0.0.1:6379"
    consumer_group: KeyName = "asr-worker"
    audio_stream: KeyName = "audio_stream"
    call_end_stream: KeyName = "call_end"
    transcript_stream: Annotated[
        str,
        Meta(
            pattern=r"^[^\s\x00-\x1f]{1,200}\Z",
            extra={"allowed": f"1-200 characters with {PLACEHOLDER} once and a text beside it, no blanks"},
        ),
    ] = f"transcript.{PLACEHOLDER}"
    events_stream: KeyName = "asr_events"
    dead_letter_stream: KeyName = "asr_dead_letter"
    lease_ms: Annotated[int, Meta(ge=1_000, le=60_000)] = 5_000
    max_backlog_s: Annotated[float, Meta(ge=0, le=604_800)] = 600.0
    trim: bool = False
    allow_foreign_consumers: bool = False

    def transcript_key(self, interaction_id: str) -> str:
        """The stream of one call. Filled by replacing, never by formatting: an id is the producers' text."""
        return self.transcript_stream.replace(PLACEHOLDER, interaction_id)


class BusConfig(Section, frozen=True):
    adapter: Literal["redis", "memory"] = "redis"


class AsrConfig(Section, frozen=True):
    provider: Literal["deepgram", "mock"] = "deepgram"


class PublishConfig(Section, frozen=True):
    partials: bool = True
    words: bool = False


class FlushConfig(Section, frozen=True):
    # Nothing here comes near 10 s, when Deepgram closes a stream that gets neither audio nor KeepAlive.
    initial_ms: Annotated[int, Meta(ge=10, le=8_000)] = 500
    min_chunk_ms: Annotated[int, Meta(ge=10, le=5_000)] = 200
    max_interval_ms: Annotated[int, Meta(ge=20, le=8_000)] = 500
    max_chunk_ms: Annotated[int, Meta(ge=20, le=5_000)] = 1_000


class InteractionConfig(Section, frozen=True):
    idle_timeout_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 60_000
    end_grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 500
    gap_fill_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1_000
    reorder_ms: Annotated[int, Meta(ge=0, le=3_000)] = 600  # below what is read again before a restart, 5 s
    max_unfinalized_s: Annotated[float, Meta(ge=5, le=3_600)] = 120.0
    max_calls: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    max_unfinalized_total_mb: Annotated[int, Meta(ge=1, le=1_048_576)] = 512
    default_sample_rate: Annotated[int, Meta(ge=8_000, le=48_000)] = 8_000


class HttpConfig(Section, frozen=True):
    host: Annotated[
        str,
        Meta(pattern=r"^[^\s/]{1,255}\Z", extra={"allowed": "a host name or an address"}),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 3_001
    token_file: FileName | None = None
    # Never in the file: from TRIO_ASR_HTTP_TOKEN, from token_file or from systemd's credentials.
    token: Secret | None = None
    degraded_after_s: Annotated[float, Meta(ge=0, le=3_600)] = 30.0


class ShutdownConfig(Section, frozen=True):
    grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 3_000


class LogConfig(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"

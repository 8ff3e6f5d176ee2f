"""The configuration and its sections: every key with its type, range and default.

These classes are the only list of keys. The file, the environment, `trio-asr check` and the page
`docs/configuration.md` are all held against them. The names, defaults and limits of Deepgram's options are
those of its live streaming reference and of the feature page of the same name.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trio_asr.config import redis_url
from trio_asr.config.fleet import FleetConfig, shard_prefix
from trio_asr.config.ingest import IngestConfig, Route
from trio_asr.config.kinds import FileName, HostName, KeyName, Section, Text, Texts
from trio_asr.config.secrets import Secret, is_secret_name

PLACEHOLDER = "{interaction_id}"

_Model = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9._-]{1,100}\Z", extra={"allowed": "a model's name or a custom model's id"}),
]
_Language = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z",
        extra={"allowed": 'a language tag such as "en-US", or "multi"'},
    ),
]
_OptionText = Annotated[str, Meta(max_length=2_048)]
_OptionInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_OptionScalar = _OptionText | _OptionInt | float | bool
OptionValue = _OptionScalar | Annotated[tuple[_OptionScalar, ...], Meta(max_length=100)]


class RedisConfig(Section, frozen=True):
    """`[redis]`: the server, the streams, and ownership of the calls."""

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
        """Return the name of a call's transcript stream.

        The id is inserted by replacing, never by formatting: it is the producers' text.
        """
        return self.transcript_stream.replace(PLACEHOLDER, interaction_id)

    def of_shard(self, shard: int) -> "RedisConfig":
        """Return this section with the names of a shard's keys in place of a single worker's."""
        prefix = shard_prefix(self.consumer_group, shard)
        names = [name for name in self.__struct_fields__ if name.endswith("_stream")]
        return msgspec.structs.replace(self, **{name: prefix + getattr(self, name) for name in names})


class BusConfig(Section, frozen=True):
    """`[bus]`: Redis, or a bus in memory."""

    adapter: Literal["redis", "memory"] = "redis"


class AsrConfig(Section, frozen=True):
    """`[asr]`: the provider."""

    provider: Literal["deepgram", "mock"] = "deepgram"


class PublishConfig(Section, frozen=True):
    """`[publish]`: what transcript streams get besides finals."""

    partials: bool = True
    words: bool = False


class DeepgramConfig(Section, frozen=True):
    """`[deepgram]`: how to reach the service, and the options of its query (see `query`)."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^wss?://[^\s/?#@]+(/[^\s?#]*)?\Z",
            extra={"allowed": "a ws:// or wss:// URL without query or credentials"},
        ),
    ] = "wss://api.deepgram.com/v1/listen"
    api_key_file: FileName | None = None
    # Never in the file: from DEEPGRAM_API_KEY, from api_key_file or from systemd's credentials.
    api_key: Secret | None = None

    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 100
    # Deepgram gives a silent stream 10 s and recommends a KeepAlive every 3-5 s.
    keepalive_ms: Annotated[int, Meta(ge=100, le=8_000)] = 4_000
    connect_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 10_000
    close_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 10_000
    stall_timeout_ms: Annotated[int, Meta(ge=500, le=60_000)] = 8_000
    send_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000
    # Times real time. At 1.0 a call that has fallen behind would never catch up.
    catchup_rate: Annotated[float, Meta(ge=1.01, le=100)] = 1.25
    max_open_segment_s: Annotated[float, Meta(ge=1, le=300)] = 15.0

    model: _Model = "nova-2"
    language: _Language = "en-US"
    smart_format: bool = True
    interim_results: bool = True
    version: Text | None = None
    endpointing: Annotated[
        Annotated[int, Meta(ge=1, le=60_000)] | bool | None,
        Meta(extra={"allowed": "an integer from 1 to 60000, or false"}),
    ] = None
    utterance_end_ms: Annotated[int, Meta(ge=1_000, le=5_000)] | None = None
    vad_events: bool | None = None
    punctuate: bool | None = None
    numerals: bool | None = None
    profanity_filter: bool | None = None
    dictation: bool | None = None
    diarize: bool | None = None
    diarize_model: Literal["latest", "v1"] | None = None
    detect_entities: bool | None = None
    no_delay: bool | None = None
    mip_opt_out: bool | None = None
    redact: tuple[
        Annotated[
            str,
            Meta(pattern=r"^[a-z][a-z0-9_]*\Z", extra={"allowed": 'a group such as "pci"'}),
        ],
        ...,
    ] = ()
    keyterm: Annotated[Texts, Meta(max_length=100)] = ()
    keywords: Annotated[Texts, Meta(max_length=100)] = ()
    search: Annotated[Texts, Meta(max_length=50)] = ()
    replace: Annotated[Texts, Meta(max_length=200)] = ()
    tag: tuple[Annotated[Text, Meta(max_length=128, extra={"allowed": "at most 128 characters"})], ...] = ()
    extra: tuple[
        Annotated[Text, Meta(max_length=2_048, extra={"allowed": "key:value, at most 2048 characters"})], ...
    ] = ()
    options: (
        Annotated[
            dict[Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,100}\Z")], OptionValue],
            Meta(
                max_length=50,
                extra={
                    "allowed": "names of letters, digits, `.`, `_` and `-`, each with a text, a number, "
                    "true or false, or a list of these"
                },
            ),
        ]
        | None
    ) = None

    @property
    def secrets(self) -> list[Secret]:
        """The API key, and the values of options and extras whose names are those of secrets."""
        pairs = [pair.partition(":")[::2] for pair in self.extra]
        for name, value in (self.options or {}).items():
            pairs += [(name, str(one)) for one in (value if isinstance(value, tuple) else (value,))]
        found = [Secret(value) for name, value in pairs if is_secret_name(name)]
        return found if self.api_key is None else [self.api_key, *found]


class FlushConfig(Section, frozen=True):
    """`[flush]`: when audio is sent, in milliseconds of audio or of time."""

    # All far below 10 s, after which Deepgram closes a stream that gets neither audio nor KeepAlive.
    initial_ms: Annotated[int, Meta(ge=10, le=8_000)] = 500
    min_chunk_ms: Annotated[int, Meta(ge=10, le=5_000)] = 200
    max_interval_ms: Annotated[int, Meta(ge=20, le=8_000)] = 500
    max_chunk_ms: Annotated[int, Meta(ge=20, le=5_000)] = 1_000


class InteractionConfig(Section, frozen=True):
    """`[interaction]`: the limits of a call, and of all calls together."""

    idle_timeout_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 60_000
    end_grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 500
    gap_fill_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1_000
    reorder_ms: Annotated[int, Meta(ge=0, le=3_000)] = 600  # below the 5 s that a restart reads again
    max_unfinalized_s: Annotated[float, Meta(ge=5, le=3_600)] = 120.0
    max_calls: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    max_unfinalized_total_mb: Annotated[int, Meta(ge=1, le=1_048_576)] = 512
    default_sample_rate: Annotated[int, Meta(ge=8_000, le=48_000)] = 8_000
    roles: Annotated[Texts, Meta(max_length=2, extra={"allowed": "up to 2 texts"})] = ()


class HttpConfig(Section, frozen=True):
    """`[http]`: the pages."""

    host: HostName = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 3_001
    token_file: FileName | None = None
    # Never in the file: from TRIO_ASR_HTTP_TOKEN, from token_file or from systemd's credentials.
    token: Secret | None = None
    degraded_after_s: Annotated[float, Meta(ge=0, le=3_600)] = 30.0


class ShutdownConfig(Section, frozen=True):
    """`[shutdown]`: how long a stop may drain."""

    grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 3_000


class LogConfig(Section, frozen=True):
    """`[log]`: the log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole configuration."""

    redis: RedisConfig = msgspec.field(default_factory=RedisConfig)
    bus: BusConfig = msgspec.field(default_factory=BusConfig)
    asr: AsrConfig = msgspec.field(default_factory=AsrConfig)
    publish: PublishConfig = msgspec.field(default_factory=PublishConfig)
    deepgram: DeepgramConfig = msgspec.field(default_factory=DeepgramConfig)
    flush: FlushConfig = msgspec.field(default_factory=FlushConfig)
    interaction: InteractionConfig = msgspec.field(default_factory=InteractionConfig)
    http: HttpConfig = msgspec.field(default_factory=HttpConfig)
    ingest: IngestConfig = msgspec.field(default_factory=IngestConfig)
    fleet: FleetConfig = msgspec.field(default_factory=FleetConfig)
    shutdown: ShutdownConfig = msgspec.field(default_factory=ShutdownConfig)
    log: LogConfig = msgspec.field(default_factory=LogConfig)

    @property
    def secrets(self) -> list[Secret]:
        """The secrets in this configuration, which nothing may show."""
        named = [*self.deepgram.secrets, *([] if self.http.token is None else [self.http.token])]
        named += [secret for route in self.ingest.route for secret in route.secrets.values()]
        return named + redis_url.secrets(self.redis.url)

    def of_shard(self, shard: int | None) -> "Config":
        """Return the configuration of what works on one shard: the same, but for the names of the keys.

        None stands for all calls of a single worker, whose keys have the names that the file gives them.
        """
        if shard is None:
            return self
        return msgspec.structs.replace(self, redis=self.redis.of_shard(shard))


# Part of the object, but not keys of the file.
WORKER_SECRETS = ("deepgram.api_key", "http.token")
NOT_IN_FILE = frozenset({*WORKER_SECRETS, "ingest.route.secrets"})
ROUTES = "ingest.route"  # the one key that is an array of tables: `route_keys()` has theirs

SECTIONS: dict[str, type[Section]] = {field.name: field.type for field in msgspec.structs.fields(Config)}


def keys() -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    """Yield every key path of the sections in the file's order, with the field of its type and default."""
    for section, kind in SECTIONS.items():
        yield from _keys(section, kind)


def route_keys() -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    """Yield every key path of `[[ingest.route]]`, such as `ingest.route.path`, like `keys()`."""
    return _keys(ROUTES, Route)


def _keys(table: str, kind: type[Section]) -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    for field in msgspec.structs.fields(kind):
        path = f"{table}.{field.name}"
        if path not in NOT_IN_FILE and path != ROUTES:
            yield path, field


def value_at(config: Config, path: str) -> Any:
    """Return the value at a key path: `flush.initial_ms`, or, counted from 1, `ingest.route.2.tenant`."""
    value: Any = config
    for part in path.split("."):
        value = value[int(part) - 1] if part.isdigit() else getattr(value, part)
    return value

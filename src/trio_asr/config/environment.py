"""The environment variables of the old programs: those that still count, and what became of the rest."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

API_KEY = "DEEPGRAM_API_KEY"
HTTP_TOKEN = "TRIO_ASR_HTTP_TOKEN"  # noqa: S105 - a variable's name; the old worker had none such

JWT_PUBLIC_KEY = "JWT_PUBLIC_KEY"


class Override(NamedTuple):
    """A variable that sets a key.

    `translate` turns its text into the key's value. It raises a ValueError that says what is allowed.
    """

    path: str
    translate: Callable[[str], str]


def _adapter(value: str) -> str:
    if value == "kafka":
        raise ValueError("Kafka is not supported; allowed: redis_streams or in_memory")
    try:
        return {"redis_streams": "redis", "in_memory": "memory"}[value]
    except KeyError:
        raise ValueError("no such adapter; allowed: redis_streams or in_memory") from None


def _provider(value: str) -> str:
    if value not in {"deepgram", "mock"}:
        raise ValueError("no such provider here; allowed: deepgram or mock")
    return value


def _idle(value: str) -> str:
    try:
        return str(round(float(value) * 1000))
    except (ValueError, OverflowError):
        raise ValueError("not a number; allowed: seconds, from 1 to 3600") from None


OVERRIDES: dict[str, Override] = {
    "REDIS_URL": Override("redis.url", str),
    "REDIS_CONSUMER_GROUP": Override("redis.consumer_group", str),
    "PORT": Override("http.port", str),
    # Not of the old worker: what differs between the members of a fleet that share one file.
    "TRIO_ASR_MEMBER": Override("fleet.member", str),
    "TRIO_ASR_GENERATION": Override("fleet.generation", str),
    "ASR_PROVIDER": Override("asr.provider", _provider),
    "PUBSUB_ADAPTER": Override("bus.adapter", _adapter),
    "DEEPGRAM_MODEL": Override("deepgram.model", str),
    "DEEPGRAM_LANGUAGE": Override("deepgram.language", str),
    "MIN_AUDIO_DURATION_MS": Override("flush.initial_ms", str),
    "EXO_IDLE_CLOSE_S": Override("interaction.idle_timeout_ms", _idle),
}

# Those of the old ingest, read by `trio-asr ingest` alone. Its PORT is INGEST_PORT: the worker has one, too.
INGEST_OVERRIDES: dict[str, Override] = {
    "INGEST_PORT": Override("ingest.port", str),
    "SSL_CERT_PATH": Override("ingest.tls_certificate_file", str),
    "SSL_KEY_PATH": Override("ingest.tls_key_file", str),
    "ACK_INTERVAL": Override("ingest.ack_interval", str),
}

_UNUSED_WINDOW = "it had no effect in the old worker either; see flush.initial_ms and flush.max_interval_ms"
_NO_KAFKA = "there is no Kafka adapter"
_NO_WHISPER = "there is no Whisper provider"
_NO_BREAKER = "refusals by Deepgram hold calls back by themselves, without settings"
_NO_DUMP = "audio is not dumped; it stays on the audio stream"
_ONE_FORMAT = "the format of the audio comes from the frames"

# What became of each of the old worker's variables that no longer count.
RETIRED: dict[str, str] = {
    "STALE_BUFFER_TIMEOUT_MS": "waiting audio is not dropped for its age; "
    "the bound is interaction.max_unfinalized_s",
    "BUFFER_WINDOW_MS": _UNUSED_WINDOW,
    "INITIAL_CHUNK_DURATION_MS": "set flush.initial_ms",
    "CONTINUOUS_CHUNK_DURATION_MS": "set flush.min_chunk_ms",
    "MAX_CHUNK_DURATION_MS": "set flush.max_chunk_ms",
    "ASR_CHUNK_MIN_MS": "set flush.min_chunk_ms",
    "ASR_BUFFER_TIMER_INTERVAL_MS": "set flush.max_interval_ms",
    "REDIS_CONSUMER_NAME": "streams are read without consumers; redis.consumer_group names the checkpoints",
    "REDISCLOUD_URL": "set REDIS_URL or redis.url",
    "KAFKA_BROKERS": _NO_KAFKA,
    "KAFKA_CLIENT_ID": _NO_KAFKA,
    "KAFKA_CONSUMER_GROUP": _NO_KAFKA,
    "DEEPGRAM_SMART_FORMAT": "set deepgram.smart_format",
    "DEEPGRAM_INTERIM_RESULTS": "set deepgram.interim_results",
    "DEEPGRAM_KEEPALIVE_ENABLED": "KeepAlive is always on; its interval is deepgram.keepalive_ms",
    "DEEPGRAM_KEEPALIVE_INTERVAL_MS": "set deepgram.keepalive_ms",
    "DEEPGRAM_MAX_RECONNECT_ATTEMPTS": "a call is reconnected for as long as its audio is kept; "
    "the bound is interaction.max_unfinalized_s",
    "DG_MODEL": "set DEEPGRAM_MODEL or deepgram.model",
    "DG_ENCODING": _ONE_FORMAT,
    "DG_SAMPLE_RATE": _ONE_FORMAT,
    "DG_CHANNELS": _ONE_FORMAT,
    "DG_SMART_FORMAT": "set deepgram.smart_format",
    "DG_DIARIZE": "set deepgram.diarize_model",
    "EXO_BRIDGE_ENABLED": "every call has its own Deepgram connection, with nothing to switch on",
    "EXO_EARLY_AUDIO_FILTER": "results are never held back",
    "CIRCUIT_BREAKER_THRESHOLD": _NO_BREAKER,
    "CIRCUIT_BREAKER_TIMEOUT": _NO_BREAKER,
    "CIRCUIT_BREAKER_RESET_TIMEOUT": _NO_BREAKER,
    "LOG_LEVEL": "set log.level",
    "WHISPER_PATH": _NO_WHISPER,
    "WHISPER_MODEL_PATH": _NO_WHISPER,
    "ASR_AUDIO_DUMP_ENABLED": _NO_DUMP,
    "ASR_AUDIO_DUMP_DIR": _NO_DUMP,
    "ASR_AUDIO_DUMP_FORMAT": _NO_DUMP,
}

_BUFFERED = "set ingest.max_buffered_s"
INGEST_RETIRED: dict[str, str] = {
    "BUFFER_DURATION_MS": _BUFFERED,
    "EXO_MAX_BUFFER_MS": _BUFFERED,
    "SUPPORT_EXOTEL": 'write an [[ingest.route]] of platform "exotel"',
    "USE_AUDIO_STREAM": "audio goes to redis.audio_stream",
}

# All variables of the old programs. A worker that a tool starts must not pick them up from a shell by chance.
OLD_VARIABLES = frozenset({*OVERRIDES, *RETIRED, API_KEY, *INGEST_OVERRIDES, *INGEST_RETIRED, JWT_PUBLIC_KEY})


def overrides(*, ingest: bool) -> dict[str, Override]:
    """Return the variables that set a key, for the worker or for the ingest."""
    return OVERRIDES | INGEST_OVERRIDES if ingest else OVERRIDES


def retired_in(env: Mapping[str, str], *, ingest: bool) -> list[str]:
    """Return a warning for each variable that is set but no longer read, without its value."""
    retired = RETIRED | INGEST_RETIRED if ingest else RETIRED
    warnings = [f"environment: {name} is not read: {fate}" for name, fate in retired.items() if env.get(name)]
    warnings += [
        f"environment: {name} is not read: {_NO_DUMP}"
        for name, value in sorted(env.items())
        if name.startswith("GCS_") and value
    ]
    return warnings

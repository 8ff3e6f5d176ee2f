"""The old worker's environment: what still counts, and what became of the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.config.helpers import KEY, NOWHERE

from trio_asr.commands import check
from trio_asr.config import ConfigError, load
from trio_asr.config.environment import INGEST_OVERRIDES, INGEST_RETIRED, OVERRIDES, RETIRED
from trio_asr.config.sections import SECTIONS, keys, value_at

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("REDIS_URL", "rediss://h:1/2", "redis.url", "rediss://h:1/2"),
        ("REDIS_CONSUMER_GROUP", "agent-assist", "redis.consumer_group", "agent-assist"),
        ("PORT", "8080", "http.port", 8080),
        ("ASR_PROVIDER", "mock", "asr.provider", "mock"),
        ("PUBSUB_ADAPTER", "redis_streams", "bus.adapter", "redis"),
        ("PUBSUB_ADAPTER", "in_memory", "bus.adapter", "memory"),
        ("DEEPGRAM_MODEL", "nova-3", "deepgram.model", "nova-3"),
        ("DEEPGRAM_LANGUAGE", "de", "deepgram.language", "de"),
        ("MIN_AUDIO_DURATION_MS", "200", "flush.initial_ms", 200),
        ("EXO_IDLE_CLOSE_S", "2.5", "interaction.idle_timeout_ms", 2500),
    ],
)
def test_the_old_workers_variables_count(name: str, text: str, path: str, value: object) -> None:
    loaded = load(None, KEY | {name: f" {text} "}, system_file=NOWHERE)
    assert value_at(loaded.config, path) == value
    assert loaded.origins[path] == f"env {name}"
    assert load(None, KEY | {name: ""}, system_file=NOWHERE).origins[path] == "default"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("PUBSUB_ADAPTER", "kafka", "Kafka is not supported"),
        ("PUBSUB_ADAPTER", "nats", "allowed: redis_streams or in_memory"),
        ("ASR_PROVIDER", "whisper", "allowed: deepgram or mock"),
        ("EXO_IDLE_CLOSE_S", "soon", "not a number"),
        ("EXO_IDLE_CLOSE_S", "inf", "not a number"),
        ("EXO_IDLE_CLOSE_S", "0.1", "allowed is an integer from 1000 to 3600000"),
        ("PORT", "3001x", "allowed is an integer from 0 to 65535"),
    ],
)
def test_a_variable_that_is_wrong_stops_the_start(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"environment: {name}, for ") as caught:
        load(None, KEY | {name: text}, system_file=NOWHERE)
    assert message in str(caught.value)


def test_retired_variables_are_met_with_a_warning_and_change_nothing() -> None:
    before = load(None, KEY, system_file=NOWHERE).config
    loaded = load(None, KEY | dict.fromkeys(RETIRED, "1") | {"GCS_BUCKET": "b"}, system_file=NOWHERE)
    assert loaded.config == before
    assert len(loaded.warnings) == len(RETIRED) + 1
    (stale,) = [warning for warning in loaded.warnings if "STALE_BUFFER_TIMEOUT_MS" in warning]
    assert "not dropped" in stale


def test_advice_about_retired_variables_names_keys_that_exist() -> None:
    known = {path for path, _ in keys()} | {"ingest.route"}
    for fate in (RETIRED | INGEST_RETIRED).values():
        for path in re.findall(rf"\b(?:{'|'.join(SECTIONS)})\.\w+", fate):
            assert path in known


def test_the_page_lists_every_variable() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    for name in [*OVERRIDES, *INGEST_OVERRIDES, "DEEPGRAM_API_KEY", "JWT_PUBLIC_KEY"]:
        assert f"| `{name}` |" in page
    for name, fate in (RETIRED | INGEST_RETIRED).items():
        assert f"| `{name}` | {fate} |" in page


@pytest.mark.parametrize(
    "name", ["REDIS_URL", "PORT", "EXO_IDLE_CLOSE_S", "DEEPGRAM_MODEL", "DEEPGRAM_API_KEY"]
)
@pytest.mark.parametrize("value", ["9" * 5_000, "\udcff", "1e400", "-1", "\x7f", "x" * 100_000])
def test_any_variable(name: str, value: str) -> None:
    try:
        loaded = load(None, KEY | {name: value}, system_file=NOWHERE)
        said = "\n".join(check.report(loaded))
    except ConfigError as error:
        said = str(error)
    assert len(said.replace(value, "")) < 20_000

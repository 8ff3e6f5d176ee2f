"""The configuration: what comes from where, what is refused and in which words, and what must not be seen."""

import itertools
import pickle
import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from trio_asr.commands import check
from trio_asr.config import (
    QUERY_OPTIONS,
    Config,
    ConfigError,
    DeepgramConfig,
    Loaded,
    RedisConfig,
    Secret,
    load,
    mask_url,
    query_items,
    shown,
)
from trio_asr.config.allowed import allowed_by, kind_of
from trio_asr.config.environment import OVERRIDES, RETIRED
from trio_asr.config.sections import SECTIONS, keys, value_at

ROOT = Path(__file__).parents[1]
NOWHERE = Path("/nonexistent/config.toml")
KEY = {"DEEPGRAM_API_KEY": "dg-key-1234567890"}
TOKEN = {"TRIO_ASR_HTTP_TOKEN": "0123456789abcdef"}


def load_text(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Loaded:
    file = tmp_path / "trio.toml"
    file.write_text(text)
    return load(file, KEY if env is None else env)


def refusal(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text, env)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_a_file_that_is_no_configuration_is_not_read_for_ever(tmp_path: Path) -> None:
    (problem,) = refusal(tmp_path, "#" * 300_000)
    assert "larger than" in problem
    with pytest.raises(ConfigError, match="larger than"):
        load(Path("/dev/zero"), KEY)


# ---- defaults and origins


def test_defaults_are_those_that_were_promised() -> None:
    c = load(None, KEY, system_file=NOWHERE).config
    assert c.redis.consumer_group == "asr-worker"
    assert (c.redis.audio_stream, c.redis.call_end_stream) == ("audio_stream", "call_end")
    assert (c.redis.events_stream, c.redis.dead_letter_stream) == ("asr_events", "asr_dead_letter")
    assert (c.redis.lease_ms, c.redis.max_backlog_s, c.redis.trim) == (5000, 600, False)
    assert (c.bus.adapter, c.asr.provider) == ("redis", "deepgram")
    assert (c.publish.partials, c.publish.words) == (True, False)
    assert c.deepgram.url == "wss://api.deepgram.com/v1/listen"
    d = c.deepgram
    assert (d.max_connections, d.keepalive_ms, d.connect_timeout_ms, d.close_timeout_ms) == (
        100,
        4000,
        10000,
        10000,
    )
    assert (d.stall_timeout_ms, d.send_timeout_ms, d.catchup_rate, d.max_open_segment_s) == (
        8000,
        5000,
        1.25,
        15,
    )
    # Requirements 4: the first send at 500 ms of audio, then by 200 ms of audio or 500 ms of time.
    assert (c.flush.initial_ms, c.flush.min_chunk_ms, c.flush.max_interval_ms, c.flush.max_chunk_ms) == (
        500, 200, 500, 1000,
    )  # fmt: skip
    i = c.interaction
    assert (i.idle_timeout_ms, i.end_grace_ms, i.gap_fill_ms) == (60000, 500, 1000)
    assert (i.max_unfinalized_s, i.max_unfinalized_total_mb, i.default_sample_rate) == (120, 512, 8000)
    assert (c.http.host, c.http.port, c.http.degraded_after_s) == ("127.0.0.1", 3001, 30)
    assert (c.shutdown.grace_ms, c.log.level, c.log.format) == (3000, "info", "json")


def test_every_value_has_an_origin(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path, "[flush]\ninitial_ms = 300\nmin_chunk_ms = 100\n", KEY | {"MIN_AUDIO_DURATION_MS": "250"}
    )
    assert set(loaded.origins) == {path for path, _ in keys()} | {"deepgram.api_key"}
    assert loaded.config.flush.initial_ms == 250
    assert loaded.origins["flush.initial_ms"] == "env MIN_AUDIO_DURATION_MS"
    assert loaded.origins["flush.min_chunk_ms"] == "file"
    assert loaded.origins["flush.max_chunk_ms"] == "default"
    assert loaded.origins["deepgram.api_key"] == "env DEEPGRAM_API_KEY"
    assert loaded.path == tmp_path / "trio.toml"
    assert loaded.warnings == ()


def test_the_system_file_is_read_if_no_other_is_named(tmp_path: Path) -> None:
    system_file = tmp_path / "system.toml"
    assert load(None, KEY, system_file=system_file).path is None
    system_file.write_text('[log]\nlevel = "debug"\n')
    assert load(None, KEY, system_file=system_file).config.log.level == "debug"
    other = tmp_path / "other.toml"
    other.write_text("")
    assert load(other, KEY, system_file=system_file).config.log.level == "info"


def test_config_is_frozen() -> None:
    c = Config()
    with pytest.raises(AttributeError):
        c.flush.initial_ms = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        c.flush = c.flush  # type: ignore[misc]


# ---- the file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[redis]\nlease_ms = '5'", 'redis.lease_ms = "5": allowed is an integer from 1000 to 60000'),
        ("[redis]\nlease_ms = true", "redis.lease_ms = true: allowed is an integer from 1000 to 60000"),
        ("[redis]\nlease_ms = 999", "redis.lease_ms = 999: allowed is an integer from 1000 to 60000"),
        ("[redis]\ntrim = 1", "redis.trim = 1: allowed is true or false"),
        (
            "[redis]\naudio_strem = 'x'",
            "redis.audio_strem: unknown key; did you mean redis.audio_stream?",
        ),
        ("[flush]\nlease_ms = 5", "flush.lease_ms: unknown key; did you mean redis.lease_ms?"),
        ("[http]\nq = 5", "http.q: unknown key; known are: host, port, token_file, degraded_after_s"),
        ("[intraction]\nx = 1", "intraction: unknown key; did you mean interaction?"),
        ("flush = 5", "flush = 5: is a section; write [flush] and its keys below"),
        ("[bus]\nadapter = 'kafka'", 'bus.adapter = "kafka": allowed is "memory" or "redis"'),
        (
            "[deepgram]\ncatchup_rate = nan",
            "deepgram.catchup_rate = nan: allowed is a number from 1.01 to 100",
        ),
        (
            "[deepgram]\ncatchup_rate = inf",
            "deepgram.catchup_rate = inf: allowed is a number from 1.01 to 100",
        ),
        (
            "[deepgram]\nmodel = 'a b'",
            "deepgram.model = \"a b\": allowed is a model's name or a custom model's id",
        ),
        (
            '[redis]\naudio_stream = "a\\n"',
            'redis.audio_stream = "a\\n": allowed is 1-200 characters, no blanks or',
        ),
        (
            "[deepgram]\nurl = 'https://x'",
            'deepgram.url = "https://x": allowed is a ws:// or wss:// URL without',
        ),
        (
            "[deepgram]\nurl = 'wss://x/v1?a=b'",
            "allowed is a ws:// or wss:// URL without query or credentials",
        ),
        ("[redis]\nurl = 'localhost'", "allowed is a redis://, rediss:// or unix:// URL"),
        (
            "[deepgram]\nkeyterm = ['a', 5]",
            'deepgram.keyterm = ["a", 5]: allowed is a list, at most 100, each: a text',
        ),
        ("[deepgram]\nredact = 'pci'", 'deepgram.redact = "pci": allowed is a list'),
        ("[deepgram]\nutterance_end_ms = 999", "allowed is an integer from 1000 to 5000"),
        ("[deepgram]\ntag = ['" + "x" * 129 + "']", "each: at most 128 characters"),
    ],
)
def test_a_refusal_names_file_key_value_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    (line,) = refusal(tmp_path, text)
    assert line.startswith(f"{tmp_path / 'trio.toml'}: ")
    assert message in line


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "[redis]\nlease_ms = 1\nfoo = 2\n[oops]\n[log]\nlevel = 'loud'", {"PORT": "x"})
    assert len(lines) == 5
    assert lines[-1] == 'environment: PORT, for http.port = "x": allowed is an integer from 0 to 65535'


def test_a_file_that_cannot_be_read_or_parsed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml", KEY)
    (line,) = refusal(tmp_path, "[redis\n")
    assert "is not valid TOML" in line
    assert "line 1" in line
    (tmp_path / "latin.toml").write_bytes(b"[log]\n# \xff")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(tmp_path / "latin.toml", KEY)


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, f"[log]\nlevel = '{'x' * 10_000}'")
    assert len(line) < 400


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("callback", "timeline"), ("multichannel", "timeline"), ("channels", "timeline"),
        ("sample_rate", "frames"), ("encoding", "frames"), ("detect_language", "live audio"),
        ("api_key", "does not belong into this file"),
    ],
)  # fmt: skip
def test_what_is_not_offered_says_why(tmp_path: Path, key: str, reason: str) -> None:
    (line,) = refusal(tmp_path, f"[deepgram]\n{key} = 'topsecret'")
    assert f"deepgram.{key} is not offered" in line
    assert reason in line
    assert "topsecret" not in line


# ---- keys that must fit each other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[redis]\ntranscript_stream = 'transcripts'", "must contain {interaction_id} exactly once"),
        ("[redis]\ntranscript_stream = '{interaction_id}.{interaction_id}'", "exactly once"),
        ("[redis]\ntranscript_stream = '{interaction_id}'", "a call could name any key"),
        ("[redis]\nevents_stream = 'transcript.events'", "could be the transcript stream of a call"),
        ("[redis]\naudio_stream = 'call_end'", 'redis.call_end_stream = "call_end": is the same stream as'),
        ("[flush]\nmin_chunk_ms = 2000", "must not be above flush.max_chunk_ms (1000)"),
        ("[interaction]\nmax_unfinalized_s = 10", "must be above deepgram.max_open_segment_s"),
        ("[deepgram]\nendpointing = true", "takes milliseconds, or false"),
        ("[deepgram]\nutterance_end_ms = 1000\ninterim_results = false", "needs interim_results = true"),
        ("[deepgram]\ndictation = true", "needs punctuate = true"),
        ("[deepgram]\ndiarize = true\ndiarize_model = 'v1'", "together are rejected"),
        ("[deepgram]\nmodel = 'nova-3'\nkeywords = ['a']", "use keyterm"),
        ("[deepgram]\nmodel = 'nova-3-medical'\nkeywords = ['a']", "use keyterm"),
        ("[deepgram]\nmodel = 'flux-general-en'", "another protocol"),
        ("[deepgram]\nurl = 'wss://api.deepgram.com/v2/listen'", "protocol of Flux"),
        ("[deepgram]\nmodel = 'whisper-large'", "no live audio"),
        ("[deepgram]\nmodel = 'enhanced'\nlanguage = 'multi'", "nova-2 and nova-3 only"),
        ("[deepgram]\ndetect_entities = true\nlanguage = 'de'", "is for English only"),
        ("[deepgram]\ndetect_entities = true\nmodel = 'base'", "for the nova and enhanced models"),
        ("[deepgram]\nkeywords = ['a:b']", "neither a word nor word:intensifier"),
        ("[deepgram]\nreplace = ['a']", "not of the form find:replacement"),
        ("[deepgram]\nextra = ['a']", "not of the form key:value"),
        ("[deepgram]\nextra = ['a:1', 'a:2']", "keeps the last only"),
        (f"[deepgram]\nmodel = 'nova-3'\nkeyterm = ['{'w ' * 500}w']", "more than 500 tokens"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_each_other(tmp_path: Path, text: str, message: str) -> None:
    (line,) = refusal(tmp_path, text)
    assert message in line
    assert line.startswith((f"{tmp_path / 'trio.toml'}: ",))


@pytest.mark.parametrize(
    "text",
    [
        "endpointing = false", "endpointing = 300", "model = 'nova-3'\nkeyterm = ['Acme Corp']",
        "keywords = ['snuffle:5.5', 'plain']", "replace = ['a:']", "extra = ['a:1', 'b:2:3']",
        "dictation = true\npunctuate = true", "language = 'multi'", "utterance_end_ms = 1000",
        "model = '5d9d6e9c-6f1e-4b4a-9d30-b37ab37ab37a'\nlanguage = 'multi'", "redact = ['pci', 'true']",
    ],
)  # fmt: skip
def test_options_that_deepgram_takes(tmp_path: Path, text: str) -> None:
    assert load_text(tmp_path, f"[deepgram]\n{text}").warnings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_delay = true\nsmart_format = false", "does nothing without smart_format"),
        ("keyterm = ['a']", "nova-2 may ignore it"),
        ("keywords = ['a,b']", "taken as one term"),
        ("detect_entities = true", "5 streams at once"),
        ("diarize_model = 'latest'", "50 streams at once"),
    ],
)
def test_doubtful_options_are_met_with_a_warning(tmp_path: Path, text: str, message: str) -> None:
    (warning,) = load_text(tmp_path, f"[deepgram]\n{text}").warnings
    assert message in warning


def test_the_transcript_template_is_filled_by_replacing() -> None:
    redis = RedisConfig(transcript_stream="{t}.{interaction_id}")
    assert redis.transcript_key("{0}{interaction_id}%s") == "{t}.{0}{interaction_id}%s"


# ---- the environment


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
    known = {path for path, _ in keys()}
    for fate in RETIRED.values():
        for path in re.findall(rf"\b(?:{'|'.join(SECTIONS)})\.\w+", fate):
            assert path in known


# ---- secrets


def test_no_key_no_start() -> None:
    """Requirements 18: the mock is asked for by name; it is never what a missing key leads to."""
    with pytest.raises(ConfigError, match="there is no API key: set DEEPGRAM_API_KEY"):
        load(None, {}, system_file=NOWHERE)
    assert load(None, {"ASR_PROVIDER": "mock"}, system_file=NOWHERE).config.deepgram.api_key is None


def test_where_the_key_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    (tmp_path / "deepgram_api_key").write_text("from-systemd\n")
    systemd = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    text = f"[deepgram]\napi_key_file = '{file}'"

    def key(loaded: Loaded) -> tuple[str, str]:
        assert loaded.config.deepgram.api_key is not None
        return loaded.config.deepgram.api_key.reveal(), loaded.origins["deepgram.api_key"]

    assert key(load_text(tmp_path, text, KEY | systemd)) == (KEY["DEEPGRAM_API_KEY"], "env DEEPGRAM_API_KEY")
    assert key(load_text(tmp_path, text, systemd)) == ("from-file", str(file))
    assert key(load_text(tmp_path, "", systemd)) == ("from-systemd", str(tmp_path / "deepgram_api_key"))
    file.unlink()
    (line,) = [line for line in refusal(tmp_path, text, systemd) if "cannot be read" in line]
    assert line == f"{file}: the Deepgram API key cannot be read: No such file or directory"


@pytest.mark.parametrize("key", ["two words", "ümlaut", "a\nb", "\x07bell"])
def test_an_unusable_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigError, match="holds no usable Deepgram API key") as caught:
        load(None, {"DEEPGRAM_API_KEY": key}, system_file=NOWHERE)
    assert key not in str(caught.value)


def test_an_empty_key_file_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("\n")
    lines = refusal(tmp_path, f"[deepgram]\napi_key_file = '{file}'", {})
    assert f"{file}: holds no usable Deepgram API key: one line without blanks is allowed" in lines


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("the-token-from-the-file\n")
    (tmp_path / "http_token").write_text("the-token-from-systemd\n")
    systemd = KEY | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    text = f"[http]\ntoken_file = '{file}'"

    def token(loaded: Loaded) -> tuple[str, str]:
        assert loaded.config.http.token is not None
        return loaded.config.http.token.reveal(), loaded.origins["http.token"]

    assert load_text(tmp_path, "").config.http.token is None
    assert token(load_text(tmp_path, text, systemd | TOKEN)) == (
        "0123456789abcdef",
        "env TRIO_ASR_HTTP_TOKEN",
    )
    assert token(load_text(tmp_path, text, systemd)) == ("the-token-from-the-file", str(file))
    assert token(load_text(tmp_path, "", systemd)) == ("the-token-from-systemd", str(tmp_path / "http_token"))
    file.unlink()
    (line,) = refusal(tmp_path, text, systemd)
    assert line == f"{file}: the HTTP token cannot be read: No such file or directory"


def test_a_token_that_could_be_guessed_or_stands_in_the_file_is_refused(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "", KEY | {"TRIO_ASR_HTTP_TOKEN": "sesame"})
    allowed = "one line of at least 16 characters without blanks is allowed"
    assert line == f"env TRIO_ASR_HTTP_TOKEN: holds no usable HTTP token: {allowed}"
    (line,) = refusal(tmp_path, "[http]\ntoken = 'sesame-sesame-sesame'")
    assert "name a file that holds it in http.token_file" in line
    assert "sesame" not in line


def test_the_token_does_not_show() -> None:
    loaded = load(None, KEY | TOKEN, system_file=NOWHERE)
    report = "\n".join(check.report(loaded))
    assert TOKEN["TRIO_ASR_HTTP_TOKEN"] not in repr(loaded) + report
    assert re.search(r"^# the token is \*\*\* +# env TRIO_ASR_HTTP_TOKEN$", report, re.MULTILINE)


def test_a_secret_does_not_show() -> None:
    secret = Secret("hunter2hunter2")
    for text in (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>20}",
        f"{DeepgramConfig(api_key=secret)}",
    ):
        assert "hunter2" not in text
    assert secret.reveal() == "hunter2hunter2"
    assert secret == Secret("hunter2hunter2")
    assert secret != Secret("other")
    assert secret != "hunter2hunter2"
    assert len({secret, Secret("hunter2hunter2")}) == 1
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(DeepgramConfig(api_key=secret))


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://user:p@ss@h:6379/0", "redis://***@h:6379/0"),
        ("redis//:p@h", "***@h"),
        ("//:p@h", "//***@h"),
        ("redis://h?password=p&db=1", "redis://h?password=***&db=1"),
        ("unix://u:p@/run/redis.sock", "unix://***@/run/redis.sock"),
    ],
)
def test_urls_are_masked(url: str, masked: str) -> None:
    assert mask_url(url) == masked


def test_the_redis_password_does_not_show(tmp_path: Path) -> None:
    url = "redis://:sesame@h:6379"
    loaded = load(None, KEY | {"REDIS_URL": url}, system_file=NOWHERE)
    assert loaded.config.redis.url == url
    assert "sesame" not in repr(loaded)
    assert "sesame" not in "\n".join(check.report(loaded))
    assert "sesame" not in "\n".join(refusal(tmp_path, "", KEY | {"REDIS_URL": "http://:sesame@h"}))
    assert "sesame" not in "\n".join(refusal(tmp_path, "[redis]\npassword = 'sesame'"))


# ---- the query


def test_query_as_the_old_worker_sent_it() -> None:
    assert query_items(DeepgramConfig(), 8000) == [
        ("model", "nova-2"), ("language", "en-US"), ("smart_format", "true"), ("interim_results", "true"),
        ("sample_rate", "8000"), ("encoding", "linear16"), ("channels", "1"),
    ]  # fmt: skip


def test_query_of_all_kinds_of_options() -> None:
    config = DeepgramConfig(
        smart_format=False, endpointing=False, utterance_end_ms=1000, vad_events=True, keyterm=("a b", "c"),
        redact=("pci", "ssn"), extra=("id:1",),
    )  # fmt: skip
    items = query_items(config, 16000)
    assert ("smart_format", "false") in items
    assert items[7:] == [
        ("endpointing", "false"), ("utterance_end_ms", "1000"), ("vad_events", "true"),
        ("redact", "pci"), ("redact", "ssn"), ("keyterm", "a b"), ("keyterm", "c"), ("extra", "id:1"),
    ]  # fmt: skip


def test_every_option_is_a_key_and_every_other_key_is_not_sent() -> None:
    ours = {
        "url", "api_key_file", "max_connections", "keepalive_ms", "connect_timeout_ms", "close_timeout_ms",
        "stall_timeout_ms", "send_timeout_ms", "catchup_rate", "max_open_segment_s", "api_key",
        "options",
    }  # fmt: skip
    assert set(DeepgramConfig.__struct_fields__) == ours | set(QUERY_OPTIONS)


# ---- what is written about it


def documented() -> list[list[str]]:
    page = (ROOT / "docs/configuration.md").read_text()
    rows = [
        line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| `\w+\.\w+` \|", line)
    ]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_page_lists_every_key_as_it_is() -> None:
    expected = []
    for path, field in keys():
        default = "not set" if field.default is None else f"`{shown(path, field.default)}`"
        expected.append([f"`{path}`", kind_of(field.type), default, allowed_by(field.type)])
    assert [row[:4] for row in documented()] == expected
    assert all(len(row) == 5 and row[4].endswith((".", ")")) for row in documented())


def test_the_page_lists_every_variable() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    for name in [*OVERRIDES, "DEEPGRAM_API_KEY"]:
        assert f"| `{name}` |" in page
    for name, fate in RETIRED.items():
        assert f"| `{name}` | {fate} |" in page


def test_the_shipped_file_holds_every_key_with_its_default() -> None:
    text = (ROOT / "config.toml").read_text()
    loaded = load(ROOT / "config.toml", KEY)
    assert loaded.config == load(None, KEY, system_file=NOWHERE).config
    document = tomllib.loads(text)
    for path, field in keys():
        section, name = path.split(".")
        assert (name in document[section]) == (field.default is not None)


def test_the_shipped_files_examples_are_allowed(tmp_path: Path) -> None:
    section, examples = "", []
    for line in (ROOT / "config.toml").read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1]
        elif found := re.fullmatch(r"# (\w+ = .+)", line):
            examples.append(f"[{section}]\n{found[1]}")
    assert len(examples) == sum(field.default is None for _, field in keys())
    for example in examples:
        more = "\npunctuate = true" if "dictation" in example else ""
        load_text(tmp_path, example + more, KEY | TOKEN)


def test_every_key_of_the_file_has_a_comment() -> None:
    lines = (ROOT / "config.toml").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"(# )?\w+ = ", line):
            assert re.match(r"# .*[^,]$", before), line


# ---- the command


def run_check(*arguments: str, env: dict[str, str] | None = None) -> Result:
    clean = dict.fromkeys([*OVERRIDES, *RETIRED, "DEEPGRAM_API_KEY", "CREDENTIALS_DIRECTORY"])
    return CliRunner(env=clean | (env or {})).invoke(check.check, arguments)


def test_check_prints_a_config_file_with_origins(tmp_path: Path) -> None:
    file = tmp_path / "trio.toml"
    file.write_text('[deepgram]\nkeyterm = ["a \\"b\\""]\nmodel = "nova-3"\n')
    result = run_check("--config", str(file), env=KEY | {"PORT": "1", "LOG_LEVEL": "debug"})
    assert result.exit_code == 0
    assert re.search(r"^port = 1 +# env PORT$", result.stdout, re.MULTILINE)
    assert re.search(r'^model = "nova-3" +# file$', result.stdout, re.MULTILINE)
    assert re.search(r"^# the API key is \*\*\* +# env DEEPGRAM_API_KEY$", result.stdout, re.MULTILINE)
    assert KEY["DEEPGRAM_API_KEY"] not in result.output
    assert "Warning: environment: LOG_LEVEL is not read: set log.level" in result.stderr
    # What it prints can be used as a file, and means the same.
    again = tmp_path / "again.toml"
    again.write_text(result.stdout)
    assert load(again, KEY).config == load(file, KEY | {"PORT": "1"}).config


def test_check_exits_with_2_and_says_why(tmp_path: Path) -> None:
    result = run_check("--config", str(tmp_path / "none.toml"))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "cannot be read" in result.stderr

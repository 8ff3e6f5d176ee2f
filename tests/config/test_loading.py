"""Files and environments: what comes from where, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.config.helpers import KEY, NOWHERE, load_text, refusal, refused_text

from trio_asr.config import ConfigError, load
from trio_asr.config.sections import keys


def test_a_file_that_is_no_configuration_is_not_read_for_ever(tmp_path: Path) -> None:
    (problem,) = refusal(tmp_path, "#" * 300_000)
    assert "larger than" in problem
    with pytest.raises(ConfigError, match="larger than"):
        load(Path("/dev/zero"), KEY)


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


def test_a_file_of_nothing_but_unknown_keys_is_told_of_in_part(tmp_path: Path) -> None:
    message = refused_text(tmp_path, "".join(f"k{i} = 1\n" for i in range(20_000)))
    assert message.count("unknown key") == 50
    assert message.endswith("FILE: and more, which are not told")
    message = refused_text(tmp_path, "[redis]\n" + "".join(f'"{"x" * 2000}{i}" = 1\n' for i in range(100)))
    assert message.count("unknown key") == 50


@pytest.mark.parametrize(
    ("section", "key"),
    [("deepgram", "api_key_file"), ("http", "token_file"), ("http", "host"), ("redis", "url")],
)
def test_a_nul_where_a_name_belongs(tmp_path: Path, section: str, key: str) -> None:
    message = refused_text(tmp_path, f'[{section}]\n{key} = "/x\\u0000y"', {})
    assert f"{section}.{key} = " in message


def test_what_nobody_has_thought_of_is_a_refusal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RecursionError("sesame")

    monkeypatch.setattr("trio_asr.config.rules.problems", fail)
    with pytest.raises(ConfigError) as caught:
        load(None, KEY, system_file=NOWHERE)
    assert caught.value.problems == ["configuration: cannot be used: RecursionError in its checking"]

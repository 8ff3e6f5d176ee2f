"""Text of any kind where a configuration belongs: it is refused in words, soon, and shows no secret."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from fuzz.targets import config_target
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_asr.commands import check
from trio_asr.config import Config, ConfigError, DeepgramConfig, HttpConfig, Loaded, RedisConfig, load
from trio_asr.config.reading import MAX_DEPTH, MAX_PARTS, Unparsable, parse

KEY = {"DEEPGRAM_API_KEY": "dg-key-1234567890"}
NOWHERE = Path("/nonexistent/config.toml")


def refusal(path: Path, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, KEY if env is None else env)
    return str(caught.value)


def refused_text(tmp_path: Path, text: str | bytes, env: dict[str, str] | None = None) -> str:
    file = tmp_path / "trio.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refusal(file, env)
    assert len(message) < 20_000
    return message.replace(str(file), "FILE")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "[" * 100_000, "FILE: line 1 is nested more than 8 deep"),
        ("\nx = " + "{a=" * 50_000, "FILE: line 2 is nested more than 8 deep"),
        ("x = " + "9" * 5_000, "FILE: line 1 has a number or key of more than 200 characters"),
        ("x = 0x" + "f" * 5_000, "FILE: line 1 has a number or key of more than 200 characters"),
        (".".join(["a"] * 50_000) + " = 1", "FILE: line 1 has a key of more than 16 parts"),
        ("[" + " . ".join(['"a"'] * 30_000) + "]", "FILE: line 1 has a key of more than 16 parts"),
        ("x = {" + ".".join(["a"] * 50_000) + " = 1}", "FILE: line 1 has a key of more than 16 parts"),
        ('x = "' + '\\"' * 100_000, "FILE: is not valid TOML: Unterminated string"),
        ('x = """' + '\\"""' * 60_000, "FILE: is not valid TOML: Unterminated string"),
        ("x = 2026-13-01", "FILE: is not valid TOML: "),
        ("x = 1979-05-27T25:00:00", "FILE: is not valid TOML: "),
        (b"\xff\xfe", "FILE: is not valid TOML: invalid start byte at byte 0: UTF-8 is needed"),
        (b"\x00", "FILE: is not valid TOML: "),
        ('x = "\\ud800"', "FILE: is not valid TOML: "),
    ],
    ids=lambda value: str(value)[:20],
)
def test_text_that_is_no_configuration(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert refused_text(tmp_path, text).startswith(message)


def test_what_is_inside_texts_and_comments_does_not_count() -> None:
    marks = "[" * 50 + "." * 50
    for quoted in (
        f'"{marks}"',
        f"'{marks}'",
        f'"""{marks}\n"" \\""" "{marks}"""',
        f"'''{marks}\n''{marks}'''",
    ):
        parse(f"x = {quoted} # {marks}\ny = {quoted}\n".encode())


def test_the_bounds_are_where_they_are_said_to_be() -> None:
    parse(f"x = {'[' * MAX_DEPTH}{']' * MAX_DEPTH}".encode())
    parse(f"{'.'.join('a' * MAX_PARTS)} = 1".encode())
    for text in (f"x = {'[' * 9}{']' * 9}", f"{'.'.join('a' * 17)} = 1"):
        with pytest.raises(Unparsable):
            parse(text.encode())


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


def test_what_is_no_file_is_read_for_no_longer_than_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_asr.config.reading.READ_S", 0.01)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "nothing came within 0.01 s" in refusal(fifo)
    writing = os.open(fifo, os.O_RDWR)  # somebody has it open and says nothing
    assert "nothing came within 0.01 s" in refusal(fifo)
    os.close(writing)
    assert "Is a directory" in refusal(tmp_path)
    assert "larger than" in refusal(Path("/dev/zero"))
    assert "it is no file, and holds nothing" in refusal(Path("/dev/null"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        assert "cannot be read" in refusal(tmp_path / "socket")
    assert "cannot be read: no such name is possible" in refusal(Path("/x\0y"))
    assert "cannot be read: File name too long" in refusal(Path("/" + "x" * 5000))
    # The same for what holds a secret.
    assert f"{fifo}: the Deepgram API key cannot be read" in refused_text(
        tmp_path, f'[deepgram]\napi_key_file = "{fifo}"', {}
    )


def test_a_pipe_that_has_something_to_say_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    text = b'[log]\nlevel = "debug"\n' + b"# and more\n" * 10_000  # more than a pipe holds

    def say() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(text)

    thread = threading.Thread(target=say)
    thread.start()
    assert load(Path(f"/dev/fd/{reading}"), KEY).config.log.level == "debug"
    thread.join()
    os.close(reading)


def test_a_directory_of_credentials_that_cannot_be_looked_at() -> None:
    for directory in ("/" + "x" * 5000, "/dev/null", "/x\udcff"):
        with pytest.raises(ConfigError):
            load(None, {"CREDENTIALS_DIRECTORY": directory}, system_file=NOWHERE)


def test_what_nobody_has_thought_of_is_a_refusal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RecursionError("sesame")

    monkeypatch.setattr("trio_asr.config.rules.problems", fail)
    with pytest.raises(ConfigError) as caught:
        load(None, KEY, system_file=NOWHERE)
    assert caught.value.problems == ["configuration: cannot be used: RecursionError in its checking"]


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


# ---- what must not be seen


def everything_shown(tmp_path: Path, text: str, env: dict[str, str]) -> str:
    """What `check`, the log and a traceback would show."""
    file = tmp_path / "trio.toml"
    file.write_text(text)
    try:
        loaded: Loaded = load(file, env)
    except ConfigError as error:
        return str(error) + repr(error)
    return "\n".join([*check.report(loaded), *loaded.warnings, repr(loaded), repr(loaded.origins)])


SECRET = "0123456789abcdef0123456789abcdef01234567"  # as Deepgram's are


@pytest.mark.parametrize(
    "text",
    [
        "[redis]\npass = '{}'", "[redis]\npassword = '{}'", "[deepgram]\nkey = '{}'",
        "[deepgram]\napikey = '{}'",
        "[deepgram]\napi_key = '{}'", "[http]\ntoken = '{}'", "[http]\nauth = ['{}']", "[oops]\nx = '{}'",
        "oops = '{}'", "redis = 'redis://:{}@h'", "redis = ['redis://:{}@h']", "[[redis]]\nurl = '{}'",
        "[redis.url]\nx = '{}'", "[deepgram.model]\nx = '{}'", "[deepgram]\nmodel = {{x = '{}'}}",
        "[deepgram]\napi_key_file = '{}'", "[http]\ntoken_file = '{}'", "[deepgram]\napi_key_file = '/{}'",
        "[deepgram]\napi_key_file = 'keys/{}'", "[redis]\nurl = '{}'", "[redis]\nurl = ['redis://:{}@h']",
        "[redis]\nurl = 'redis://:{}@h'", "[redis]\nurl = 'redis://{}@h'", "[redis]\nurl = 'redis://:{}/a@h'",
        "[redis]\nurl = 'redis://:a/{}@h'", "[redis]\nurl = 'redis://:a#{}@h'",
        "[redis]\nurl = 'redis://:a?{}@h'",
        "[redis]\nurl = 'redis://h?password={}'", "[redis]\nurl = 'redis://h?token={}'",
        "[redis]\nurl = 'redis://h?{}'", "[redis]\nurl = 'redis://h#{}'",
        "[redis]\nurl = 'redis://u:1?{}=b@h'",
        "[redis]\nurl = 'rediss://h?ssl_password={}'", "[redis]\nurl = 'redis://:{}@[::1'",
        "[deepgram]\nurl = 'wss://x/v1?token={}'", "[deepgram]\nurl = 'wss://{}@x/v1'",
        "[deepgram]\nurl = '{}'",
        "[deepgram]\noptions = {{token = '{}'}}", "[deepgram]\noptions = {{x = {{y = '{}'}}}}",
        "[deepgram]\noptions = {{callback = 'https://x?key={}'}}", "x = '{}", "x = {}", "[{}",
        "'{}' = 1\n'{}' = 1",
    ],
)  # fmt: skip
def test_a_secret_does_not_show_wherever_it_was_put(tmp_path: Path, text: str) -> None:
    filled = text.format(SECRET, SECRET)
    assert SECRET in filled
    for env in (KEY, {}, KEY | {"ASR_PROVIDER": "mock"}):
        if "= 1" not in text:  # a key's own name is shown
            assert SECRET not in everything_shown(tmp_path, filled, env)


@pytest.mark.parametrize("name", ["REDIS_URL", "DEEPGRAM_API_KEY", "TRIO_ASR_HTTP_TOKEN"])
@pytest.mark.parametrize(
    "form", ["{}", "'{}'", "Token {}", "a\n{}", "redis://:{}@h:x", "DEEPGRAM_API_KEY={}"]
)
def test_nor_that_of_the_environment(tmp_path: Path, name: str, form: str) -> None:
    assert SECRET not in everything_shown(tmp_path, "", KEY | {name: form.format(SECRET)})


def test_a_file_that_is_there_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET)
    shown = everything_shown(tmp_path, f"[deepgram]\napi_key_file = '{file}'", {})
    assert f'api_key_file = "{file}"' in shown
    assert SECRET not in shown


def test_a_config_in_a_traceback_shows_nothing() -> None:
    config = Config(
        redis=RedisConfig(url=f"redis://h?token={SECRET}"),
        deepgram=DeepgramConfig(api_key_file=SECRET),
        http=HttpConfig(token_file=f"/{SECRET}"),
    )
    assert SECRET not in repr(config)


def test_the_password_of_redis_is_a_secret_of_the_log() -> None:
    for url in ("redis://:p%40ssword@h", "redis://h?password=p%40ssword", "redis://h?password=p@ssword"):
        assert "p@ssword" in [secret.reveal() for secret in Config(redis=RedisConfig(url=url)).secrets]
    assert Config(redis=RedisConfig(url="redis://[::1")).secrets == []


# ---- any text at all

WORDS = [
    "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\n", "#", '"', "'", '"""', "'''", "\\", "\\u0000", "e",
    "redis", "deepgram", "http", "url", "options", "api_key_file", "token_file", "host", "keyterm", "model",
    "[redis]\n", "[deepgram]\n", "url = ", "redis://", "wss://", "@", ":", "/", "?", "%", "db=", "nan", "inf",
    "1979-05-27", "T07:32:00", "+25:99", "0x", "true", "host = ", "options = ", "\x7f", "\r", "\ud7ff",
]  # fmt: skip
PIECE = st.one_of(
    st.sampled_from(WORDS),
    st.integers().map(str),
    st.text(max_size=8),
)


@given(st.lists(PIECE, max_size=30).map("".join), st.lists(PIECE, max_size=6).map("".join))
@settings(deadline=None)
def test_any_text_is_a_configuration_or_a_refusal(text: str, url: str) -> None:
    config_target(f"{text}\x00{url}".encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_a_configuration_or_a_refusal(data: bytes) -> None:
    config_target(data)


def test_the_target_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_asr.config.loading.mask_url", str)
    with pytest.raises(AssertionError):
        config_target(b"\x00a-user:x")

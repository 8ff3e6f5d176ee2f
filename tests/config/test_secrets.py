"""Secrets: where they are found, what they may look like, and that none is ever shown."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import msgspec
import pytest
from tests.config.helpers import KEY, NOWHERE, TOKEN, load_text, refusal

from trio_asr.commands import check
from trio_asr.config import (
    Config,
    ConfigError,
    DeepgramConfig,
    HttpConfig,
    Loaded,
    RedisConfig,
    Secret,
    load,
    mask_url,
    shown,
)


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


def test_a_directory_of_credentials_that_cannot_be_looked_at() -> None:
    for directory in ("/" + "x" * 5000, "/dev/null", "/x\udcff"):
        with pytest.raises(ConfigError):
            load(None, {"CREDENTIALS_DIRECTORY": directory}, system_file=NOWHERE)


def everything_shown(tmp_path: Path, text: str, env: dict[str, str]) -> str:
    """What `check`, the log and a traceback would show, for the worker and for the ingest."""
    file = tmp_path / "trio.toml"
    file.write_text(text)
    shown: list[str] = []
    for ingest in (False, True):
        try:
            loaded: Loaded = load(file, env, ingest=ingest)
        except ConfigError as error:
            shown += [str(error), repr(error)]
        else:
            shown += [*check.report(loaded), *loaded.warnings, repr(loaded), repr(loaded.origins)]
    return "\n".join(shown)


ROUTE = "[[ingest.route]]\npath = '/x'\nplatform = 'generic'\n"
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
        ROUTE + "token = '{}'", ROUTE + "password = ['{}']", ROUTE + "secrets = {{token = '{}'}}",
        ROUTE + "token_file = '{}'", ROUTE + "auth = 'bearer'\ntoken_file = '/{}'", ROUTE + "pasword = '{}'",
        "[[ingest.route]]\ntoken = '{}'", "[ingest]\nroute = '{}'", "[ingest.route]\ntoken = '{}'",
        "[ingest]\npublic_url = '{}'", "[ingest]\npublic_url = 'wss://u:{}@x'",
        "[ingest]\ntls_key_file = '{}'",
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


@pytest.mark.parametrize("name", ["REDIS_URL", "DEEPGRAM_API_KEY", "TRIO_ASR_HTTP_TOKEN", "JWT_PUBLIC_KEY"])
@pytest.mark.parametrize(
    "form", ["{}", "'{}'", "Token {}", "a\n{}", "redis://:{}@h:x", "DEEPGRAM_API_KEY={}"]
)
def test_nor_that_of_the_environment(tmp_path: Path, name: str, form: str) -> None:
    assert SECRET not in everything_shown(tmp_path, ROUTE, KEY | {name: form.format(SECRET)})


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


def test_an_option_by_the_name_of_a_secret_is_one() -> None:
    deepgram = DeepgramConfig(
        extra=("session:call-7", f"my_token:{SECRET}-1"),
        options={"callback_token": f"{SECRET}-2", "my_auth": (f"{SECRET}-3", 471_147), "tier": "enhanced"},
    )
    found = [one.reveal() for one in Config(deepgram=deepgram).secrets]
    assert found == [f"{SECRET}-1", f"{SECRET}-2", f"{SECRET}-3", "471147"]
    assert SECRET not in repr(deepgram)
    assert "session:call-7" in repr(deepgram)
    assert shown("deepgram.extra", deepgram.extra) == '["session:call-7", "my_token:***"]'


def test_the_password_of_redis_is_a_secret_of_the_log() -> None:
    for url in ("redis://:p%40ssword@h", "redis://h?password=p%40ssword", "redis://h?password=p@ssword"):
        assert "p@ssword" in [secret.reveal() for secret in Config(redis=RedisConfig(url=url)).secrets]
    assert Config(redis=RedisConfig(url="redis://[::1")).secrets == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"sesame"', "it stands in quotes"), ("'sesame'", "it stands in quotes"), ("`sesame`",
        "it stands in quotes"),
        ("sesame'", "it stands in quotes"), ("DEEPGRAM_API_KEY=sesame", "it has a name and = before it"),
        ("export KEY=sesame", "it has a name and = before it"), ("key = sesame",
        "it has a name and = before it"),
        ("sesame\nsesame", "it has several lines"), ("sesame\r\n\r\nsesame", "it has several lines"),
        ("Token sesame", "leave out the word before it"), ("Bearer sesame", "leave out the word before it"),
        ("Token:sesame", "it has a name and : before it"), ("Bearer:sesame", "it has a name and : before it"),
        ("deepgram_api_key:sesame", "it has a name and : before it"),
        ("x-api-key: sesame", "it has a name and : before it"),
        ("Authorization:Token:sesame", "it has a name and : before it"),
        ('{"api_key":"sesame"}', "it stands in brackets"), ("<sesame>", "it stands in brackets"),
        ("[sesame]", "it stands in brackets"), ("${sesame}", "it stands in brackets"),
        ("$(cat /sesame)", "it stands in brackets"), ("{{sesame}}", "it stands in brackets"),
        ("sesame-DEEPGRAM_API_KEY", "is the name of the variable"),
        ("DEEPGRAM-API-KEY=sesame", "it has a name and = before it"),
        ("deepgram.api_key=sesame", "it has a name and = before it"),
        ("sesame,", "a comma or semicolon follows it"), ("sesame;", "a comma or semicolon follows it"),
        ("token\tsesame", "leave out the word before it"), ("a sesame", "one line without blanks"),
    ],
)  # fmt: skip
def test_a_key_with_something_around_it_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(text.encode() + b"\n")
    for line in (
        *refusal(tmp_path, f"[deepgram]\napi_key_file = '{file}'", {})[:1],
        *refusal(tmp_path, "", {"DEEPGRAM_API_KEY": text})[:1],
    ):
        assert "holds no usable Deepgram API key: " in line
        assert words in line
        assert "sesame" not in line


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef",
        "Zm9vYmFyZm9vYg==",
        "a.b-c_d~e+f/g=",
        "a-b=",
        "Tokens",
        "bearer-x",
        "user:pass",
        "$1x",
        "<x",
        "k",
        "a,b;c",
    ],
)
def test_keys_that_are_taken(text: str) -> None:
    loaded = load(None, {"DEEPGRAM_API_KEY": text}, system_file=NOWHERE)
    assert loaded.config.deepgram.api_key == Secret(text)


@pytest.mark.parametrize("text", ["${DEEPGRAM_API_KEY}", "$DEEPGRAM_API_KEY", "%DEEPGRAM_API_KEY%"])
def test_the_name_of_the_variable_is_no_key(text: str) -> None:
    with pytest.raises(ConfigError, match="holds no usable Deepgram API key"):
        load(None, {"DEEPGRAM_API_KEY": text}, system_file=NOWHERE)


@pytest.mark.parametrize("around", ["Token:{}", "api_key:{}", "<{}>", "${{{}}}", "{},", "{};", "a-b={}"])
def test_a_token_may_be_any_text(around: str) -> None:
    text = around.format("0123456789abcdef")
    loaded = load(None, KEY | {"TRIO_ASR_HTTP_TOKEN": text}, system_file=NOWHERE)
    assert loaded.config.http.token == Secret(text)


def test_a_token_may_have_an_equals_sign_but_not_its_own_name() -> None:
    def token(text: str) -> Loaded:
        return load(None, KEY | {"TRIO_ASR_HTTP_TOKEN": text}, system_file=NOWHERE)

    assert token("part=of-the-token-itself").config.http.token == Secret("part=of-the-token-itself")
    with pytest.raises(Exception, match="it has a name and = before it"):
        token("TRIO_ASR_HTTP_TOKEN=0123456789abcdef")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("wss://h/v1?token=abc&db=1", "wss://h/v1?token=***&db=1"), ("redis://h?abc", "redis://h?***"),
        ("redis://h?a$b=c", "redis://h?***"), ("redis://h#abc", "redis://h#***"),
        ("redis://h?db=1#abc?db=2", "redis://h?db=1#***"), ("redis://h?socket_timeout=5",
        "redis://h?socket_timeout=5"),
    ],
)  # fmt: skip
def test_queries_and_fragments_are_masked(url: str, masked: str) -> None:
    assert mask_url(url) == masked

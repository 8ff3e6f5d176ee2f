"""URLs, hosts and keys: what the daemon could not use as it is meant is refused in words, and only that."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from redis.connection import parse_url
from tests.test_config import KEY, NOWHERE, load_text, refusal

from trio_asr.config import DeepgramConfig, Loaded, Secret, load, mask_url, query_items
from trio_asr.config.addresses import deepgram_problem, host_problem
from trio_asr.config.redis_url import cleaned, problem
from trio_asr.deepgram.websocket import DeepgramProvider

LONG = "a" * 300


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "redis://h:1", "redis://h:65535/0", "redis://h/", "redis://127.0.0.1/15",
        "redis://:6379",
        "redis://[::1]:6379/1", "redis://[fe80::1%25eth0]", "redis://:p%2F%3F%23%40%25@h", "redis://u:p@h",
        "redis://u@h", "redis://a-b_c.d.e.", "rediss://h?ssl_cert_reqs=none",
        "rediss://h?ssl_cert_reqs=optional",
        "rediss://h?ssl_check_hostname=false&ssl_ciphers=HIGH", "redis://h?db=3", "redis://h/3?db=3",
        "redis://h?socket_keepalive=true", "redis://h?password=p@ss", "unix:///run/redis.sock",
        "unix://u:p@/run/redis.sock?db=1", "redis://redis", "redis://127.1",
    ],
)  # fmt: skip
def test_urls_of_redis_that_are_used(url: str) -> None:
    assert problem(url) is None
    assert load(None, KEY | {"REDIS_URL": url}, system_file=NOWHERE).config.redis.url == url
    redis.ConnectionPool.from_url(url).make_connection()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:se/same@h:6379",
        "the port must be a number from 1 to 65535; in the password, write / as %2F"),
        ("redis://:se?same@h:6379", "the port must be a number from 1 to 65535; in the password"),
        ("redis://:se#same@h:6379", "nothing may follow a #; in the password"),
        ("redis://u:12#same@h:6379", "nothing may follow a #; in the password"),
        ("redis://u:12/same@h:6379",
        "the path must be the number of a database, as in redis://host:6379/1; in"),
        ("redis://u:12?same@h:6379", "the option there is not known; in the password"),
        ("redis://h:99999", "the port must be"), ("redis://h:x", "the port must be"),
        ("redis://h:", "the port must be"), ("redis://h:0", "the port must be"),
        ("redis://h:-1", "the port must be"), ("redis://h:\u0661", "the port must be"),
        (f"redis://h:{'9' * 5000}", "the port must be"), ("redis://h:+1", "the port must be"),
        ("redis://a:1,b:2", "cannot be told apart"), ("redis://::1:6379", "cannot be told apart"),
        ("redis://[::1", "is a bracket missing"), ("redis://[::x]", "it is no URL"),
        ("redis://[a]", "it is no URL"), ("redis://::1]", "is a bracket missing"),
        ("redis://a..b", "nothing between two dots"), (f"redis://{LONG}", "the host is too long"),
        (f"redis://{'a.' * 150}b", "the host is too long"), ("redis://h\u00f6st", "beyond ASCII"),
        ("redis://a%00b", "characters that no name has"), ("redis://999.1.1.1", "no address of IPv4"),
        ("redis://h/x", "number of a database"), ("redis://h/-1", "number of a database"),
        ("redis://h/1/2", "number of a database"), ("redis://h/1234567", "number of a database"),
        ("redis://h?db=x", "db must be the number"), ("redis://h?db=", "db has no value"),
        ("redis://h/1?db=2", "different databases"), ("redis://h?db=1&db=2", "stands there twice"),
        ("redis://h?foo=1", "the option foo is not known"), ("redis://h?host=x",
        "the option host is not known"),
        ("redis://h?foo", "the option foo is not known"), ("redis://h?connection_class=x", "is not known"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs is for rediss:// only"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "must be none or optional or required"),
        ("rediss://h?ssl_check_hostname=off", "must be true or false"),
        ("rediss://h?ssl_ca_certs=/nowhere", "what ssl_ca_certs names cannot be read: No such file"),
        ("rediss://h?ssl_certfile=/dev/null", "what ssl_certfile names cannot be used"),
        ("rediss://h?ssl_keyfile=/dev/null", "ssl_keyfile needs ssl_certfile"),
        ("rediss://h?ssl_ciphers=nonsense", "what ssl_ciphers names cannot be used"),
        ("redis://u:p@h?password=x", "the password stands before the host and in the option password"),
        ("redis://:%ff@h", "is not UTF-8"), ("unix://run/redis.sock", "a socket's path begins with a /"),
        ("unix://", "a socket's path begins"), ("unix:///run/", "a socket's path begins"),
        (f"unix:///{LONG}", "at most 107 bytes"), ("unix:///a%00b", "at most 107 bytes"),
        ("unix:///run/redis.sock?socket_keepalive=true", "socket_keepalive is not known"),
        ("redis://h\x7f", "cannot be printed"), ("redis://h\x00", "cannot be printed"),
    ],
)  # fmt: skip
def test_urls_of_redis_that_are_refused(url: str, words: str) -> None:
    (line,) = refusal_of_url(url)
    assert words in line
    assert "same" not in line
    assert line.startswith("env REDIS_URL: redis.url = ") or "allowed is a redis://" in line


def refusal_of_url(url: str) -> list[str]:
    from trio_asr.config import ConfigError

    with pytest.raises(ConfigError) as caught:
        load(None, KEY | {"REDIS_URL": url}, system_file=NOWHERE)
    return caught.value.problems


@pytest.mark.parametrize(
    ("url", "used", "names"),
    [
        ("redis://h/1?decode_responses=true", "redis://h/1", ["decode_responses"]),
        ("redis://h?protocol=3&db=1&socket_timeout=x", "redis://h?db=1", ["protocol", "socket_timeout"]),
        ("redis://u:p%3f@h?max_connections=1&max_connections=2", "redis://u:p%3f@h", ["max_connections"]),
        ("redis://h?retry_on_timeout=true&health_check_interval=30", "redis://h", [
            "health_check_interval", "retry_on_timeout"]),
        ("unix:///s?socket_timeout=5&db=1", "unix:///s?db=1", ["socket_timeout"]),
        ("redis://h", "redis://h", []), ("redis://h?db=1", "redis://h?db=1", []),
    ],
)  # fmt: skip
def test_what_the_daemon_sets_itself_is_taken_out(url: str, used: str, names: list[str]) -> None:
    assert cleaned(url) == (used, names)
    loaded = load(None, KEY | {"REDIS_URL": url}, system_file=NOWHERE)
    assert loaded.config.redis.url == used
    assert loaded.warnings == tuple(
        f"env REDIS_URL: redis.url: its option {name} has no effect: the daemon sets it" for name in names
    )
    assert not parse_url(used).keys() & set(names)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "url",
    [
        "wss://api.deepgram.com/v1/listen", "wss://api.eu.deepgram.com/v1/listen", "ws://h:8080/v1/listen",
        "ws://[::1]:8080/v1/listen", "ws://127.0.0.1/x", "ws://proxy/", "wss://h/a%20b/~c",
    ],
)  # fmt: skip
def test_urls_of_deepgram_that_are_used(url: str) -> None:
    assert deepgram_problem(url) is None
    DeepgramProvider(DeepgramConfig(url=url), Secret("k")).target(8000).encode("ascii")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("wss://h:99999/v1/listen", "the port must be a number from 1 to 65535"), ("wss://h:x/v1",
        "the port must"),
        ("wss://h:/v1", "the port must"), ("wss://h:0/v1", "the port must"), ("wss://[::1/v1",
        "cannot be told apart"),
        ("wss://[x]/v1", "only an address of IPv6"), ("wss://[:::]/v1", "no address of IPv6"),
        ("wss://a..b/v1", "nothing between two dots"), ("wss://.b/v1", "nothing between two dots"),
        (f"wss://{LONG}/v1", "the host is too long"), ("wss://h\u00f6st/v1", "write its xn-- form"),
        ("wss://h/v1/l\u00efsten", "percent-encoded"), ("wss://h\u2100/v1", "beyond ASCII"),
        ("wss://api.deepgram.com", "it has no path; Deepgram's is /v1/listen"),
        ("wss://api.deepgram.com/", "it has no path; Deepgram's is /v1/listen"), ("wss://h",
        "it has no path"),
        ("wss://a\\b/v1", "characters that no name has"), ("wss://a%b/v1", "characters that no name has"),
        ("wss://h/v1\x00", "percent-encoded"), ("wss://h\x00/v1", "characters that no name has"),
    ],
)  # fmt: skip
def test_urls_of_deepgram_that_are_refused(tmp_path: Path, url: str, words: str) -> None:
    escaped = "".join(
        char if char.isprintable() else f"\\u{ord(char):04x}" for char in url.replace("\\", "\\\\")
    )
    (line,) = refusal(tmp_path, f'[deepgram]\nurl = "{escaped}"')
    assert words in line
    assert len(line) < 400


def test_hosts_to_listen_on(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::", "::1", "fe80::1%eth0", "localhost", "0.0.0.0", "a.b-c"):
        assert host_problem(host) is None
        assert load_text(tmp_path, f"[http]\nhost = '{host}'").config.http.host == host
    for host in ("[::]", "a..b", "a:1", "h\u00f6st", "a" * 64, ".", "a\\b", "1.2.3.4.5", "*"):
        (line,) = refusal(tmp_path, f"[http]\nhost = '{host}'")
        assert "http.host = " in line


# ---- keys


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
    "text", ["0123456789abcdef", "Zm9vYmFyZm9vYg==", "a.b-c_d~e+f/g=", "Tokens", "bearer-x"]
)
def test_keys_that_are_taken(text: str) -> None:
    loaded = load(None, {"DEEPGRAM_API_KEY": text}, system_file=NOWHERE)
    assert loaded.config.deepgram.api_key == Secret(text)


def test_a_token_may_have_an_equals_sign_but_not_its_own_name() -> None:
    def token(text: str) -> Loaded:
        return load(None, KEY | {"TRIO_ASR_HTTP_TOKEN": text}, system_file=NOWHERE)

    assert token("part=of-the-token-itself").config.http.token == Secret("part=of-the-token-itself")
    with pytest.raises(Exception, match="it has a name and = before it"):
        token("TRIO_ASR_HTTP_TOKEN=0123456789abcdef")


# ---- options that this version does not know


def test_options_are_passed_on_as_they_are(tmp_path: Path) -> None:
    text = (
        '[deepgram]\noptions = {new = true, off = false, n = 5, s = "a b&c", list = ["x", 1, true], no = []}'
    )
    config = load_text(tmp_path, text).config.deepgram
    assert query_items(config, 8000)[7:] == [
        ("new", "true"), ("off", "false"), ("n", "5"), ("s", "a b&c"), ("list", "x"), ("list", "1"),
        ("list", "true"),
    ]  # fmt: skip
    target = DeepgramProvider(config, Secret("k")).target(8000)
    assert target.endswith("&channels=1&new=true&off=false&n=5&s=a+b%26c&list=x&list=1&list=true")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("model = 'nova-3'", "model has a key of its own: set deepgram.model"),
        ("Model = 'nova-3'", "Model has a key of its own: set deepgram.model"),
        ("max_connections = 1", "max_connections has a key of its own"), ("keyterm = ['a']",
        "keyterm has a key of"),
        ("url = 'x'", "url has a key of its own"), ("options = 'x'", "options has a key of its own"),
        ("callback = 'https://x'", "callback is not offered: it would break the timeline"),
        ("channels = 2", "channels is not offered"), ("encoding = 'opus'", "encoding is not offered"),
        ("sample_rate = 8000", "sample_rate is not offered"), ("multichannel = true",
        "multichannel is not offered"),
        ("callback_method = 'PUT'", "callback_method is not offered"), ("api_key = 'k'",
        "api_key is not offered"),
        ("a = 1.5", "allowed is names, each with"), ("a = { b = 1 }", "allowed is names"),
        ("a = [[1]]", "allowed is names"), ("a = 9223372036854775808", "allowed is names"),
        ("'a b' = 1", "allowed is names"), ("'' = 1", "allowed is names"), ("a = 2026-01-01",
        "allowed is names"),
        (f"a = '{'x' * 2049}'", "allowed is names"), (f"a = [{'1,' * 101}]", "allowed is names"),
        (", ".join(f"a{i} = 1" for i in range(51)), "allowed is names"),
    ],
)  # fmt: skip
def test_options_that_are_refused(tmp_path: Path, options: str, words: str) -> None:
    (line,) = refusal(tmp_path, f"[deepgram]\noptions = {{ {options} }}")
    assert f"{tmp_path / 'trio.toml'}: deepgram.options = a table: " in line
    assert words in line


def test_options_may_be_a_table_of_their_own(tmp_path: Path) -> None:
    assert load_text(tmp_path, "[deepgram.options]\nnew = 1").config.deepgram.options == {"new": 1}


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

"""URLs of Redis: what the daemon could not use as it is meant is refused in words."""

from __future__ import annotations

import pytest
import redis
from redis.connection import parse_url
from tests.config.helpers import KEY, NOWHERE

from trio_asr.config import ConfigError, load
from trio_asr.config.redis_url import cleaned, problem

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

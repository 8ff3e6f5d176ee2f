"""Commands that go out together, on a connection that may be gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from trio_asr.bus.line import Line
from trio_asr.tools.embedded import EmbeddedValkey

OPTIONS = {"socket_timeout": 0.25, "protocol": 2}
ID = ("CLIENT", "ID")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def line(redis_url: str) -> Iterator[Line]:
    one = Line(redis_url, OPTIONS)
    yield one
    one.close()


def test_replies_are_in_the_order_of_the_commands(line: Line) -> None:
    sets = [("SET", f"key-{i}", i) for i in range(500)]
    gets = [("GET", f"key-{i}") for i in range(500)]
    assert line.ask(*sets, *gets) == [b"OK"] * 500 + [str(i).encode() for i in range(500)]
    assert line.ask() == []


def test_more_than_the_server_and_the_network_hold_at_once(line: Line) -> None:
    data = bytes(range(256)) * 40_000
    assert line.ask(*[("SET", f"key-{i}", data) for i in range(5)]) == [b"OK"] * 5
    assert line.ask(*[("GET", f"key-{i}") for i in range(5)]) == [data] * 5


def test_a_refusal_is_of_its_command_alone(line: Line) -> None:
    commands = [("SET", "key", "a"), ("INCR", "key"), ("GET", "key")]
    with pytest.raises(redis.ResponseError, match="not an integer"):
        line.ask(*commands)
    done, refused, value = line.ask(*commands, raise_on_error=False)
    assert (done, value) == (b"OK", b"a")
    assert isinstance(refused, redis.ResponseError)


def test_a_connection_that_the_server_closed_in_a_pause(line: Line, client: redis.Redis) -> None:
    (first,) = line.ask(ID)
    client.client_kill_filter(_id=first)
    (second,) = line.ask(ID)
    assert second > first
    assert line.ask(ID) == [second]


def test_no_answer_in_time_is_none_for_the_next(new_valkey: Callable[..., EmbeddedValkey]) -> None:
    server = new_valkey()
    line = Line(server.url, OPTIONS)
    line.ask(("SET", "key", "a"))
    server.pause()
    with pytest.raises(redis.TimeoutError):
        line.ask(("GET", "key"))
    with pytest.raises(redis.TimeoutError):
        line.ask(("GET", "key"))
    server.resume()
    assert line.ask(("GET", "no key"), ("GET", "key")) == [None, b"a"]
    line.close()


def test_no_server(new_valkey: Callable[..., EmbeddedValkey]) -> None:
    server = new_valkey()
    line = Line(server.url, OPTIONS)
    line.ask(("SET", "key", "a"))
    server.kill()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            line.ask(("GET", "key"))
    server.start()
    assert line.ask(("GET", "key")) in ([None], [b"a"])
    line.close()

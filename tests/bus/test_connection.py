"""Commands that go out together, on a connection that may be gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from tests.bus.proxy import proxy

from trio_asr.bus.connection import PipelinedConnection, ReplyTooLargeError
from trio_asr.lab.rig.valkey import EmbeddedValkey

OPTIONS = {"socket_timeout": 60, "protocol": 2}  # for ever, however slow the machine
HASTY = OPTIONS | {"socket_timeout": 0.25}
ID = ("CLIENT", "ID")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def line(redis_url: str) -> Iterator[PipelinedConnection]:
    one = PipelinedConnection(redis_url, OPTIONS)
    yield one
    one.close()


def test_replies_are_in_the_order_of_the_commands(line: PipelinedConnection) -> None:
    sets = [("SET", f"key-{i}", i) for i in range(500)]
    gets = [("GET", f"key-{i}") for i in range(500)]
    assert line.ask(*sets, *gets) == [b"OK"] * 500 + [str(i).encode() for i in range(500)]
    assert line.ask() == []


def test_more_than_the_server_and_the_network_hold_at_once(line: PipelinedConnection) -> None:
    data = bytes(range(256)) * 40_000
    assert line.ask(*[("SET", f"key-{i}", data) for i in range(5)]) == [b"OK"] * 5
    assert line.ask(*[("GET", f"key-{i}") for i in range(5)]) == [data] * 5


def test_a_refusal_is_of_its_command_alone(line: PipelinedConnection) -> None:
    commands = [("SET", "key", "a"), ("INCR", "key"), ("GET", "key")]
    done, refused, value = line.ask(*commands)
    assert (done, value) == (b"OK", b"a")
    assert isinstance(refused, redis.ResponseError)
    assert "not an integer" in str(refused)


def test_a_connection_that_the_server_closed_in_a_pause(
    line: PipelinedConnection, client: redis.Redis
) -> None:
    (first,) = line.ask(ID)
    client.client_kill_filter(_id=first)
    (second,) = line.ask(ID)
    assert second > first
    assert line.ask(ID) == [second]


def test_no_answer_in_time_is_none_for_the_next(new_valkey: Callable[..., EmbeddedValkey]) -> None:
    server = new_valkey()
    line = PipelinedConnection(server.url, HASTY)
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
    line = PipelinedConnection(server.url, OPTIONS)
    line.ask(("SET", "key", "a"))
    server.kill()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            line.ask(("GET", "key"))
    server.start()
    assert line.ask(("GET", "key")) in ([None], [b"a"])
    line.close()


def test_a_reply_above_the_bound(redis_url: str, client: redis.Redis) -> None:
    """It is given up about there, whatever its size; the next round has all of its own bound."""
    line = PipelinedConnection(redis_url, OPTIONS, 1_000_000)
    client.set("small", bytes(900_000))
    client.set("large", bytes(50_000_000))
    for _ in range(3):
        assert len(line.ask(("GET", "small"))[0]) == 900_000
        with pytest.raises(ReplyTooLargeError):
            line.ask(("GET", "large"))
        assert -200_000 < line._left[0] < 0
    with pytest.raises(ReplyTooLargeError):
        line.ask(("GET", "small"), ("GET", "small"))
    assert line.ask(("GET", "no key")) == [None]
    line.close()


def test_what_nobody_asked_for_is_no_answer(redis_url: str, valkey: EmbeddedValkey) -> None:
    """A reply given twice, by a proxy that repeats, is left behind with its connection."""
    with proxy(valkey.port) as between:
        line = PipelinedConnection(
            between.url.removesuffix("/0") + redis_url[redis_url.rindex("/") :], OPTIONS
        )
        for i in range(20):
            between.times = 1 + i % 2
            assert line.ask(("SET", "key", i), ("GET", "key")) == [b"OK", str(i).encode()]
        line.close()

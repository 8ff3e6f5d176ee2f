"""Questions that share a connection: together, each judged on its own, and none for callers who have gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis
import trio

from trio_asr.bus.base import BusFault, BusForbids, BusUnavailable
from trio_asr.bus.connection import Command, PipelinedConnection, ReplyTooLargeError
from trio_asr.bus.line import ROUND_BYTES, Line, Steps


class Server(PipelinedConnection):
    """A connection to nowhere: it replies with the names of the commands, as `reply` changes them."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.closed = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked = threading.Event()
        self.reply: Callable[[list[str]], Sequence[Any]] = lambda names: names

    def ask(self, *commands: Command) -> list[Any]:
        names = [str(command[0]) for command in commands]
        self.rounds.append(names)
        self.asked.set()
        assert self.go_on.wait(60)
        return list(self.reply(names))

    def close(self) -> None:
        self.closed += 1


def steps(*names: str) -> Steps[list[Any]]:
    """Ask one command a round trip; return all replies."""
    replies = []
    for name in names:
        (reply,) = yield [(name,)]
        if isinstance(reply, Exception):
            raise reply
        replies.append(reply)
    return replies


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def line(server: Server) -> Line:
    return Line("test", server)


async def while_busy(server: Server, line: Line, *later: Callable[[], Any]) -> list[Any]:
    """Put questions while an earlier one is under way; return their results, or errors."""
    server.go_on.clear()
    server.asked.clear()
    results: list[Any] = [None] * len(later)

    async def put(i: int) -> None:
        try:
            results[i] = await later[i]()
        except (BusUnavailable, BusForbids) as error:
            results[i] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.ask, steps("busy"))
        await trio.to_thread.run_sync(server.asked.wait, 60)
        for i in range(len(later)):
            nursery.start_soon(put, i)
            await trio.testing.wait_all_tasks_blocked()
        server.go_on.set()
    return results


async def test_what_waits_is_sent_together_and_urgent_things_first(server: Server, line: Line) -> None:
    results = await while_busy(
        server,
        line,
        lambda: line.ask(steps("a1", "a2")),
        lambda: line.ask(steps("b1", "b2", "b3")),
        lambda: line.ask(steps("c1"), urgent=True),
    )
    assert results == [["a1", "a2"], ["b1", "b2", "b3"], ["c1"]]
    assert server.rounds == [["busy"], ["c1", "a1", "b1"], ["a2", "b2"], ["b3"]]


async def test_each_is_judged_on_its_own(server: Server, line: Line) -> None:
    def forbidden() -> Steps[None]:
        yield [("x",)]
        raise BusForbids("no")

    def bug() -> Steps[None]:
        yield [("x",)]
        raise KeyError("bug")

    refusal = redis.ResponseError("refused")
    server.reply = lambda names: [refusal if name == "bad" else name for name in names]
    bad, good, forbids, fault = await while_busy(
        server,
        line,
        lambda: line.ask(steps("bad")),
        lambda: line.ask(steps("good")),
        lambda: line.ask(forbidden()),
        lambda: line.ask(bug()),
    )
    assert (type(bad), bad.__cause__, str(bad)) == (BusUnavailable, refusal, "ResponseError: refused")
    assert good == ["good"]
    assert isinstance(forbids, BusForbids)
    assert (type(fault), type(fault.__cause__)) == (BusFault, KeyError)
    assert server.closed == 1, "late replies belong to others"


async def test_no_answer_fails_all_that_was_under_way(server: Server, line: Line) -> None:
    def none(names: list[str]) -> list[str]:
        if "a" in names:
            raise redis.TimeoutError("none")
        return names

    server.reply = none
    results = await while_busy(server, line, lambda: line.ask(steps("a")), lambda: line.ask(steps("b")))
    assert [str(result) for result in results] == ["TimeoutError: none"] * 2
    assert await line.ask(steps("c")) == ["c"]


async def test_a_reply_that_is_too_large_is_the_trouble_of_one(server: Server, line: Line) -> None:
    def large(names: list[str]) -> list[str]:
        if "large" in names:
            raise ReplyTooLargeError("too large")
        return names

    server.reply = large
    results = await while_busy(server, line, lambda: line.ask(steps("a")), lambda: line.ask(steps("large")))
    assert results[0] == ["a"]
    assert isinstance(results[1].__cause__, ReplyTooLargeError)
    assert server.rounds == [["busy"], ["a", "large"], ["a"], ["large"]]


async def test_large_replies_come_one_after_another(server: Server, line: Line) -> None:
    half = ROUND_BYTES // 2
    await while_busy(
        server,
        line,
        *(lambda name=name: line.ask(steps(name), weight=half) for name in "abc"),
    )
    assert server.rounds == [["busy"], ["a", "b"], ["c"]]


async def test_a_cancelled_caller_does_not_wait_and_what_was_begun_goes_on(
    server: Server, line: Line
) -> None:
    server.go_on.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.ask, steps("begun", "goes on"))
        await trio.to_thread.run_sync(server.asked.wait, 60)
        nursery.start_soon(line.ask, steps("never begun"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not server.go_on.is_set(), "the server stands still, and nobody has waited for it"
    server.go_on.set()
    assert await line.ask(steps("after")) == ["after"]
    assert server.rounds[0] == ["begun"]
    assert sorted(name for names in server.rounds for name in names) == ["after", "begun", "goes on"]


async def test_a_bug_in_the_thread_costs_what_is_under_way(server: Server, line: Line) -> None:
    server.reply = lambda names: names if "x" not in names else []  # too few: what is missing is no reply
    with pytest.raises(BusFault):
        await line.ask(steps("x"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(line, "_send", lambda _: 1 / 0)
        with pytest.raises(BusFault, match="ZeroDivisionError"):
            await line.ask(steps("a"))
    assert await line.ask(steps("b")) == ["b"]


async def test_a_cancelled_task_begins_nothing(server: Server, line: Line) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await line.ask(steps("a"))
    await line.ask(steps("b"))
    assert server.rounds == [["b"]]


async def test_a_line_that_is_closed_lets_nobody_wait(server: Server, line: Line) -> None:
    results = await while_busy(
        server, line, lambda: line.ask(steps("a")), lambda: _closing(line), lambda: line.ask(steps("late"))
    )
    assert results[1] is None
    for result in (results[0], results[2]):
        assert "closed" in str(result)
    assert server.rounds == [["busy"]]


async def _closing(line: Line) -> None:
    await trio.lowlevel.checkpoint()
    line.close()


def test_a_loop_that_ends_leaves_no_thread_behind(server: Server) -> None:
    line = Line("test-left", server)
    server.go_on.clear()

    async def leave() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.ask, steps("a"))
            await trio.to_thread.run_sync(server.asked.wait, 60)
            nursery.cancel_scope.cancel()

    trio.run(leave)
    (left,) = [thread for thread in threading.enumerate() if thread.name == "test-left"]
    server.go_on.set()
    left.join(60)
    assert not left.is_alive()

"""A line to a server: a connection with a thread of its own, for all who have something to ask there.

A question is written as *steps*: a generator that yields the commands of one round trip, is given their
replies, and returns what they mean. Whatever waits is sent together. Each question is judged on its own; only
if the server does not answer, all that were under way fail.

redis-py's blocking client in a thread costs less CPU than the native-async one. A thread of one's own costs
less than `trio.to_thread`: a thread, a limiter slot and three turns of the event loop for each job.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar, cast

import outcome
import redis
import trio

from trio_asr.bus.answers import describe
from trio_asr.bus.base import BusFault, BusForbids, BusUnavailable
from trio_asr.bus.connection import Command, PipelinedConnection, ReplyTooLargeError

T = TypeVar("T")
Steps = Generator[Sequence[Command], list[Any], T]  # a reply may be a `redis.ResponseError`

CLOSED = "the line is closed"
ROUND_BYTES = 4 * 1024 * 1024  # of the replies that are expected to what is sent together


def granted(replies: list[Any]) -> list[Any]:
    """Return the replies.

    Raises:
        redis.ResponseError: The first refusal among them.
    """
    for reply in replies:
        if isinstance(reply, redis.ResponseError):
            raise reply
    return replies


def answer(connection: PipelinedConnection, steps: Steps[T]) -> T:
    """Take steps here and now, and return their result. Blocking.

    Raises:
        redis.RedisError, OSError: No answer, or a refusal that the steps do not expect.
    """
    try:
        commands = next(steps)
        while True:
            commands = steps.send(connection.ask(*commands))
    except StopIteration as done:
        return cast("T", done.value)


class Question(Generic[T]):
    """Steps on their way, and the task that waits for their result.

    `commands` are those to send next. `urgent` questions are sent before all others that wait. `weight` is
    the expected size of the replies in bytes.
    """

    def __init__(self, steps: Steps[T], *, urgent: bool = False, weight: int = 0) -> None:
        self.urgent, self.weight = urgent, weight
        self.commands: Sequence[Command] = ()
        self.result: outcome.Outcome[T] | None = None
        self._steps = steps
        self._waiting = [trio.lowlevel.current_task()]  # empty once that is cancelled

    @property
    def is_dropped(self) -> bool:
        """Whether nobody waits for the result any more."""
        return not self._waiting

    async def answered(self) -> T:
        """Wait for the result and return it; if cancelled, drop the question."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        return cast("T", await trio.lowlevel.wait_task_rescheduled(abort))

    def go_on(self, replies: list[Any] | Exception | None) -> bool:
        """Go on with the replies to `commands`, or the error in their place; None where there were none.

        Return whether they made sense.
        """
        self.commands = ()
        try:
            if isinstance(replies, Exception):
                self.commands = self._steps.throw(replies)
            else:
                self.commands = self._steps.send(replies)  # type: ignore[arg-type] # None begins them
        except StopIteration as done:
            self.result = outcome.Value(done.value)
        except Exception as error:  # noqa: BLE001 - whatever it is, only this question fails
            return self.fail(error)
        return True

    def fail(self, error: Exception) -> bool:
        """Let an error be the result. Return whether it is one that the server or the steps give."""
        if isinstance(error, BusUnavailable | BusForbids):
            self.result = outcome.Error(error)
            return True
        is_no_answer = isinstance(error, redis.RedisError | OSError)
        says = f"an answer that makes no sense ({describe(error)[:200]})"
        failure = BusUnavailable(describe(error)) if is_no_answer else BusFault(says)
        failure.__cause__ = error
        self.result = outcome.Error(failure)
        return is_no_answer

    def deliver(self) -> None:
        """Hand over the result to whoever waits for it; in the event loop."""
        if self._waiting:
            trio.lowlevel.reschedule(self._waiting.pop(), cast("outcome.Outcome[Any]", self.result))


Q = TypeVar("Q", bound=Question[Any])


class Questioner(Generic[Q]):
    """A connection in a daemon thread, which starts with the first question."""

    def __init__(self, name: str, connection: PipelinedConnection) -> None:
        self._name, self._connection = name, connection
        # Unbounded, but short: callers wait, and the connection has timeouts of its own.
        self._asked: queue.SimpleQueue[Q | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._going: list[Q] = []  # those that have begun
        self._closed = False

    async def put(self, question: Q) -> Any:
        """Put a question to the server and return its result.

        A cancelled caller does not wait: a stop must not wait for a frozen server. A question that has begun
        goes on, the others are not asked. What the server still applies, it applies under our fence.

        Raises:
            BusUnavailable: No answer; `BusFault` if it made no sense.
            BusForbids: The steps raise it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise BusUnavailable(CLOSED)
        if self._thread is None:
            work = (trio.lowlevel.current_trio_token(),)
            self._thread = threading.Thread(target=self._work, args=work, name=self._name, daemon=True)
            self._thread.start()
        self._asked.put(question)
        return await question.answered()

    def close(self) -> None:
        """Disconnect; what is not answered yet fails."""
        self._closed = True
        self._asked.put(None)
        self._connection.close()

    # -- in the thread ---------------------------------------------------------------------------------------

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        with suppress(trio.RunFinishedError):
            while self._take():
                try:
                    self._serve(token)
                except trio.RunFinishedError:
                    raise
                except Exception as error:  # noqa: BLE001 - a bug costs what is under way, and not the thread
                    self._fail(error, token)
            self._fail(BusUnavailable(CLOSED), token)
        self._connection.close()

    def _fail(self, error: Exception, token: trio.lowlevel.TrioToken) -> None:
        """Let all that is under way fail."""
        failed, self._going = self._going, []
        for question in failed:
            question.fail(error)
        token.run_sync_soon(deliver, failed)

    def _take(self) -> bool:
        """Take all questions that wait; wait for one if there are none. Return whether the line is open."""
        while not self._going or not self._asked.empty():
            question = self._asked.get()
            if question is None:
                return False
            self._going.append(question)
        return True

    def _serve(self, token: trio.lowlevel.TrioToken) -> None:
        """Go on with the questions that have been taken, by one round trip or more."""
        raise NotImplementedError

    def _send(self, questions: Sequence[Question[Any]]) -> None:
        """Ask some questions in one round trip, and go on with each."""
        commands = [command for question in questions for command in question.commands]
        try:
            replies = iter(self._connection.ask(*commands))
        except ReplyTooLargeError as error:
            if len(questions) > 1:  # it is the trouble of one of them
                for question in questions:
                    self._send([question])
            else:
                self._go_on(questions[0], error)
        except Exception as error:  # noqa: BLE001 - judged by each question
            for question in questions:
                self._go_on(question, error)
        else:
            for question in questions:
                self._go_on(question, list(itertools.islice(replies, len(question.commands))))

    def _go_on(self, question: Question[Any], replies: list[Any] | Exception | None = None) -> None:
        if self._closed and isinstance(replies, Exception):  # it says how that came about
            replies = BusUnavailable(CLOSED)
        if not question.go_on(replies):
            self._connection.close()  # replies that are still on their way belong to other questions


class Line(Questioner[Question[Any]]):
    """A line that serves questions as they come."""

    async def ask(self, steps: Steps[T], *, urgent: bool = False, weight: int = 0) -> T:
        """Take the steps and return their result (see `put` and `Question`)."""
        return cast("T", await self.put(Question(steps, urgent=urgent, weight=weight)))

    def _serve(self, token: trio.lowlevel.TrioToken) -> None:
        self._going = [question for question in self._going if question.commands or not question.is_dropped]
        for question in self._going:
            if not question.commands:
                self._go_on(question)
        for some in rounds(sorted(_unanswered(self._going), key=lambda question: not question.urgent)):
            self._send(some)
        done = [question for question in self._going if question.result is not None]
        self._going = _unanswered(self._going)
        token.run_sync_soon(deliver, done)


def rounds(questions: Iterable[Q]) -> Iterator[list[Q]]:
    """Yield the questions in order, parted into round trips of a bearable size."""
    some: list[Q] = []
    size = 0
    for question in questions:
        if some and size + question.weight > ROUND_BYTES:
            yield some
            some, size = [], 0
        some.append(question)
        size += question.weight
    if some:
        yield some


def deliver(questions: Iterable[Question[Any]]) -> None:
    """Hand over the results of questions; in the event loop."""
    for question in questions:
        question.deliver()


def _unanswered(questions: Iterable[Question[Any]]) -> list[Question[Any]]:
    return [question for question in questions if question.result is None]

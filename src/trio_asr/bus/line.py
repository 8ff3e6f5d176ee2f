"""A line to a server: a connection with a thread of its own, for all who have something to ask there.

A question is written as *steps*: a generator that yields the commands of one round trip, is given their
replies, and returns what they mean. Whatever waits is sent together. Each question is judged on its own; only
if the server does not answer, all that were under way fail.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from typing import Any, Generic, TypeVar, cast

import outcome
import redis
import trio

from trio_asr.bus.answers import describe
from trio_asr.bus.base import BusFault, BusForbids, BusUnavailable
from trio_asr.bus.connection import Command, PipelinedConnection, ReplyTooLargeError

T = TypeVar("T")
Steps = Generator[Sequence[Command], list[Any], T]  # a reply may be a `redis.ResponseError`


def granted(replies: list[Any]) -> list[Any]:
    """Return the replies.

    Raises:
        redis.ResponseError: The first refusal among them.
    """
    for reply in replies:
        if isinstance(reply, redis.ResponseError):
            raise reply
    return replies


class _Question(Generic[T]):
    """Steps on their way; `commands` are those to send next."""

    def __init__(self, steps: Steps[T], task: trio.lowlevel.Task, *, urgent: bool) -> None:
        self.steps, self.urgent = steps, urgent
        self.waiting = [task]  # empty once that is cancelled
        self.commands: Sequence[Command] = ()
        self.result: outcome.Outcome[T] | None = None

    def go_on(self, replies: outcome.Outcome[list[Any]] | None = None) -> bool:
        """Go on with the replies to `commands`, or with the error in their place.

        Return whether they made sense.
        """
        try:
            self.commands = next(self.steps) if replies is None else replies.send(self.steps)
        except StopIteration as done:
            self.result = outcome.Value(done.value)
        except (redis.RedisError, OSError) as error:
            self._fail(BusUnavailable(describe(error)), error)
        except (BusUnavailable, BusForbids) as error:
            self.result = outcome.Error(error)
        except Exception as error:  # noqa: BLE001 - an answer of an impossible shape
            self._fail(BusFault(f"an answer that makes no sense ({describe(error)[:200]})"), error)
            return False
        return True

    def _fail(self, error: BusUnavailable, cause: Exception) -> None:
        error.__cause__ = cause
        self.result = outcome.Error(error)

    def deliver(self) -> None:
        if self.waiting:
            trio.lowlevel.reschedule(self.waiting.pop(), cast("outcome.Outcome[Any]", self.result))


class Line:
    """A line to a server. Its daemon thread is started with the first question."""

    def __init__(self, name: str, connection: PipelinedConnection) -> None:
        self._name, self._connection = name, connection
        # Unbounded, but short: callers wait, and the connection has timeouts of its own.
        self._asked: queue.SimpleQueue[_Question[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def ask(self, steps: Steps[T], *, urgent: bool = False) -> T:
        """Take the steps and return their result; `urgent` ones are sent before all others that wait.

        A cancelled caller does not wait: a stop must not wait for a frozen server. Steps that have begun go
        on; the others are not taken.

        Raises:
            BusUnavailable: No answer; `BusFault` if it made no sense.
            BusForbids: Whatever the steps raise.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._thread is None:
            work = (trio.lowlevel.current_trio_token(),)
            self._thread = threading.Thread(target=self._work, args=work, name=self._name, daemon=True)
            self._thread.start()
        question = _Question(steps, trio.lowlevel.current_task(), urgent=urgent)

        def abort(_: object) -> trio.lowlevel.Abort:
            question.waiting.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        self._asked.put(question)
        return cast("T", await trio.lowlevel.wait_task_rescheduled(abort))

    def close(self) -> None:
        """Let the thread exit after the questions that wait, and disconnect."""
        self._asked.put(None)
        self._connection.close()

    # -- in the thread -----------------------------------------------------------------------------------

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        going: list[_Question[Any]] = []
        open_ = True
        while going or open_:
            for question in self._waiting(patient=not going):
                if question is None:
                    open_ = False
                elif question.waiting:
                    going.append(question)
                    self._go_on(question)
            self._send(sorted((one for one in going if one.result is None), key=_last_if_not_urgent))
            done = [one for one in going if one.result is not None]
            going = [one for one in going if one.result is None]
            try:
                token.run_sync_soon(_deliver, done)
            except trio.RunFinishedError:
                break
        self._connection.close()

    def _waiting(self, *, patient: bool) -> list[_Question[Any] | None]:
        """Take all questions that wait; with `patient`, wait for one."""
        found = [self._asked.get()] if patient else []
        while not self._asked.empty():
            found.append(self._asked.get())
        return found

    def _send(self, questions: list[_Question[Any]]) -> None:
        """Ask some questions in one go, and go on with each."""
        if not questions:
            return
        commands = [command for question in questions for command in question.commands]
        try:
            replies = self._connection.ask(*commands, raise_on_error=False)
        except ReplyTooLargeError as error:
            if len(questions) > 1:  # it is the trouble of one of them
                for question in questions:
                    self._send([question])
            else:
                self._go_on(questions[0], outcome.Error(error))
        except Exception as error:  # noqa: BLE001 - judged by each question
            for question in questions:
                self._go_on(question, outcome.Error(error))
        else:
            taken = 0
            for question in questions:
                end = taken + len(question.commands)
                self._go_on(question, outcome.Value(replies[taken:end]))
                taken = end

    def _go_on(self, question: _Question[Any], replies: outcome.Outcome[list[Any]] | None = None) -> None:
        if not question.go_on(replies):
            self._connection.close()  # replies that are still on their way belong to other questions


def _last_if_not_urgent(question: _Question[Any]) -> bool:
    return not question.urgent


def _deliver(questions: list[_Question[Any]]) -> None:
    for question in questions:
        question.deliver()

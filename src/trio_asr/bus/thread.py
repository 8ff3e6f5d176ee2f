"""A thread for a client that blocks.

`trio.to_thread` takes a thread, a place and three turns of the loop for every job; where there are a hundred
a second, most of their price is that.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import outcome
import trio

T = TypeVar("T")


class _Job(NamedTuple):
    do: Callable[[], Any]
    waiting: list[trio.lowlevel.Task]  # who waits for it; nobody any more once that task was cancelled
    token: trio.lowlevel.TrioToken

    def deliver(self, result: outcome.Outcome[Any]) -> None:
        if self.waiting:
            trio.lowlevel.reschedule(self.waiting.pop(), result)


class WorkerThread:
    """Does one job after another. It holds up no end of the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        # Callers wait, and the client has time limits of its own: this holds few, and none of them for long.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, do: Callable[[], T]) -> T:
        """Return what `do` returns, or raise what it raises.

        A cancelled caller does not wait for it: a job that was begun goes on, and what comes next waits; one
        that was not is left out.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        job = _Job(do, [trio.lowlevel.current_task()], trio.lowlevel.current_trio_token())

        def abort(_: object) -> trio.lowlevel.Abort:
            job.waiting.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        self._jobs.put(job)
        return cast("T", await trio.lowlevel.wait_task_rescheduled(abort))

    def close(self) -> None:
        """Let the thread end after what it does now."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.waiting:
                result = outcome.capture(job.do)
                try:
                    job.token.run_sync_soon(job.deliver, result)
                except trio.RunFinishedError:
                    return

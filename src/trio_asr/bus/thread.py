"""A thread for a blocking client.

`trio.to_thread` costs a thread, a limiter slot and three turns of the event loop per job. With a hundred jobs
a second, that is most of what they cost.
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
    waiting: list[trio.lowlevel.Task]  # the task that waits for it; empty once that is cancelled
    token: trio.lowlevel.TrioToken

    def deliver(self, result: outcome.Outcome[Any]) -> None:
        if self.waiting:
            trio.lowlevel.reschedule(self.waiting.pop(), result)


class WorkerThread:
    """A daemon thread that runs one job after another; the process does not wait for it to exit."""

    def __init__(self, name: str) -> None:
        self._name = name
        # Unbounded, but short: callers wait, and the client has timeouts of its own.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, do: Callable[[], T]) -> T:
        """Run `do` in the thread and return its result.

        A cancelled caller does not wait for it. If the job has started, it goes on, and later jobs wait for
        it; otherwise it is skipped.

        Raises:
            Exception: Whatever `do` raises.
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
        """Let the thread exit after the jobs that are queued."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.waiting:
                result = outcome.capture(job.do)
                try:
                    job.token.run_sync_soon(job.deliver, result)
                except trio.RunFinishedError:
                    return

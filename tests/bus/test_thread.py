"""The thread behind the Redis client: one job after another, and none for callers who have gone."""

from __future__ import annotations

import threading

import pytest
import trio

from trio_asr.bus.thread import WorkerThread


def raising() -> None:
    raise ValueError("so the test says")


async def test_results_and_errors_come_back_and_all_of_one_thread() -> None:
    worker = WorkerThread("test")
    assert await worker.run(threading.get_ident) == await worker.run(threading.get_ident)
    assert await worker.run(lambda: 5) == 5
    with pytest.raises(ValueError, match="so the test says"):
        await worker.run(raising)
    worker.close()


async def test_a_cancelled_caller_does_not_wait_and_what_was_begun_goes_on() -> None:
    worker, go_on, done = WorkerThread("test"), threading.Event(), list[str]()

    def slow() -> None:
        go_on.wait(5)
        done.append("slow")

    with trio.move_on_after(0.05) as first:
        await worker.run(slow)
    with trio.move_on_after(0.05) as second:
        await worker.run(lambda: done.append("never begun"))
    assert first.cancelled_caught
    assert second.cancelled_caught
    assert done == []
    go_on.set()
    await worker.run(lambda: done.append("after"))
    assert done == ["slow", "after"]
    worker.close()


async def test_a_cancelled_task_begins_nothing() -> None:
    worker, done = WorkerThread("test"), list[int]()
    with trio.CancelScope() as scope:
        scope.cancel()
        await worker.run(lambda: done.append(1))
    await worker.run(lambda: None)
    assert done == []
    worker.close()


def test_a_loop_that_ends_leaves_no_thread_behind() -> None:
    worker = WorkerThread("test-left")

    begun, go_on = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        go_on.wait()

    async def leave() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, job)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()

    trio.run(leave)
    (left,) = [thread for thread in threading.enumerate() if thread.name == "test-left"]
    go_on.set()
    left.join(60)
    assert not left.is_alive()

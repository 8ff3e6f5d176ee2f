"""Bad readers of the log and bad clients of the pages: they must not affect any call."""

from __future__ import annotations

import trio

from trio_asr.lab.chaos.bad_peers import hold, persist
from trio_asr.lab.chaos.hostile_rows import alive, finals_late, first_late
from trio_asr.lab.chaos.row import SECONDS, ChaosRun, Finding, Row, default_calls
from trio_asr.lab.rig.feeder import FedCall

FILES = 256
CONNECTIONS = 300


async def _unread_log(run: ChaosRun) -> None:
    """Start the worker with a log that nobody reads: a pipe, full after 64 KB."""
    await run.worker.stop()
    run.worker.log_is_read = False
    await run.worker.start_and_wait()


async def _stop_unread(run: ChaosRun) -> None:
    await run.at(SECONDS / 2)
    if (code := await run.worker.stop()) != 0:
        run.broken.append(f"exit code {code} after SIGTERM")
    run.over()
    await run.worker.start()


async def _few_files(run: ChaosRun) -> None:
    await run.worker.stop()
    run.worker.most_files = FILES
    await run.worker.start_and_wait()


FLOOD = (
    b"",
    b"GET /metr",
    b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n" * 500,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + (b"\0\0\x08\x06" + bytes(13)) * 1000,
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade\r\n\r\n",
)
NEW = FedCall("new", 78, 8.0, begin_s=8.0)


async def _flood_pages(run: ChaosRun) -> None:
    """Hold more connections than the pages allow, from before a call begins until it is over."""
    await run.at(3)
    async with trio.open_nursery() as nursery:
        for i in range(CONNECTIONS):
            nursery.start_soon(persist, run.worker.http_port, hold(FLOOD[i % len(FLOOD)]))
        await run.at(10)
        if not await run.worker.health():
            run.broken.append("no page is answered")
        await run.at(18)
        nursery.cancel_scope.cancel()
    run.over()


def _with_new() -> list[FedCall]:
    return [*default_calls(), NEW]


def _new_heard(finding: Finding) -> list[str]:
    return alive(finding) + finals_late(finding) + first_late(finding, NEW)


ROWS = (
    Row(
        "log-unread",
        "nobody reads the log; SIGTERM and a new start",
        _stop_unread,
        before=_unread_log,
        settings={"log": {"level": "debug"}},
        connections=2,
        check=alive,
    ),
    Row(
        "http-flood",
        "300 connections to the pages, with a limit of 256 files",
        _flood_pages,
        _with_new,
        before=_few_files,
        check=_new_heard,
    ),
)

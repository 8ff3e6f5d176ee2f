"""What the real process tells a real notify socket: systemd's side of Type=notify and WatchdogSec=."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_asr.lab.rig.processes import Rig, Settings, Worker, rig
from trio_asr.lab.rig.valkey import free_port

pytestmark = pytest.mark.integration

PERIOD_S = 3.0  # WatchdogSec= of these tests
MEALS = 4
START_S = 60.0


class Manager:
    """The service manager: what it was told, and when."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.heard: list[tuple[float, str]] = []

    async def listen(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            await sock.bind(self.address)
            task_status.started()
            while True:
                message = (await sock.recv(4096)).decode()
                self.heard.append((trio.current_time(), message))

    def fed(self, since: float) -> list[float]:
        """When the watchdog was fed."""
        return [when for when, text in self.heard if text == "WATCHDOG=1" and when >= since]

    async def hears(self, text: str, since: float = 0) -> None:
        with trio.fail_after(START_S):
            while not any(text in said for when, said in self.heard if when >= since):  # noqa: ASYNC110
                await trio.sleep(0.02)

    async def is_fed(self) -> None:
        """Watch for a while: it is fed on and on (how punctually, the notifier's own tests say)."""
        began = trio.current_time()
        with trio.fail_after(START_S):
            while len(self.fed(began)) < MEALS:  # noqa: ASYNC110
                await trio.sleep(0.02)


class Managed(Worker):
    """A worker with `$NOTIFY_SOCKET` and `$WATCHDOG_USEC`, as systemd starts it."""

    def __init__(self, worker: Worker, manager: Manager) -> None:
        environment = {
            **worker._environment,
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": str(int(PERIOD_S * 1_000_000)),
        }
        super().__init__(worker.name, worker.config, environment, worker.log, worker.http_port)


@asynccontextmanager
async def managed(r: Rig, settings: Settings | None = None) -> AsyncIterator[tuple[Managed, Manager]]:
    manager = Manager(r.work / "notify")
    worker = Managed(r.worker(settings), manager)
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.listen)
        await worker.start()
        try:
            yield worker, manager
        finally:
            await worker.aclose()
            nursery.cancel_scope.cancel()


MOCK: Settings = {"asr": {"provider": "mock"}}


async def test_it_is_fed_while_redis_was_never_there(tmp_path: Path) -> None:
    """A start without Redis is a start: systemd must not kill what waits."""
    nowhere: Settings = {"redis": {"url": f"redis://127.0.0.1:{free_port()}"}}
    async with rig(tmp_path, settings=MOCK) as r, managed(r, nowhere) as (worker, manager):
        await manager.hears("READY=1")
        await manager.is_fed()
        assert await worker.stop() == 0
        await manager.hears("STOPPING=1")


async def test_it_is_fed_while_redis_is_away_or_frozen(tmp_path: Path) -> None:
    async with rig(tmp_path, settings=MOCK) as r, managed(r) as (worker, manager):
        await worker.has_role("active")
        r.valkey.pause()
        await manager.is_fed()
        r.valkey.resume()
        await trio.to_thread.run_sync(r.valkey.kill)
        await manager.is_fed()
        assert worker.running


async def test_a_standby_is_fed_and_says_its_role(tmp_path: Path) -> None:
    async with rig(tmp_path, settings=MOCK) as r:
        active = r.worker()
        await active.start_and_wait()
        async with managed(r) as (worker, manager):
            await manager.hears("STATUS=standby")
            await manager.is_fed()
            assert (await worker.health())["role"] == "standby"
            await active.stop()
            await manager.hears("STATUS=active")


async def test_it_goes_hungry_when_the_loop_no_longer_turns(tmp_path: Path) -> None:
    async with rig(tmp_path, settings=MOCK) as r, managed(r) as (worker, manager):
        await worker.has_role("active")
        worker.freeze()
        await trio.sleep(1)  # what was on its way has come
        fed = len(manager.fed(0))
        await trio.sleep(PERIOD_S)
        assert len(manager.fed(0)) == fed
        worker.thaw()
        await manager.is_fed()


async def test_a_reload_is_announced_and_ended(tmp_path: Path) -> None:
    async with rig(tmp_path, settings=MOCK) as r, managed(r) as (worker, manager):
        await worker.has_role("active")
        began = trio.current_time()
        worker.signal(signal.SIGHUP)
        await manager.hears("RELOADING=1", since=began)
        await manager.hears("READY=1", since=began)

"""A state of a later version on Redis: the process ends and says why, and all waits for one that knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from tests.e2e.helpers import keeps_promises

from trio_asr.client.redis import connect
from trio_asr.lab.rig.feeder import Feeder, calls
from trio_asr.lab.rig.processes import Rig, Worker, rig
from trio_asr.lab.rig.run import Run
from trio_asr.wire.records import VERSION

pytestmark = pytest.mark.integration

CALLS, SECONDS = 3, 12.0
PREFIX = "trio_asr:{asr-worker}:"
KEY = f"{PREFIX}call:call-002"
SAID = f"call 'call-002': state of version {VERSION + 1}; this program knows versions up to {VERSION}"
BEYOND_S = 60.0  # a guard against hanging


class Stored:
    """What workers have written, with the state of one call as a later version would write it."""

    def __init__(self, url: str) -> None:
        self._client: Any = connect(url)
        known: Any = self._client.hget(KEY, "state")
        self._known: bytes = known
        newer = msgspec.json.decode(self._known) | {"version": VERSION + 1, "place": {"at": "another"}}
        self._client.hset(KEY, "state", msgspec.json.encode(newer))
        self._before = self._written()

    def is_untouched(self) -> None:
        """Check that nobody has written anything since, and that nobody owns the calls."""
        assert self._written() == self._before
        assert not self._client.exists(f"{PREFIX}lease")

    def become_readable(self) -> None:
        """Let this program stand for one of the later version."""
        self._client.hset(KEY, "state", self._known)
        self._client.close()

    def _written(self) -> dict[bytes, bytes]:
        """Return all that a worker may write, but for what says who owns the calls."""
        names = set(self._client.keys(f"{PREFIX}*")) | set(self._client.keys("*transcript*"))
        names |= {b"asr_events", b"asr_dead_letter"}
        names -= {f"{PREFIX}lease".encode(), f"{PREFIX}fence".encode()}
        return {name: self._client.dump(name) for name in names}


async def gives_up(worker: Worker) -> None:
    assert await worker.ended(BEYOND_S) == 1
    assert worker.output().endswith(f"\nError: {SAID}\n")
    assert "Traceback" not in worker.output()


async def stopped_and_started(r: Rig) -> None:
    """No worker runs meanwhile. It is started again and again, as systemd does."""
    (worker,) = r.workers
    assert await worker.stop() == 0
    stored = await trio.to_thread.run_sync(Stored, r.valkey.url)
    for _ in range(2):
        await worker.start()
        await gives_up(worker)
        stored.is_untouched()
    stored.become_readable()
    await worker.start()


async def killed_beside_a_standby(r: Rig) -> None:
    worker, standby = r.workers
    standby.freeze()  # or it might take over before the state is that of a later version
    await worker.kill()
    stored = await trio.to_thread.run_sync(Stored, r.valkey.url)
    standby.thaw()
    await gives_up(standby)
    stored.is_untouched()
    stored.become_readable()
    await standby.start()


@pytest.mark.parametrize("deed", [stopped_and_started, killed_beside_a_standby])
@pytest.mark.soak
async def test_a_later_version_s_call_is_left_to_one_that_knows_it(deed: Any, tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.worker().start_and_wait()
        if deed is killed_beside_a_standby:
            await r.worker().start_and_wait("standby")

        async def interrupt(began: float) -> None:
            await trio.sleep_until(began + 4.0)
            while (await r.simulator.connections())["total"] < CALLS:  # noqa: ASYNC110 (of another process)
                await trio.sleep(0.1)
            await deed(r)

        account = await Run(r, Feeder(r.valkey.url, calls(CALLS, SECONDS))).run(interrupt, within=120)
        keeps_promises(account, samples=CALLS * round(SECONDS * 8000), connections=2)

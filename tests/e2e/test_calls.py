"""The whole daemon as a process, a real Valkey and the simulator: every sample accounted for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from tests.e2e.helpers import PATIENT, keeps_promises, web_app_lines

from trio_asr.lab.rig.feeder import FedCall, Feeder, Mode, calls
from trio_asr.lab.rig.processes import rig
from trio_asr.lab.rig.run import Run

pytestmark = pytest.mark.integration

CALLS = 20
SECONDS = 8.0
RESTARTED = 8  # calls that a restart interrupts


async def test_twenty_calls_end_to_end(tmp_path: Path) -> None:
    """Requirements 7, 13: audio in, transcripts out, continuously, one connection a call."""
    async with rig(tmp_path, settings=PATIENT) as r:
        worker = r.worker()
        await worker.start_and_wait()
        run = Run(r, Feeder(r.valkey.url, calls(CALLS, SECONDS)))
        account = await run.run()
        keeps_promises(account, samples=CALLS * round(SECONDS * 8000), connections=1)
        assert account.dialled == CALLS
        assert run.evidence.most_open == CALLS
        for call in account.calls.values():
            assert call.finals >= SECONDS - 1  # it flowed, a final for each second
        started = [one for events in run.evidence.events.values() for one in events]
        assert sum(one["event"] == "started" for one in started) == CALLS
        log = worker.output()
        for fed in run.feeder.calls:
            assert log.count(f'"Creating new connection for {fed.id}"') == 1
        assert await worker.stop() == 0


@pytest.mark.parametrize("how", ["kill -9", "SIGTERM"])
async def test_a_restart_in_the_middle_changes_nothing(how: str, tmp_path: Path) -> None:
    async with rig(tmp_path, settings=PATIENT) as r:
        worker = r.worker()
        await worker.start_and_wait()

        async def restart(began: float) -> None:
            await trio.sleep_until(began + 3.3)
            while (await r.simulator.connections())["total"] < RESTARTED:  # noqa: ASYNC110 (of another process)
                await trio.sleep(0.1)
            if how == "kill -9":
                await worker.kill()
            else:
                assert await worker.stop() == 0
            await worker.start()

        run = Run(r, Feeder(r.valkey.url, calls(RESTARTED, SECONDS)))
        account = await run.run(restart)
        keeps_promises(account, samples=RESTARTED * round(SECONDS * 8000), connections=2)
        for events in run.evidence.events.values():
            assert [one["event"] for one in events if one["event"] in ("started", "ended", "resumed")] == [
                "started",
                "ended",
            ]


@pytest.mark.soak
async def test_kill_9_again_and_again(tmp_path: Path) -> None:
    """At any moment: while connecting, streaming, closing."""
    chance = random.Random(7)
    async with rig(tmp_path, settings={"redis": {"lease_ms": 1000}}) as r:
        worker = r.worker()
        await worker.start_and_wait()

        async def kill(began: float) -> None:
            for _ in range(5):
                await trio.sleep(chance.uniform(1.2, 3.0))
                await worker.kill()
                await worker.start()

        run = Run(r, Feeder(r.valkey.url, calls(5, 12.0)))
        keeps_promises(await run.run(kill), samples=5 * 12 * 8000)


@pytest.mark.parametrize("partials", [True, pytest.param(False, marks=pytest.mark.soak)])
async def test_the_old_web_app_reads_the_whole_call(partials: bool, tmp_path: Path) -> None:
    """Across a kill -9: first line of a seq wins, 32 bits, blanks skipped."""
    settings, simulate = {"publish": {"partials": partials}}, ("--segment-ms", "2500")
    async with rig(tmp_path, settings=settings, simulate=simulate) as r:
        worker = r.worker()
        await worker.start_and_wait()

        async def restart(began: float) -> None:
            await trio.sleep_until(began + 2.6)
            await worker.kill()
            await worker.start()

        run = Run(r, Feeder(r.valkey.url, calls(2, 6.0, name="web")))
        keeps_promises(await run.run(restart), samples=2 * 6 * 8000)
        for call in run.feeder.calls:
            messages = run.evidence.transcripts[call.id]
            lines = web_app_lines(messages)
            assert len(lines) == len(messages)  # every one of them is a line of its own
            finals = {message["text"] for message in messages if message["type"] == "final"}
            assert partials == (len(finals) < len(lines))
            spans = [
                tuple(map(int, word.partition(":")[2].split("-")))
                for line in lines
                if line in finals
                for word in line.split()
            ]
            assert [first for first, _ in spans] == [0, *(last for _, last in spans[:-1])]
            assert spans[-1][1] == 6 * 8000


async def test_bad_producers_disturb_nobody(tmp_path: Path) -> None:
    modes = [Mode.PLAIN, Mode.TWICE, Mode.END_EARLY, Mode.END_TWICE, Mode.END_UNKNOWN, Mode.ODD]
    async with rig(tmp_path, settings=PATIENT) as r:
        await r.worker().start_and_wait()
        fed = [FedCall(mode.value, number, 5.0, mode) for number, mode in enumerate(modes, 1)]
        run = Run(r, Feeder(r.valkey.url, fed))
        account = await run.run()
        keeps_promises(account, samples=len(modes) * 5 * 8000)
        assert set(run.evidence.events) == {call.id for call in fed}  # none of a call that nobody knows
        # An early end is taken at its word, and what comes after it goes on on another connection.
        assert {one.id for one in account.calls.values() if one.connections != 1} == {Mode.END_EARLY.value}

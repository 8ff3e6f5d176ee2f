"""SIGHUP with a call in progress: a real process, told by its service manager's socket too."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import msgspec
import pytest
import trio
from tests.e2e.helpers import PATIENT, keeps_promises

from trio_asr.lab.rig.feeder import Feeder, calls
from trio_asr.lab.rig.processes import Rig, Settings, rig, toml
from trio_asr.lab.rig.run import Run

pytestmark = pytest.mark.integration

CALL_S = 20.0
MESSAGES = 8


async def chunk_ms(r: Rig) -> float:
    """How much audio is in a message that the one connection gets: however late, never less than is asked."""
    (before,) = (await r.simulator.connections())["connections"]
    with trio.fail_after(60):
        while True:
            await trio.sleep(0.2)
            (after,) = (await r.simulator.connections())["connections"]
            if (messages := after["binary_messages"] - before["binary_messages"]) >= MESSAGES:
                return int(after["audio_bytes"] - before["audio_bytes"]) / 16 / int(messages)


async def test_a_call_goes_on_with_other_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def told() -> list[dict[str, str]]:
            """What the service manager was told since the last time, less the watchdog's."""
            messages: list[dict[str, str]] = []
            while True:
                try:
                    text = manager.recv(1000).decode()
                except BlockingIOError:
                    return messages
                message = dict(line.split("=", 1) for line in text.split("\n"))
                if "WATCHDOG" not in message:
                    messages.append(message)

        async with rig(tmp_path, settings=PATIENT) as r:
            worker = r.worker()
            await worker.start_and_wait()
            file = worker.config.read_text()
            feeder = Feeder(r.valkey.url, calls(1, CALL_S))

            async def deed(began: float) -> None:
                await trio.sleep_until(began + 2)
                assert 190 <= await chunk_ms(r) < 550  # 200 ms
                told()

                worker.config.write_text("[flush]\nmin_chunk_ms = 1\nred = 3\n")
                worker.signal(signal.SIGHUP)
                await worker.said("not reloaded", within=60)
                metrics = await worker.metrics()
                assert 'asr_config_reloads_total{result="failure"} 1.0' in metrics
                assert "asr_config_last_reload_success 0.0" in metrics
                assert "flush.min_chunk_ms = 1" in worker.output()
                assert "flush.red: unknown key" in worker.output()
                reloading, ready = told()
                assert (reloading["RELOADING"], ready["READY"]) == ("1", "1")
                assert int(reloading["MONOTONIC_USEC"]) > 0

                worker.config.write_text(
                    file
                    + toml(
                        {"flush": {"min_chunk_ms": 600, "max_interval_ms": 1000}, "log": {"level": "debug"}}
                    )
                    + toml({"interaction": {"idle_timeout_ms": 5000}, "bus": {"adapter": "memory"}})
                )
                worker.signal(signal.SIGHUP)
                line = await worker.said('"changed"', within=60)
                for key in ("flush.min_chunk_ms", "flush.max_interval_ms", "interaction.idle_timeout_ms"):
                    assert key in line
                assert '"keys":["bus.adapter"]' in await worker.said('"keys"', within=60)
                assert [set(message) for message in told()] == [
                    {"RELOADING", "MONOTONIC_USEC"},
                    {"READY", "STATUS"},
                ]
                assert await chunk_ms(r) >= 550  # 600 ms
                assert "asr_config_last_reload_success 1.0" in await worker.metrics()
                assert '"level":"debug"' in worker.output()

            account = await Run(r, feeder).run(deed)
            keeps_promises(account, samples=round(CALL_S * 8000), connections=1)
            assert await worker.stop() == 0


async def test_limits_reach_calls_and_housekeeping(tmp_path: Path) -> None:
    """A call without an end is over after the idle time that a reload has set."""
    settings: Settings = {"asr": {"provider": "mock"}, "interaction": {"idle_timeout_ms": 60_000}}
    async with rig(tmp_path, settings=settings) as r:
        worker = r.worker()
        await worker.start_and_wait()
        feeder = Feeder(r.valkey.url, calls(1, 1.0))
        async with trio.open_nursery() as nursery:
            await nursery.start(feeder.run)
            await worker.said("Creating new connection", within=60)
            nursery.cancel_scope.cancel()  # the producer dies
        await trio.sleep(2.5)
        assert (await worker.health())["activeBuffers"] == 1
        changed = worker.config.read_text().replace("60000", "1000")
        worker.config.write_text(changed)
        worker.signal(signal.SIGHUP)
        ended = await worker.said('"event":"Call ended"', within=60)
        assert msgspec.json.decode("{" + ended)["reason"] == "idle"

"""The daemon's process: how it starts, what it refuses, how it stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from trio_asr.cli import cli
from trio_asr.config.environment import OLD_VARIABLES
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.feeder import Feeder, calls
from trio_asr.lab.rig.processes import rig
from trio_asr.lab.rig.valkey import free_port

pytestmark = pytest.mark.integration

GRACE_S = 3.0  # the default of shutdown.grace_ms
BEYOND_S = 60.0  # a guard against hanging; the exact times are in test_daemon


async def serve(config: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the daemon with this configuration until it ends by itself."""
    path = tmp_path / "config.toml"
    path.write_text(config)
    env = clean_environment(OLD_VARIABLES) | environment
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-m", "trio_asr", "serve", "--config", str(path)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=env,
        )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("[flush]\ninitial = 500\n", "flush.initial"),
        ('[redis]\nurl = "http://nowhere"\n', "redis.url"),
        ('[deepgram]\nkeepalive_ms = "often"\n', "deepgram.keepalive_ms"),
        ("[flush\n", "config.toml"),
        ("", "DEEPGRAM_API_KEY"),  # provider deepgram is the default, and has no key
    ],
)
def test_an_unusable_configuration_is_exit_code_2(
    config: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config)
    # One that is wrongly accepted must fail here (exit code 1), not serve in the tests' own process.
    monkeypatch.setattr(import_module("trio_asr.commands.serve"), "_run", None)
    runner = CliRunner(env=dict.fromkeys(OLD_VARIABLES))
    done = runner.invoke(cli, ["serve", "--config", str(path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert named in done.stderr


async def test_a_refusal_is_a_line_of_the_process(tmp_path: Path) -> None:
    done = await serve("[flush]\ninitial = 500\n", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


async def test_a_port_in_use_is_exit_code_1_and_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await serve(
            f'[asr]\nprovider = "mock"\n[bus]\nadapter = "memory"\n[http]\nport = {port}\n', tmp_path
        )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert str(port) in line
    assert "in use" in line
    assert "Traceback" not in done.stderr


async def test_it_starts_without_redis_and_stops_without_it(tmp_path: Path) -> None:
    """It says so in readiness, keeps trying, and still obeys."""
    async with rig(tmp_path, settings={"asr": {"provider": "mock"}}) as r:
        url = f"redis://127.0.0.1:{free_port()}"
        worker = r.worker({"redis": {"url": url}})
        await worker.start_and_wait("starting")
        assert (await worker.health())["status"] == "ok"  # not for so long that it is worth an alarm
        assert await worker.stop(GRACE_S + BEYOND_S) == 0


@pytest.mark.parametrize("redis_frozen", [False, True])
async def test_sigterm_stops_within_the_grace(redis_frozen: bool, tmp_path: Path) -> None:
    grace_s = GRACE_S if redis_frozen else 60.0  # which a stop that has nothing to wait for does not take
    async with rig(tmp_path, settings={"shutdown": {"grace_ms": round(grace_s * 1000)}}) as r:
        worker = r.worker()
        await worker.start_and_wait()
        async with trio.open_nursery() as nursery:
            await nursery.start(Feeder(r.valkey.url, calls(3, 30.0)).run)
            await trio.sleep(2)
            if redis_frozen:
                r.valkey.pause()
                await trio.sleep(0.2)
            began = trio.current_time()
            assert await worker.stop(grace_s + BEYOND_S) == 0
            took = trio.current_time() - began
            r.valkey.resume()
            nursery.cancel_scope.cancel()
        assert took < (grace_s + BEYOND_S if redis_frozen else grace_s)


async def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    async with rig(tmp_path, settings={"shutdown": {"grace_ms": 60_000}}) as r:
        worker = r.worker()
        await worker.start_and_wait()
        async with trio.open_nursery() as nursery:
            await nursery.start(Feeder(r.valkey.url, calls(3, 30.0)).run)
            await trio.sleep(2)
            r.valkey.pause()  # so that there is something to wait for
            await trio.sleep(0.5)
            worker.signal(signal.SIGTERM)
            await worker.said('"event":"Stopping"', within=60)  # two that it has not seen yet are one
            await trio.sleep(0.5)
            assert worker.running
            worker.signal(signal.SIGTERM)
            await worker.ended(50.0)
            r.valkey.resume()
            nursery.cancel_scope.cancel()


async def test_sigint_is_a_stop_too(tmp_path: Path) -> None:
    async with rig(tmp_path, settings={"asr": {"provider": "mock"}}) as r:
        worker = r.worker()
        await worker.start_and_wait()
        worker.signal(signal.SIGINT)
        assert await worker.ended(GRACE_S + BEYOND_S) == 0
        assert "Stopping" in worker.output()

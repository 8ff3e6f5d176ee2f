"""A new configuration for a daemon that runs: what changes, what waits, and what a broken file does."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
import trio
from tests.call_harness import call_harness, config, start_call
from trio.testing import MockClock

from trio_asr.config import RELOADABLE, Config, DeepgramConfig, FlushConfig, Secret, merge
from trio_asr.config.sections import HttpConfig, LogConfig, keys
from trio_asr.telemetry import logs


def test_only_what_can_change_in_a_running_daemon_is_taken_over() -> None:
    running = Config()
    loaded = msgspec.structs.replace(
        running,
        flush=FlushConfig(min_chunk_ms=100),
        http=HttpConfig(port=9),
        log=LogConfig(level="debug", format="console"),
    )
    merged = merge(running, loaded)
    assert merged.changed == ("flush.min_chunk_ms", "log.level")
    assert merged.waiting == ("http.port", "log.format")
    assert merged.config.flush.min_chunk_ms == 100
    assert (merged.config.log.level, merged.config.log.format) == ("debug", "json")
    assert merged.config.http == running.http


def test_nothing_changed_changes_nothing() -> None:
    assert merge(Config(), Config()) == (Config(), (), ())


def test_another_key_of_deepgram_is_named() -> None:
    running, loaded = (
        Config(deepgram=DeepgramConfig(api_key=Secret(text))) for text in ("first-key", "second-key")
    )
    assert merge(running, loaded) == (running, (), ("deepgram.api_key",))


def test_every_reloadable_key_is_one() -> None:
    assert {path for path, _ in keys()} >= RELOADABLE


def test_the_page_names_what_reloads() -> None:
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    section = page.partition("## Reload")[2].partition("\n## ")[0]
    assert all(f"`{key}`" in section for key in RELOADABLE)


async def test_intervals_change_in_a_call_in_progress(autojump_clock: MockClock) -> None:
    async with call_harness(settings=config()) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(1.5)
        line.interaction.reload(
            msgspec.structs.replace(config(), flush=FlushConfig(min_chunk_ms=400, max_interval_ms=1000))
        )
        await line.talk(2)
        instants = on.sent()
        steps = [round(b - a, 6) for a, b in itertools.pairwise(instants)]
        assert steps[:4] == [0.2] * 4
        assert steps[-3:] == [0.4] * 3
        assert len(on.connections) == 1


async def test_limits_change_in_a_call_in_progress(autojump_clock: MockClock) -> None:
    async with call_harness(settings=config()) as (on, nursery):
        line = await start_call(on, nursery)
        await line.talk(1)
        new = config(keepalive_ms=1000, catchup_rate=3.0, interaction={"max_unfinalized_s": 60})
        line.interaction.reload(new)
        await line.talk(1)
        await trio.sleep(3.5)  # a KeepAlive each second, where there was none in 4 s
        assert len(on.sent(kind="text")) >= 3
        assert line.call.bounds.max_unfinalized_s == 60
        assert line.interaction.scheduler._chunker._pacer.rate == 3.0
        assert len(on.connections) == 1


@pytest.mark.integration
def test_sighup_reads_the_file_again_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    common = '[bus]\nadapter = "memory"\n[asr]\nprovider = "mock"\n[http]\nport = 0\n'
    file.write_text(common)
    command = [sys.executable, "-m", "trio_asr", "serve", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        watchdog = threading.Timer(120, daemon.kill)  # reading its log has no bound of its own
        watchdog.start()
        assert daemon.stderr is not None
        log = iter(daemon.stderr)

        def until(words: str) -> str:
            return next(line for line in log if words in line)

        try:
            until("Now active")
            file.write_text(common + '[log]\nlevel = "debug"\n[redis]\nlease_ms = 9000\n')
            daemon.send_signal(signal.SIGHUP)
            assert '"changed":["log.level"]' in until("Configuration reloaded")
            assert '"keys":["redis.lease_ms"]' in until("need a restart")
            file.write_text("[flush]\nmin_chunk_ms = 1\n")
            daemon.send_signal(signal.SIGHUP)
            assert "flush.min_chunk_ms = 1" in until("not reloaded")
            assert daemon.poll() is None
        finally:
            daemon.send_signal(signal.SIGTERM)
            code = daemon.wait()
            watchdog.cancel()
        assert code == 0


def teardown_module() -> None:
    logs.set_level("info")

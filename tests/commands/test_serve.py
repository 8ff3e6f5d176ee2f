"""A reload beside calls: each outcome is told, and none of them ends the daemon."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import trio

from trio_asr.commands import serve
from trio_asr.commands.serve import Reload
from trio_asr.config import Config, ConfigError, Loaded
from trio_asr.daemon import Daemon
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics


class Told:
    """What a daemon is told."""

    def __init__(self, fail: Callable[[], None] = lambda: None) -> None:
        self.fail = fail
        self.heard: list[Any] = []
        self.changed = trio.Event()

    def reload(self, loaded: Config) -> None:
        self.fail()
        self._hear(loaded)

    def not_reloaded(self, problems: list[str]) -> None:
        self._hear(problems)

    def _hear(self, what: Any) -> None:
        self.heard.append(what)
        self.changed.set()
        self.changed = trio.Event()


async def after_one(told: Told, metrics: Metrics, path: Path | None = None) -> Any:
    reload = Reload(cast("Daemon", told), path, InternalErrors(metrics))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload.run)
        with trio.fail_after(60):
            heard = told.changed
            reload.ask()
            await heard.wait()
        nursery.cancel_scope.cancel()
    return told.heard[-1]


def returns(config: Config) -> Callable[..., Loaded]:
    return lambda *_: Loaded(config, {}, (), None)


async def test_a_configuration_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config()
    monkeypatch.setattr(serve, "load", returns(config))
    assert await after_one(Told(), Metrics()) is config


async def test_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> NoReturn:
        raise ConfigError(["it is odd"])

    monkeypatch.setattr(serve, "load", load)
    assert await after_one(Told(), Metrics()) == ["it is odd"]


@pytest.mark.parametrize("where", ["load", "reload"])
async def test_a_bug_costs_this_reload_only(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("sesame")

    monkeypatch.setattr(serve, "load", fail if where == "load" else returns(Config()))
    metrics = Metrics()
    assert await after_one(Told(fail), metrics) == ["an internal error: RuntimeError"]
    assert 'asr_internal_errors_total{place="reload"} 1.0' in metrics.exposition().decode()


async def test_a_disk_that_does_not_answer_is_told_and_does_not_hold_the_next_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer, begun = threading.Event(), threading.Event()

    def load(*_: object) -> Loaded:
        begun.set()
        answer.wait(60)
        return Loaded(Config(), {}, (), None)

    monkeypatch.setattr(serve, "load", load)
    monkeypatch.setattr(serve, "READ_S", 0.05)
    told = Told()
    reload = Reload(cast("Daemon", told), Path("/slow"), InternalErrors(Metrics()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload.run)
        with trio.fail_after(60):
            for number in (1, 2):
                heard = told.changed
                for _ in range(5):  # all but one more are the same
                    reload.ask()
                await heard.wait()
                assert told.heard[-1] == ["/slow: could not be read within 0.05 s"]
                assert len(told.heard) >= number
            assert await trio.to_thread.run_sync(begun.wait, 60)
        answer.set()
        nursery.cancel_scope.cancel()

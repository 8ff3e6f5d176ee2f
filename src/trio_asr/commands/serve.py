"""`trio-asr serve`: the daemon as systemd, a container or a terminal runs it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import click
import trio

from trio_asr.bus.base import Bus
from trio_asr.bus.control import Router
from trio_asr.bus.memory import MemoryBus, MemoryStore
from trio_asr.bus.memory_fleet import MemoryFleet, MemoryRouter
from trio_asr.bus.redis import RedisBus
from trio_asr.bus.router import RedisRouter
from trio_asr.commands import early
from trio_asr.commands.check import config_option
from trio_asr.commands.starting import start
from trio_asr.config import Config, ConfigError, load
from trio_asr.daemon import Daemon
from trio_asr.deepgram.mock import MockProvider
from trio_asr.deepgram.provider import Provider
from trio_asr.deepgram.websocket import DeepgramProvider
from trio_asr.telemetry import logs
from trio_asr.telemetry.groups import leaves
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier
from trio_asr.web.server import CannotListenError
from trio_asr.wire.codes import CaughtAt
from trio_asr.wire.records import NewerState
from trio_asr.worker.foreign_readers import ForeignConsumerError
from trio_asr.worker.joining import FleetError

# Reading a configuration takes milliseconds. A disk that hangs must not hold up the next reload.
READ_S = 10.0


@click.command()
@config_option
def serve(path: Path | None) -> None:
    """Run the daemon until it is stopped.

    Reads the audio of calls from Redis, streams each call over one connection to Deepgram, and puts the
    transcripts back on Redis. Logs go to standard error, health and metrics are served over HTTP.

    SIGTERM or Ctrl-C stops in order (exit code 0): a second one at once. What is not finalized yet is
    finished by the next start, or by other members of a fleet, which the shards are handed over to first.
    SIGHUP reads the configuration again: intervals, limits and the log level change in calls in progress.
    Exit code 2: the configuration is not usable; 1: anything else.
    """
    config = start(path, "serve")
    try:
        trio.run(_run, config, path)
    except* (CannotListenError, FleetError, ForeignConsumerError, NewerState) as errors:
        raise click.ClickException(str(leaves(errors)[0])) from errors


async def _run(config: Config, path: Path | None) -> None:
    """Run the daemon, with its signals and reloads, until it has stopped.

    Raises:
        ExceptionGroup: It holds CannotListenError, FleetError or ForeignConsumerError if the daemon cannot
            start, NewerState if there is work that only a later version can do.
    """
    with Notifier() as notifier:
        for remark in notifier.remarks:
            logs.get("serve").warning(remark)
        metrics = Metrics()
        bus = make_router(config) if config.fleet.shards > 1 else make_bus(config)
        daemon = Daemon(config, bus, make_provider(config), metrics, notifier)
        reload = Reload(daemon, path, daemon.internal)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reload.run)
            nursery.start_soon(_obey_signals, daemon, reload, nursery.cancel_scope)
            await daemon.run()
            nursery.cancel_scope.cancel()


async def _obey_signals(daemon: Daemon, reload: Reload, scope: trio.CancelScope) -> None:
    """Obey signals for ever: SIGHUP reloads, the first other signal stops in order, the second at once."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        early.take_reloads()
        async for number in signals:
            if number == signal.SIGHUP:
                reload.ask()
                continue
            if daemon.stopping:
                scope.cancel()
            daemon.stop()


class Reload:
    """Reloads of the configuration, on request. Whatever is in the file, the calls go on."""

    def __init__(self, daemon: Daemon, path: Path | None, internal: InternalErrors) -> None:
        self._daemon, self._path, self._internal = daemon, path, internal
        # One request may wait while a reload is in progress, which may have read the file before the change.
        self._ask, self._asked = trio.open_memory_channel[None](1)
        self._threads = trio.CapacityLimiter(1)

    def ask(self) -> None:
        """Request a reload. If one is in progress, another follows it."""
        with suppress(trio.WouldBlock):
            self._ask.send_nowait(None)

    async def run(self) -> None:
        """Serve requests for ever. No exception gets out: a bug costs one reload, and is counted."""
        async for _ in self._asked:
            try:
                await self._reload()
            except Exception as error:  # noqa: BLE001 - it is counted and logged
                self._internal.caught(CaughtAt.RELOAD, error)
                self._daemon.not_reloaded([f"an internal error: {type(error).__name__}"])

    async def _reload(self) -> None:
        loaded = None
        with trio.move_on_after(READ_S):
            try:
                loaded = await trio.to_thread.run_sync(
                    load, self._path, os.environ.copy(), abandon_on_cancel=True, limiter=self._threads
                )
            except ConfigError as error:
                self._daemon.not_reloaded(error.problems)
                return
        if loaded is None:
            self._daemon.not_reloaded([f"{self._path or 'its file'}: could not be read within {READ_S:g} s"])
        else:
            self._daemon.reload(loaded.config)


def make_bus(config: Config) -> Bus:
    """Return a single worker's bus, which `bus.adapter` names. It is not connected yet."""
    if config.bus.adapter == "memory":
        return MemoryBus.of(MemoryStore(), config.redis)
    return RedisBus.of(config.redis)


def make_router(config: Config) -> Router:
    """Return a member's way to the shards, which `bus.adapter` names. It is not connected yet."""
    if config.bus.adapter == "memory":
        return MemoryRouter(MemoryFleet(config.fleet.shards), config)
    return RedisRouter(config)


def make_provider(config: Config) -> Provider:
    """Return the provider that `asr.provider` names. There is no fallback from one to the other.

    Raises:
        click.ClickException: The provider is Deepgram, and there is no API key.
    """
    if config.asr.provider == "mock":
        return MockProvider()
    if config.deepgram.api_key is None:
        raise click.ClickException("provider deepgram has no API key")
    return DeepgramProvider(config.deepgram, config.deepgram.api_key)

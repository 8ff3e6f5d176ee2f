"""`trio-asr ingest`: the gateway as systemd, a container or a terminal runs it."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path

import click
import redis
import trio

from trio_asr.bus.calls import RedisCallStore
from trio_asr.bus.keys import FleetKeys
from trio_asr.client.redis import RedisFailure, connect_fleet
from trio_asr.commands import early
from trio_asr.commands.check import Refused, config_option
from trio_asr.commands.starting import start
from trio_asr.config import Config
from trio_asr.core.fleet.places import Places
from trio_asr.gateway import Gateway
from trio_asr.telemetry import logs
from trio_asr.telemetry.groups import leaves
from trio_asr.telemetry.systemd import Notifier
from trio_asr.web.server import CannotListenError


@click.command()
@config_option
def ingest(path: Path | None) -> None:
    """Take live media from telephony platforms until stopped.

    Each call that comes by WebSocket or AudioSocket goes to the audio stream on Redis, from which
    `trio-asr serve` transcribes it. Which platforms may connect, where, and by what they prove who they are,
    is in [[ingest.route]] of the configuration. Any number of these may run behind a load balancer.

    SIGTERM or Ctrl-C stops in order (exit code 0): no new calls, those in progress go on for ingest.drain_s;
    a second one at once. Exit code 2: the configuration is not usable; 1: anything else.
    """
    config = start(path, "ingest", ingest=True)
    tls = _tls(config)
    if config.fleet.shards > 1:
        _check_fleet(config)
    try:
        trio.run(_run, config, tls)
    except* CannotListenError as errors:
        raise click.ClickException(str(leaves(errors)[0])) from errors


def _tls(config: Config) -> ssl.SSLContext | None:
    ingest = config.ingest
    if ingest.tls_certificate_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(ingest.tls_certificate_file, ingest.tls_key_file)
    except OSError as error:
        keys, why = "ingest.tls_certificate_file, ingest.tls_key_file", error.strerror or "no such pair"
        raise Refused(f"{keys}: cannot be used: {why}") from error
    return context


def _check_fleet(config: Config) -> None:
    """Make sure that calls come to where the fleet looks for them, as far as the server tells that now.

    Raises:
        Refused: They would not.
    """
    shards, key = config.fleet.shards, FleetKeys(config.redis.consumer_group).fleet
    try:
        with connect_fleet(config.redis.url) as client:
            written = client.hget(key, "shards")
    except (redis.RedisError, RedisFailure) as error:
        logs.get("ingest").warning("Redis does not tell whether the fleet is as configured", why=str(error))
        return
    if written is not None and written != str(shards).encode():
        found = written.decode("utf-8", "replace")
        raise Refused(f"fleet.shards = {shards}: this fleet has begun with {found} ({key})")


async def _run(config: Config, tls: ssl.SSLContext | None) -> None:
    with Notifier() as notifier:
        place = config.redis
        store = RedisCallStore(
            place.url,
            audio_stream=place.audio_stream,
            end_stream=place.call_end_stream,
            places=Places(config.fleet.shards, place.consumer_group),
        )
        gateway = Gateway(config, store, notifier, tls=tls)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey_signals, gateway, nursery.cancel_scope)
            await gateway.run()
            nursery.cancel_scope.cancel()


async def _obey_signals(gateway: Gateway, scope: trio.CancelScope) -> None:
    """Obey signals for ever: the first stops in order, the second at once. SIGHUP changes nothing."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        early.take_reloads()
        async for number in signals:
            if number == signal.SIGHUP:
                logs.get("ingest").warning("Nothing is reloaded: a change needs a restart")
                continue
            if gateway.stopping:
                scope.cancel()
            gateway.stop()

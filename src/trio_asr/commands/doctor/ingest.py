"""Checks of an ingest: its routes, its certificate, its ports and pages, and what its scripts do on Redis."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
from cryptography import x509

from trio_asr.bus.calls import PREFIX
from trio_asr.client.http import get
from trio_asr.commands.doctor.findings import Report, threaded
from trio_asr.commands.doctor.local import cannot_bind, reachable
from trio_asr.commands.doctor.server import Commands
from trio_asr.config import IngestConfig, RedisConfig, Route

SERVICE = "ingest"  # as its health page says
SOON = timedelta(days=14)
DAY_MS = 24 * 3600 * 1000


class Ingest:
    """The checks of the ingest on this machine."""

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self.certificate = threaded(self._certificate)

    async def routes(self, report: Report) -> None:
        """Say who may connect where. What is wrong with routes is wrong with the configuration."""
        await trio.lowlevel.checkpoint()
        for route in self._config.route:
            report.ok("routes", _told(route, self._config.public_url))

    def _certificate(self, report: Report) -> None:
        """Check how long the certificate is valid; the configuration holds only if the key is its own."""
        file = self._config.tls_certificate_file
        if file is None:
            report.ok("tls", "none here: a proxy has to bring it, if platforms come over the Internet")
            return
        found = x509.load_pem_x509_certificate(Path(file).read_bytes())
        now, first, last = datetime.now(UTC), found.not_valid_before_utc, found.not_valid_after_utc
        says = f"{file} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        if not first <= now < last:
            report.fail("tls", f"{says}: not now", "renew it, and start the ingest again")
        elif last - now < SOON:
            report.warn(
                "tls", f"{says}: {(last - now).days} days more", "renew it, and start the ingest again"
            )
        else:
            report.ok("tls", says)

    async def ports(self, report: Report) -> None:
        """Check both ports: an ingest answers, or they are free, or another program has them."""
        config = self._config
        if 0 in (config.port, config.pages_port):
            report.ok("ports", "any free port, where a port is 0")
            return
        status, body = await get(config.pages_port, "/health", reachable(config.pages_host))
        if status:
            await self._running(report, status, body)
            return
        ours = [(config.host, config.port), (config.pages_host, config.pages_port)]
        for host, port in ours + [(config.host, port) for port in _tcp_ports(config)]:
            if reason := await trio.to_thread.run_sync(cannot_bind, host, port):
                report.fail("ports", f"cannot listen on {host}, port {port}: {reason}")
            else:
                report.ok("ports", f"port {port} is free: no ingest runs with this configuration here")

    async def _running(self, report: Report, status: int, body: str) -> None:
        config = self._config
        try:
            page = json.loads(body)
            says = f"HTTP {status}, {page['status']}, {page['calls']} calls"
            ours = page["service"] == SERVICE
        except (ValueError, KeyError, TypeError):
            ours, says = False, ""
        if not ours:
            taken = f"port {config.pages_port} is taken by something that is no ingest"
            report.fail("ports", taken, "stop it, or set ingest.pages_port")
            return
        status, body = await get(config.pages_port, "/ready", reachable(config.pages_host))
        if status == 200:
            report.ok("ports", f"an ingest answers on port {config.pages_port}: {says}, and is ready")
        else:
            report.fail(
                "ports", f"the ingest on port {config.pages_port} is not ready: {body.strip()}", "see its log"
            )
        for port in (config.port, *_tcp_ports(config)):
            try:
                await trio.aclose_forcefully(await trio.open_tcp_stream(reachable(config.host), port))
            except OSError as error:
                report.fail("ports", f"nobody takes calls on port {port}: {error}")
            else:
                report.ok("ports", f"it takes calls on port {port}")


def _tcp_ports(config: IngestConfig) -> list[int]:
    return [route.port for route in config.route if route.port]


def _told(route: Route, public_url: str | None) -> str:
    tenant = "the client's" if route.tenant is None else route.tenant
    signed = f", signed over {public_url}{route.path}" if route.method in ("twilio", "genesys") else ""
    sources = f", from {len(route.sources)} sources" if route.sources else ""
    return f"{route.path}: {route.platform}, auth {route.method}{signed}{sources}, tenant {tenant}"


def commands(config: RedisConfig, shard: str = "") -> Commands:
    """Yield the commands of the ingest's two scripts, with keys of the kinds that they use.

    In a fleet these begin with `shard`.
    """
    call, audio, ends = f"{shard}{PREFIX}doctor", shard + config.audio_stream, shard + config.call_end_stream
    yield ("CLIENT", "SETNAME", "trio-asr")
    if shard:
        yield ("CLUSTER", "SLOTS")
    yield from (("EVALSHA", "0" * 40, 1, call), ("SCRIPT", "LOAD", "return 1"), ("TIME",))
    yield from (("HMGET", call, "owner", "pos"), ("HSET", call, "pos", 1), ("HDEL", call, "ended"))
    yield ("PEXPIRE", call, DAY_MS)
    yield from (("XADD", audio, "*", "m", "x"), ("XDEL", audio, "0-1"))
    yield ("XADD", ends, "*", "data", "x")

"""`trio-asr doctor`: checks of a deployment, one after the other."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click
import msgspec
import trio

from trio_asr.commands.check import config_option
from trio_asr.commands.doctor.cluster import Cluster
from trio_asr.commands.doctor.deepgram import Deepgram
from trio_asr.commands.doctor.findings import Check, Finding, Level, Report, run_checks, threaded
from trio_asr.commands.doctor.fleet import Fleet
from trio_asr.commands.doctor.fleet import commands as fleet_commands
from trio_asr.commands.doctor.ingest import Ingest
from trio_asr.commands.doctor.ingest import commands as ingest_commands
from trio_asr.commands.doctor.local import Local, read_config
from trio_asr.commands.doctor.server import Server
from trio_asr.commands.doctor.state import State
from trio_asr.config import Config, Loaded
from trio_asr.core.fleet.places import Places

REDIS_S = 12.0  # a connect and a command may each take up to 5 s
Job = tuple[str, Callable[[Report], None]]
COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@config_option
@click.option("--ingest", is_flag=True, help="Check an ingest instead of a worker.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
def doctor(path: Path | None, *, ingest: bool, as_json: bool) -> int:
    """Check a deployment: configuration, files, Redis, Deepgram, and how the workers are doing.

    One line for each thing that was looked at: ok, warn or FAIL, and what to do about it. Nothing is written
    anywhere; Deepgram gets a handshake with the configured options and key, and no audio.

    With --ingest it looks at what `trio-asr ingest` needs: routes, certificate, ports, and rights on Redis.

    Exit code 0: nothing failed (there may be warnings). 1: something did.
    """
    logging.disable(logging.CRITICAL)  # the findings quote what libraries would log
    findings: list[Finding] = []
    loaded, problems = read_config(path, os.environ, ingest=ingest)
    checks = (ingest_checks_of if ingest else checks_of)(os.environ, loaded, problems)
    show = findings.append if as_json else print_finding
    passed = trio.run(run_checks, checks, show, loaded.config.secrets if loaded is not None else [])
    if as_json:
        document = {"ok": passed, "checks": [finding._asdict() for finding in findings]}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        click.echo("No failures." if passed else "Something failed.")
    return 0 if passed else 1


def checks_of(env: Mapping[str, str], loaded: Loaded | None, problems: list[str]) -> list[Check]:
    """Return the checks to run, in order. Without a usable configuration, only this machine is checked."""
    local = Local(env, loaded, problems)
    checks = [*_checks_of(local), Check("http", local.port)]
    if loaded is None:
        return checks
    config = loaded.config
    if config.bus.adapter == "redis":
        fleet = config.fleet.shards > 1
        server = Server(config.redis, fleet_commands if fleet else None, fleet=fleet)
        checks += _redis_checks_of(server)
        jobs = _fleet_jobs(config, server) if fleet else _single_jobs(config, server)
        checks += [Check(name, threaded(job), REDIS_S) for name, job in jobs]
    deepgram = Deepgram(config, key_missing=bool(problems))
    return [*checks, Check("deepgram", deepgram.reach, deepgram.within_s)]


def _single_jobs(config: Config, server: Server) -> list[Job]:
    state = State(config.redis, server)
    return [("ownership", state.ownership), ("progress", state.progress), ("consumers", state.consumers)]


def _fleet_jobs(config: Config, server: Server) -> list[Job]:
    fleet, cluster = Fleet(config, server), Cluster(server)
    each = (("ownership", State.ownership), ("progress", State.progress), ("consumers", State.consumers))
    shards = [(name, fleet.each(check, name)) for name, check in each]
    jobs = [("cluster", cluster.state), ("nodes", cluster.nodes)]
    return [*jobs, ("fleet", fleet.shared), ("members", fleet.members), *shards]


def ingest_checks_of(env: Mapping[str, str], loaded: Loaded | None, problems: list[str]) -> list[Check]:
    """Return the checks of an ingest, like `checks_of`."""
    checks = _checks_of(Local(env, loaded, problems, ingest=True))
    if loaded is None:
        return checks
    config = loaded.config
    ingest, shard = Ingest(config.ingest), Places(config.fleet.shards, config.redis.consumer_group).prefix(0)
    server = Server(config.redis, partial(ingest_commands, shard=shard), fleet=config.fleet.shards > 1)
    checks += [Check("routes", ingest.routes), Check("tls", ingest.certificate), Check("ports", ingest.ports)]
    return checks + _redis_checks_of(server)


def _checks_of(local: Local) -> list[Check]:
    return [
        Check("config", local.config),
        Check("files", local.files),
        Check("open files", local.limits),
        Check("service manager", local.notify),
    ]


def _redis_checks_of(server: Server) -> list[Check]:
    jobs = (
        ("redis", server.reach),
        ("redis settings", server.settings),
        ("clock", server.clock),
        ("permissions", server.permissions),
    )
    return [Check(name, threaded(job), REDIS_S) for name, job in jobs]


def print_finding(finding: Finding) -> None:
    """Print a finding on one line, in colour on a terminal."""
    level = click.style(f"{finding.level:<4}", fg=COLOURS[finding.level])
    advice = f" -> {finding.advice}" if finding.advice else ""
    click.echo(f"{level}  {finding.check}: {finding.says}{advice}")

"""`trio-asr smoke`: one call through a running deployment."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import get_args

import click
import msgspec
import trio

from trio_asr.client.audio import AudioError, load
from trio_asr.client.producer import FRAME_MS, Call, CallRefused, Source, usable_call
from trio_asr.client.redis import DEFAULT_REDIS_URL, RedisFailure
from trio_asr.commands.doctor.command import print_finding
from trio_asr.commands.doctor.findings import Finding, Report
from trio_asr.commands.options import key, shard_options
from trio_asr.commands.smoke.fleet import names, play_all
from trio_asr.commands.smoke.ingest import Ingest, read_ingest
from trio_asr.commands.smoke.pages import Pages
from trio_asr.commands.smoke.run import Smoke, Target, cleanup
from trio_asr.config import RedisConfig
from trio_asr.config.ingest import Platform
from trio_asr.config.redis_url import secrets as redis_url_secrets
from trio_asr.core.fleet.places import Places
from trio_asr.samples import shipped_samples

BESIDE_S = 60.0  # for all steps except the playing
ONE_S, EACH_S = 8.0, 2.0  # of audio: in the only call, and in each of many
_STREAMS = RedisConfig()


@click.command()
@click.option(
    "--url",
    envvar="ASR_WORKER_URL",
    default="http://127.0.0.1:3001",
    show_default=True,
    help="The worker's pages. Also taken from ASR_WORKER_URL.",
)
@click.option(
    "--redis-url",
    type=key("redis.url"),
    envvar="REDIS_URL",
    default=DEFAULT_REDIS_URL,
    show_default=True,
    help="Or REDIS_URL.",
)
@click.option("--ingest-url", envvar="INGEST_URL", help="Begin at this ingest. Also taken from INGEST_URL.")
@click.option(
    "--as",
    "platform",
    type=click.Choice(get_args(Platform)),
    default="generic",
    show_default=True,
    help="The protocol of the route at --ingest-url.",
)
@click.option(
    "--tenant", envvar="INGEST_TENANT", default="smoke", show_default=True, help="Or INGEST_TENANT."
)
@click.option("--id-prefix", default="", help="The route's id_prefix.")
@click.option("--audio", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A recording.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    help="So much of it is played, in real time.  [default: 8; with --all-shards 2]",
)
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="The daemon's log file.")
@click.option("--journal", metavar="UNIT", help="The daemon's unit, whose log is in the journal.")
@click.option(
    "--audio-stream", type=key("redis.audio_stream"), default=_STREAMS.audio_stream, show_default=True
)
@click.option(
    "--call-end-stream",
    type=key("redis.call_end_stream"),
    default=_STREAMS.call_end_stream,
    show_default=True,
)
@click.option(
    "--transcript-stream",
    type=key("redis.transcript_stream"),
    default=_STREAMS.transcript_stream,
    show_default=True,
)
@click.option(
    "--events-stream", type=key("redis.events_stream"), default=_STREAMS.events_stream, show_default=True
)
@shard_options
@click.option("--shard", type=click.IntRange(0), metavar="K", help="A call in this shard of the fleet.")
@click.option("--all-shards", is_flag=True, help="A short call in each shard of the fleet, a few at once.")
@click.option("--cleanup", "clean", is_flag=True, help="Delete the call's transcripts at the end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
def smoke(
    *,
    url: str,
    redis_url: str,
    ingest_url: str | None,
    platform: Platform,
    tenant: str,
    id_prefix: str,
    audio: Path | None,
    seconds: float | None,
    log: Path | None,
    journal: str | None,
    audio_stream: str,
    call_end_stream: str,
    transcript_stream: str,
    events_stream: str,
    shards: int,
    group: str,
    shard: int | None,
    all_shards: bool,
    clean: bool,
    as_json: bool,
) -> int:
    """Try a running deployment with one call.

    Looks at the pages, plays a few seconds of a recording onto Redis as a call of the id smoke-..., and wants
    transcripts back: seq rising, times of the call, over exactly one connection; and the right phrases in the
    log, if it is shown one. The transcripts stay in Redis, as every call's do: readers of the old worker spin
    when such a stream disappears.

    With INGEST_URL the call does not begin on Redis: it is streamed to that ingest, whose health is looked
    at, too. INGEST_TOKEN is the secret of its route: a token (also for {token} in the URL), Twilio's auth
    token, or Genesys' client secret (with its API key in INGEST_KEY). A user and a password stand in the URL.

    Of a fleet (--shards) one shard is tried: any, or --shard; or with --all-shards each, one line for each.

    Exit code 0: all is well. 1: a step failed; its line says which and why.
    """
    ingest = _ingest(ingest_url, platform, tenant, id_prefix)
    prefix = id_prefix if ingest else ""
    calls = names(prefix, shards, _wanted(shards, shard, all_shards=all_shards, log=log or journal))
    ids = [*calls.values()]
    file = audio or shipped_samples()[0].audio
    try:
        recording = load(file).first(seconds or (EACH_S if all_shards else ONE_S))
        usable_call(Call(ids[0], recording, tenant), FRAME_MS)
    except (AudioError, CallRefused) as error:
        raise click.ClickException(str(error)) from error
    findings: list[Finding] = []
    hidden = [*redis_url_secrets(redis_url), *(ingest.secrets if ingest else ())]
    report = Report(findings.append if as_json else print_finding, hidden)
    pages = Pages(url, ingest, report, in_fleet=shards > 1)
    places = Places(shards, group)
    audio_ms = int(recording.seconds * 1000)

    async def play(name: str, report: Report) -> None:
        at = places.of(name)
        source = Source(redis_url, at + audio_stream, at + call_end_stream, fleet=shards > 1)
        target = Target(source, at + transcript_stream, at + events_stream, log, journal, ingest)
        one = Smoke(target, Call(name, recording, tenant), file, audio_ms, report, provider=pages.provider)
        await _run(one, audio_ms / 1000 + BESIDE_S, report)
        if clean:
            await trio.to_thread.run_sync(_clean, target, name, report)

    async def run() -> None:
        if not await pages.look():
            return
        if all_shards:
            await play_all(calls, play, report)
        else:
            await play(ids[0], report)

    trio.run(run)
    if as_json:
        steps = [finding._asdict() for finding in findings]
        which = {"interaction_ids": ids} if all_shards else {"interaction_id": ids[0]}
        document = {"ok": not report.failed} | which | {"steps": steps}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        click.echo("Smoke test failed." if report.failed else "Smoke test passed.")
    return 1 if report.failed else 0


def _wanted(shards: int, shard: int | None, *, all_shards: bool, log: Path | str | None) -> Collection[int]:
    """Return the shards to try."""
    if all_shards and (shard is not None or log):
        raise click.UsageError("--all-shards goes neither with --shard nor with the log of one member")
    if shard is not None and shard >= shards:
        raise click.BadParameter(f"must be below --shards {shards}", param_hint="--shard")
    if all_shards:
        return range(shards)
    return [secrets.randbelow(shards) if shard is None else shard]


async def _run(smoke: Smoke, within_s: float, report: Report) -> None:
    with trio.move_on_after(within_s) as limit:
        await smoke.run()
    if limit.cancelled_caught:
        report.fail("time", f"not done within {within_s:.0f} s")


def _ingest(url: str | None, platform: Platform, tenant: str, id_prefix: str) -> Ingest | None:
    if not url:
        return None
    token, key = os.environ.get("INGEST_TOKEN", ""), os.environ.get("INGEST_KEY", "")
    try:
        return read_ingest(url, platform=platform, tenant=tenant, id_prefix=id_prefix, token=token, key=key)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--ingest-url") from None


def _clean(target: Target, interaction_id: str, report: Report) -> None:
    try:
        cleanup(target, interaction_id)
    except RedisFailure as error:
        report.fail("cleanup", str(error))
    else:
        report.ok("cleanup", f"{target.transcript_key(interaction_id)} deleted")

"""`trio-asr smoke`: one call through a running deployment."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import get_args

import click
import msgspec
import trio

from trio_asr.client.audio import AudioError, load
from trio_asr.client.consumer import PLACEHOLDER
from trio_asr.client.producer import Call, Source
from trio_asr.client.redis import DEFAULT_REDIS_URL, RedisFailure
from trio_asr.commands.doctor.command import print_finding
from trio_asr.commands.doctor.findings import Finding, Report
from trio_asr.commands.smoke.ingest import Ingest, read_ingest
from trio_asr.commands.smoke.run import Smoke, Target, cleanup
from trio_asr.config import RedisConfig
from trio_asr.config.ingest import Platform
from trio_asr.config.redis_url import secrets as redis_url_secrets
from trio_asr.samples import shipped_samples

BESIDE_S = 60.0  # for all steps except the playing
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
    "--redis-url", envvar="REDIS_URL", default=DEFAULT_REDIS_URL, show_default=True, help="Or REDIS_URL."
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
    default=8.0,
    show_default=True,
    help="So much of it is played, in real time.",
)
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="The daemon's log file.")
@click.option("--journal", metavar="UNIT", help="The daemon's unit, whose log is in the journal.")
@click.option("--audio-stream", default=_STREAMS.audio_stream, show_default=True)
@click.option("--call-end-stream", default=_STREAMS.call_end_stream, show_default=True)
@click.option("--transcript-stream", default=_STREAMS.transcript_stream, show_default=True)
@click.option("--events-stream", default=_STREAMS.events_stream, show_default=True)
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
    seconds: float,
    log: Path | None,
    journal: str | None,
    audio_stream: str,
    call_end_stream: str,
    transcript_stream: str,
    events_stream: str,
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

    Exit code 0: all is well. 1: a step failed; its line says which and why.
    """
    if PLACEHOLDER not in transcript_stream:
        raise click.BadParameter(f"must contain {PLACEHOLDER}", param_hint="--transcript-stream")
    ingest = _ingest(ingest_url, platform, tenant, id_prefix)
    source = Source(redis_url, audio_stream, call_end_stream)
    target = Target(url, source, transcript_stream, events_stream, log, journal, ingest)
    file = audio or shipped_samples()[0].audio
    try:
        recording = load(file).first(seconds)
    except AudioError as error:
        raise click.ClickException(str(error)) from error
    call = Call(f"{id_prefix if ingest else ''}smoke-{secrets.token_hex(6)}", recording, tenant)
    findings: list[Finding] = []
    hidden = [*redis_url_secrets(redis_url), *(ingest.secrets if ingest else ())]
    report = Report(findings.append if as_json else print_finding, hidden)
    audio_ms = int(recording.seconds * 1000)
    trio.run(_run, Smoke(target, call, file, audio_ms, report), audio_ms / 1000 + BESIDE_S, report)
    if clean:
        _clean(target, call.interaction_id, report)
    if as_json:
        steps = [finding._asdict() for finding in findings]
        document = {"ok": not report.failed, "interaction_id": call.interaction_id, "steps": steps}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        click.echo("Smoke test failed." if report.failed else "Smoke test passed.")
    return 1 if report.failed else 0


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
